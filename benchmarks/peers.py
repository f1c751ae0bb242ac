"""The same network and frames through this server and through what people use today.

`python -m benchmarks.peers --peers DIR` measures PyTriton, LitServe and DLC-Live, each in an
environment of its own in DIR, as far as they are there; it tells how to make those that are not.
`rows` has one entry for each comparison, see `benchmarks.peer_rows.Comparison.row`.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from benchmarks.peer_pose import DLC_LIVE, compare_pose
from benchmarks.peer_rows import Comparison, table
from benchmarks.peer_servers import LITSERVE, PYTRITON, compare_servers
from benchmarks.report import REPOSITORY, finish


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that is measured beside this server."""

    folder: str
    """Of its environment."""
    packages: tuple[str, ...]
    python: str = ""
    """Option of `uv venv`, where it cannot be any Python."""

    def find(self, peers: Path) -> Path | None:
        """Return its Python, if there is one."""
        found = (peers / self.folder / "bin" / "python").absolute()
        return found if found.is_file() else None

    def command(self, peers: Path) -> str:
        """Return what makes its environment."""
        folder = peers / self.folder
        packages = " ".join(f'"{one}"' for one in self.packages)
        return (
            f"uv venv {self.python}{folder} && "
            f"uv pip install --python {folder}/bin/python {packages}"
        )


_SAME_ENGINE = f"onnxruntime=={onnxruntime.__version__}"
PEERS: Mapping[str, Peer] = {
    # It takes the system's own Python, with its libpython3.11.
    PYTRITON: Peer(
        "pytriton",
        ("nvidia-pytriton==0.7.0", _SAME_ENGINE, "setuptools<81"),
        "--python /usr/bin/python3.11 ",
    ),
    LITSERVE: Peer("litserve", ("litserve==0.2.19", _SAME_ENGINE)),
    DLC_LIVE: Peer("dlclive", ("deeplabcut-live[pytorch]==1.1.0",)),
}


def main() -> int:
    """Measure, print, store."""
    arguments = _parser().parse_args()
    found = {name: peer.find(arguments.peers) for name, peer in PEERS.items()}
    pythons = {name: python for name, python in found.items() if python is not None}
    missing = {
        name: peer.command(arguments.peers) for name, peer in PEERS.items() if name not in pythons
    }
    common = {"seconds": arguments.seconds, "turns": arguments.turns}
    result: dict[str, object] = {"benchmark": "peers", **common, "missing": missing}
    done: list[Comparison] = []
    if "servers" in arguments.parts:
        servers = {name: pythons[name] for name in (PYTRITON, LITSERVE) if name in pythons}
        done += compare_servers(servers, **common)
    if "pose" in arguments.parts and DLC_LIVE in pythons:
        pose, apart_px = compare_pose(pythons[DLC_LIVE], size_px=arguments.size_px, **common)
        done += pose
        result["dlc_live_median_distance_px"] = apart_px
    rows = [one.row() for one in done]
    lines = table(rows)
    lines += [(name, f"not there; make it with: {command}") for name, command in missing.items()]
    finish(lines, {**result, "rows": rows}, arguments.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    folder = REPOSITORY / "runs" / "peers"
    add("--peers", type=Path, default=folder, metavar="DIR", help="their environments")
    parts = ("servers", "pose")
    add("--parts", nargs="+", choices=parts, default=parts, help="what is measured")
    add("--seconds", type=float, default=4.0, help="of each measurement")
    add("--turns", type=int, default=3, help="of all")
    add("--size-px", type=int, default=256, help="side of the frames for DLC-Live")
    add("--out", type=Path, help="file of the JSON line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
