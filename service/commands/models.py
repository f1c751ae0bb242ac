"""`ethostream models`: the bundles of a server, or of a folder."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethostream.v1 import bundle_pb2

SUMMARY = "list, show, load and unload bundles"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare list, show, load and unload."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("list", "list all bundles"),
        ("show", "show one bundle with its card and parity report"),
        ("load", "load a version into a running server"),
        ("unload", "take a version out of a running server"),
    ):
        action = actions.add_parser(
            name, help=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        if name != "list":
            action.add_argument("bundle", metavar="NAME[@VERSION]")
        if name in ("list", "show"):
            action.add_argument("--models", type=Path, metavar="DIR", help="a folder of bundles")
        action.add_argument("--server", default="127.0.0.1:50051", metavar="HOST:PORT")
        action.add_argument("--token-file", type=Path, metavar="FILE", help="file with the token")
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Ask the folder or the server and print."""
    models = _from_folder(arguments) if getattr(arguments, "models", None) else _ask(arguments)
    if arguments.json:
        from google.protobuf.json_format import MessageToDict

        print(json.dumps([MessageToDict(one, preserving_proto_field_name=True) for one in models]))
    elif arguments.action == "show":
        for one in models:
            _print_one(one)
    else:
        _print_table(models)
    return 0


def _from_folder(arguments: argparse.Namespace) -> "list[bundle_pb2.BundleInfo]":
    import asyncio

    from service.repository import EngineConfig, Repository
    from service.runtime import parse_bundle
    from service.servicer.converters import from_status

    async def scan() -> "list[bundle_pb2.BundleInfo]":
        repository = Repository(arguments.models, EngineConfig(), (1,))
        await repository.scan()
        if arguments.action == "list":
            return [from_status(one) for one in repository.statuses()]
        status = repository.status(*parse_bundle(arguments.bundle))
        return [from_status(status, documents=True)]

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    return asyncio.run(scan())


def _ask(arguments: argparse.Namespace) -> "list[bundle_pb2.BundleInfo]":
    import grpc
    from ethostream.errors import from_rpc_error
    from ethostream.v1 import bundle_pb2
    from ethostream.v1 import model_service_pb2 as pb2
    from ethostream.v1.model_service_pb2_grpc import ModelServiceStub

    from service.runtime import parse_bundle

    metadata: list[tuple[str, str]] = []
    if arguments.token_file:
        metadata.append(("authorization", f"Bearer {arguments.token_file.read_text().strip()}"))
    extra: dict[str, Any] = {"metadata": metadata, "timeout": 120}
    with grpc.insecure_channel(arguments.server) as channel:
        stub = ModelServiceStub(channel)
        try:
            if arguments.action == "list":
                return list(stub.ListModels(pb2.ListModelsRequest(), **extra).models)
            name, version = parse_bundle(arguments.bundle)
            bundle = bundle_pb2.BundleReference(name=name, version=version)
            if arguments.action == "show":
                return [stub.GetModel(pb2.GetModelRequest(bundle=bundle), **extra).model]
            if arguments.action == "load":
                return [stub.LoadModel(pb2.LoadModelRequest(bundle=bundle), **extra).model]
            return list(stub.UnloadModel(pb2.UnloadModelRequest(bundle=bundle), **extra).models)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


def _print_table(models: "list[bundle_pb2.BundleInfo]") -> None:
    from ethostream.v1 import bundle_pb2
    from rich.console import Console
    from rich.table import Table

    table = Table("bundle", "task", "state", "input", "engine", "answers", "held-out")
    for one in models:
        names = one.pose.keypoints or one.behavior.behaviors
        metrics = ", ".join(f"{name} {value:.3g}" for name, value in sorted(one.metrics.items()))
        table.add_row(
            f"{one.bundle.name}@{one.bundle.version}",
            bundle_pb2.Task.Name(one.task).removeprefix("TASK_").lower(),
            bundle_pb2.BundleState.Name(one.state).removeprefix("BUNDLE_STATE_").lower()
            + (f": {one.reason}" if one.reason else ""),
            f"{one.input_width_px}x{one.input_height_px}",
            f"{one.engine} {one.precision}".strip(),
            ", ".join(names),
            metrics,
        )
    Console().print(table)


def _print_one(one: "bundle_pb2.BundleInfo") -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    _print_table([one])
    console = Console()
    if one.card:
        console.print(Markdown(one.card))
    if one.parity_json:
        console.print_json(one.parity_json)
