"""The command `ethostream`: finds its subcommands among the installed parts and runs one."""

import argparse
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from ethostream.help_format import HelpFormatter

GROUP = "ethostream.commands"

_SERVER = "the server: run `uv sync --extra cpu` in a checkout of ethostream"
_TRAINING = "the training part: run `uv sync --extra cpu --extra train` in a checkout of ethostream"
_ANALYSIS = (
    "the analysis part: run `uv sync --extra cpu --extra analysis` in a checkout of ethostream"
)
_CLIENT = "a complete client: run `pip install --force-reinstall 'ethostream[video]'`"

_REMEDIES = {
    "serve": _SERVER,
    "demo": _SERVER,
    "simulate": _SERVER,
    "analyze": _SERVER,
    "jobs": _SERVER,
    "models": _SERVER,
    "doctor": _SERVER,
    "tune": _SERVER,
    "tracks": _SERVER,
    "video": _SERVER,
    "verify-video": _SERVER,
    "project": _ANALYSIS,
    "extract-frames": _ANALYSIS,
    "outliers": _ANALYSIS,
    "train": _TRAINING,
    "study": _TRAINING,
    "search": _TRAINING,
    "maps": _TRAINING,
    "evaluate": _TRAINING,
    "export": _TRAINING,
    "bench": _CLIENT,
    "stream": _CLIENT,
}
"""What each known subcommand needs where its part is missing."""


class CommandModule(Protocol):
    """What a module of the group `ethostream.commands` holds."""

    SUMMARY: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the command and return the exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ethostream` with these arguments, by default those of the process.

    Returns:
        The exit status: 0 done, 1 an error that was printed, 2 a wrong call, 130 interrupted.
    """
    parser = _dispatcher()
    words = list(sys.argv[1:] if argv is None else argv)
    # Cut here: argparse would take a `--` before a file such as -a.mp4 for its own.
    end = next((place + 1 for place, one in enumerate(words) if one[:1] != "-"), len(words))
    chosen = parser.parse_args(words[:end])
    commands = _installed()
    if chosen.help or chosen.command is None:
        sys.stdout.write(parser.format_help() + _listing(commands) + "\n")
        return 0 if chosen.help else 2
    name: str = chosen.command
    if name not in commands and name not in _REMEDIES:
        known = ", ".join(sorted(commands.keys() | _REMEDIES.keys()))
        return _fail(f"unknown command '{name}'; choose one of {known}", status=2)
    if name not in commands:
        return _fail(f"'{name}' is not installed here; it needs {_REMEDIES[name]}")
    try:
        module = _load(commands[name])
    except ImportError as error:
        return _fail(_missing(name, error))
    return _run(name, module, words[end:])


def _dispatcher() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ethostream",
        usage="ethostream [--help] [--version] COMMAND ...",
        description="Keypoints and behavior of animals in video, live and from files.",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this and all commands")
    parser.add_argument("--version", action="version", version=f"ethostream {_version()}")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("ethostream")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"


def _installed() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def _load(point: importlib.metadata.EntryPoint) -> CommandModule:
    return cast("CommandModule", point.load())


def _listing(commands: Mapping[str, importlib.metadata.EntryPoint]) -> str:
    names = sorted(commands.keys() | _REMEDIES.keys())
    width = max(map(len, names))
    lines = [f"  {name:{width}}  {_summary(name, commands.get(name))}" for name in names]
    return "\n".join(["\ncommands (`ethostream COMMAND --help` shows units and defaults):", *lines])


def _summary(name: str, point: importlib.metadata.EntryPoint | None) -> str:
    if point is None:
        return f"(not installed; needs {_REMEDIES[name]})"
    try:
        return _load(point).SUMMARY
    except Exception as error:  # one broken part must not hide the others
        return f"(cannot be loaded: {error})"


def _run(name: str, module: CommandModule, arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"ethostream {name}",
        description=module.SUMMARY,
        formatter_class=HelpFormatter,
    )
    module.configure(parser)
    parsed = parser.parse_args(arguments)
    try:
        return module.run(parsed)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        return _fail(_missing(name, error))
    except OSError as error:
        return _fail(_describe(error))
    except Exception as error:
        # The service's errors are told by their `status`: the client never imports the service.
        if not isinstance(getattr(error, "status", None), str):
            raise
        return _fail(str(error))


def _describe(error: OSError) -> str:
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):  # of a whole folder
        source, target, reason = error.args[0][0]
        what = f"{reason}: {source} to {target}"
    else:
        # Of a copy both are named: either may be to blame.
        names = " to ".join(str(one) for one in (error.filename, error.filename2) if one)
        what = f"{error.strerror or error}{names and f': {names}'}"
    return f"{what}; check that the path is right and may be used, and that the disk has room"


def _missing(name: str, error: ImportError) -> str:
    remedy = _REMEDIES.get(name)
    return f"'{name}' cannot start: {error}" + (f"; it needs {remedy}" if remedy else "")


def _fail(message: str, *, status: int = 1) -> int:
    sys.stderr.write(f"ethostream: {' '.join(message.split())}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
