"""Works on a folder of jobs without a server; any number of machines may do so on a shared disk."""

import argparse
import asyncio
import signal

import structlog

from service.config import JobsConfig, ServiceConfig, VideoConfig
from service.jobs.analyzer import open_local_analyzer
from service.jobs.jobs import JobRunner
from service.jobs.store import JobStore
from service.repository import EngineConfig
from service.runtime import Runtime, pass_over_what_stays

log = structlog.get_logger("ethostream.jobs")


async def run_jobs(arguments: argparse.Namespace) -> int:
    """Work until told to stop, or with `--until-done` until no job has work left.

    Returns:
        1 where it was to end with the jobs, and was stopped before, or videos failed in it.

    Raises:
        NotFound: there is no such folder.
    """
    config = ServiceConfig(
        jobs=JobsConfig(directory=str(arguments.jobs), parallel=arguments.parallel),
        engine=EngineConfig(engine=arguments.engine, precision=arguments.precision),
        video=VideoConfig(decode_workers=arguments.parallel, decoder=arguments.decoder),
    )
    store = JobStore(arguments.jobs)
    store.check_folder()
    over_before = {one.plan.job_id for one in store.jobs() if one.is_over}
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    runtime = Runtime(arguments.models, config)  # bundles are loaded as jobs need them
    await runtime.start()
    pass_over_what_stays()
    runner = JobRunner(
        store,
        lambda plan: open_local_analyzer(runtime, plan.bundles),
        parallel=config.jobs.parallel,
    )
    try:
        runner.start()
        log.info("working on jobs", folder=str(arguments.jobs), parallel=config.jobs.parallel)
        await _wait(runner, stopping, until_done=arguments.until_done)
    finally:
        await runner.stop()
        await runtime.stop()
    if not arguments.until_done:
        return 0
    failed = sum(
        report.state == "failed"
        for one in store.jobs()
        if one.plan.job_id not in over_before
        for report in one.reports.values()
    )
    log.info("no job has work left" if not stopping.is_set() else "stopped", failed=failed)
    return 1 if failed or stopping.is_set() else 0


async def _wait(runner: JobRunner, stopping: asyncio.Event, *, until_done: bool) -> None:
    waits: list[asyncio.Task[object]] = [asyncio.create_task(stopping.wait())]
    if until_done:
        waits.append(asyncio.create_task(runner.wait_until_done()))
    done, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in done:
        task.result()
