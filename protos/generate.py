# /// script
# requires-python = ">=3.11"
# dependencies = ["grpcio-tools==1.76.0", "mypy-protobuf==3.7.0", "setuptools<81"]
# ///
"""Write the Python stubs of the protos: `uv run protos/generate.py`.

Ours go into the client, which the service shares; those of the Open Inference Protocol into the
service, since its clients bring their own.

The generator is pinned older than the run-time on purpose: stubs load on any protobuf from the
generator's own version on, and rigs share environments with other tools.
"""

from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
CLIENT = PROTOS.parent / "clients" / "python"
OPEN_INFERENCE = Path("service", "servicer", "open_inference")
"""Below the root of the repository; the package of the stubs there, too."""


def main() -> int:
    """Generate messages, stubs and their types; return protoc's exit status."""
    ours = sorted(str(path) for path in PROTOS.glob("ethostream/v1/*.proto"))
    status = _generate(CLIENT, str(PROTOS), ours)
    # The file is taken for one of the package, so that its stubs import one another there.
    (source,) = PROTOS.glob("inference/*.proto")
    status |= _generate(PROTOS.parent, f"{OPEN_INFERENCE}={source.parent}", [str(source)])
    if not status:
        _keep_apart(PROTOS.parent / OPEN_INFERENCE / f"{source.stem}_pb2.py")
    return status


def _generate(out: Path, proto_path: str, sources: list[str]) -> int:
    return int(
        protoc.main(
            [
                "protoc",
                f"--proto_path={proto_path}",
                f"--proto_path={files('grpc_tools') / '_proto'}",
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                f"--mypy_out=quiet:{out}",
                f"--mypy_grpc_out=quiet:{out}",
                *sources,
            ]
        )
    )


def _keep_apart(stub: Path) -> None:
    """Put the messages of a stub into a pool of their own.

    All stubs of a process share one pool, in which a name stands once; a process that imports the
    protocol's own clients, too, has the same names from them.
    """
    text = stub.read_text()
    shared = "_descriptor_pool.Default()"
    if text.count(shared) != 1:
        raise SystemExit(f"{stub.name} does not name its pool once; look at what protoc writes")
    stub.write_text(text.replace(shared, "_descriptor_pool.DescriptorPool()"))


if __name__ == "__main__":
    raise SystemExit(main())
