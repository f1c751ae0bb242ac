# /// script
# requires-python = ">=3.11"
# dependencies = ["grpcio-tools==1.76.0", "mypy-protobuf==3.7.0", "setuptools<81"]
# ///
"""Write the Python stubs of protos/ethostream/v1 into clients/python: `uv run protos/generate.py`.

The generator is pinned older than the run-time on purpose: stubs load on any protobuf from the
generator's own version on, and rigs share environments with other tools.
"""

from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
OUT = PROTOS.parent / "clients" / "python"


def main() -> int:
    """Generate messages, stubs and their types; return protoc's exit status."""
    sources = sorted(str(path) for path in PROTOS.glob("ethostream/v1/*.proto"))
    return int(
        protoc.main(
            [
                "protoc",
                f"--proto_path={PROTOS}",
                f"--proto_path={files('grpc_tools') / '_proto'}",
                f"--python_out={OUT}",
                f"--grpc_python_out={OUT}",
                f"--mypy_out=quiet:{OUT}",
                f"--mypy_grpc_out=quiet:{OUT}",
                *sources,
            ]
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
