"""The files for clusters: their structure and the commands in them; no cluster runs here."""

import argparse
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.commands import analyze, jobs

yaml = pytest.importorskip("yaml", reason="run `uv sync --inexact --extra analysis`")

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
RAY_VERSION = re.search(r"ray\[default\]==([\d.]+)", (DEPLOY / "ray" / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "ray" / "rayjob.yaml").read_text())
    return loaded


def groups(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def parse(command: Any, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.configure(parser)
    return parser.parse_args(arguments)


def test_the_ray_job_runs_a_command_of_this_version(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    program, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("ethostream", "analyze")
    parsed = parse(analyze, arguments)
    assert parsed.ray == "auto"
    for path in (*parsed.paths, parsed.out, parsed.models):
        assert path.is_relative_to("/data"), "pods share only this volume"


def test_all_pods_see_the_data_under_one_path(job: dict[str, Any]) -> None:
    for group in groups(job):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        volumes = {one["name"]: one for one in pod["volumes"]}
        mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        assert "persistentVolumeClaim" in volumes[mounts["/data"]]
        assert set(mounts.values()) == set(volumes)
        assert pod["securityContext"]["runAsUser"] == 10001  # all may go on with each other's files


def test_workers_have_whole_cores_and_the_head_none(job: dict[str, Any]) -> None:
    head, *workers = groups(job)
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert {one["groupName"] for one in workers} == {"cpu", "gpu"}
    for group in workers:
        (container,) = group["template"]["spec"]["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert container["resources"]["limits"]["cpu"].isdecimal()
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (
            group["groupName"] == "gpu"
        )
        assert container["image"] == f"ethostream-ray:{group['groupName']}"
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert sum(one["replicas"] for one in workers) > 0


def test_ray_parameters_are_texts_and_its_version_is_that_of_the_image(job: dict[str, Any]) -> None:
    assert RAY_VERSION is not None
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == RAY_VERSION[1]
    for group in groups(job):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_the_slurm_script_is_bash_and_calls_commands_of_this_version() -> None:
    script = DEPLOY / "slurm" / "ethostream.sbatch"
    subprocess.run(["bash", "-n", script], check=True, timeout=60)
    text = script.read_text().replace("\\\n", " ")
    (run,) = re.findall(r"ethostream jobs (run .+)$", text, re.M)
    assert parse(jobs, shlex.split(run.replace('"$@"', ""))).until_done
    (options,) = re.findall(r"ethostream analyze (\"\$@\" .+)$", text, re.M)
    assert parse(analyze, shlex.split(options)).ray == "$address"


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "give ray or jobs"),
        (["ray"], {}, "set ETHOSTREAM_ENV"),
        (["ray"], {"ETHOSTREAM_ENV": "/env"}, "submit this with sbatch"),
        (["jobs"], {"ETHOSTREAM_ENV": "/env", "SLURM_CPUS_PER_TASK": "2"}, "folder of the jobs"),
        (["dask"], {"ETHOSTREAM_ENV": "/env", "SLURM_CPUS_PER_TASK": "2"}, "give ray or jobs"),
    ],
)
def test_the_slurm_script_says_what_is_missing(
    arguments: list[str], environment: dict[str, str], message: str
) -> None:
    done = subprocess.run(
        ["bash", DEPLOY / "slurm" / "ethostream.sbatch", *arguments],
        env={"PATH": "/usr/bin:/bin"} | environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert message in done.stderr


def test_the_slurm_script_works_on_every_machine_of_the_allocation(tmp_path: Path) -> None:
    """With commands in the place of Slurm's and Ray's that write down how they are called."""
    tools = tmp_path / "bin"
    tools.mkdir()
    calls = tmp_path / "calls"
    # The script starts the nodes in the background: the head is healthy once it was called, and an
    # analysis waits for the others.
    answers = {
        "scontrol": "printf 'n1\\nn2\\nn3\\n'",
        "srun": f"""case "$*" in
            *ip-address*) echo 10.0.0.1;;
            *analyze*) until grep -q "start --address" {calls}; do sleep 0.1; done;;
        esac""",
        "ray": f'until grep -q "start --head" {calls}; do sleep 0.1; done',
    }
    for name in ("scontrol", "srun", "ray", "ethostream"):
        tool = tools / name
        tool.write_text(f'#!/bin/bash\necho {name} "$@" >> {calls}\n{answers.get(name, "true")}\n')
        tool.chmod(0o755)
    environment = {
        "PATH": "/usr/bin:/bin", "ETHOSTREAM_ENV": str(tmp_path), "SLURM_CPUS_PER_TASK": "6",
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_NUM_NODES": "3",
    }  # fmt: skip
    script = DEPLOY / "slurm" / "ethostream.sbatch"
    for arguments in (["ray", "/data/a b", "--out", "/out"], ["jobs", "/jobs", "--parallel", "3"]):
        subprocess.run(["bash", script, *arguments], env=environment, check=True, timeout=60)
    told = calls.read_text().splitlines()
    (head,) = [one for one in told if "ray start --head" in one]
    (others,) = [one for one in told if "ray start --address" in one]
    (analyzing,) = [one for one in told if "ethostream analyze" in one]
    (working,) = [one for one in told if "ethostream jobs" in one]
    assert "--nodelist=n1" in head
    assert "--node-ip-address 10.0.0.1 --port 20007" in head
    assert "--nodes=2" in others
    assert "--exclude=n1" in others
    assert all("--num-cpus 6" in one for one in (head, others))
    assert analyzing.endswith("ethostream analyze /data/a b --out /out --ray 10.0.0.1:20007")
    assert working.endswith("ethostream jobs run --jobs /jobs --until-done --parallel 3")
