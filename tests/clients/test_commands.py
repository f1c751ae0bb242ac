"""The command `ethostream` finds its parts, and says in one line what is wrong."""

import argparse
import errno
import importlib.metadata
import shutil
import sys
from types import ModuleType

import pytest
from ethostream import commands


class _Error(Exception):
    status = "NOT_FOUND"


def _install(monkeypatch: pytest.MonkeyPatch, **modules: ModuleType | None) -> None:
    """Make these the installed commands; None stands for a module that is not there."""
    points = []
    for name, module in modules.items():
        target = f"command_under_test_{name}"
        if module is not None:
            monkeypatch.setitem(sys.modules, target, module)
        points.append(importlib.metadata.EntryPoint(name, target, commands.GROUP))
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: points if group == commands.GROUP else []
    )


def _command(run: object, summary: str = "greets people") -> ModuleType:
    module = ModuleType("command_under_test")
    module.SUMMARY = summary  # type: ignore[attr-defined]
    module.configure = lambda parser: parser.add_argument("--count", type=int, default=3)  # type: ignore[attr-defined]
    module.run = run  # type: ignore[attr-defined]
    return module


def _raiser(error: BaseException) -> object:
    def run(arguments: argparse.Namespace) -> int:
        raise error

    return run


def test_a_command_gets_its_own_arguments_and_gives_the_exit_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _install(monkeypatch, greet=_command(lambda arguments: arguments.count))
    assert commands.main(["greet", "--count", "7"]) == 7
    assert commands.main(["greet"]) == 3


def test_a_file_that_begins_with_a_dash_is_named_behind_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    greet = _command(lambda arguments: 7 if arguments.file == "-a.mp4" else 1)
    greet.configure = lambda parser: parser.add_argument("file")  # type: ignore[attr-defined]
    _install(monkeypatch, greet=greet)
    assert commands.main(["greet", "--", "-a.mp4"]) == 7


def test_help_lists_every_command_and_survives_a_broken_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(monkeypatch, greet=_command(lambda _: 0), broken=None)
    assert commands.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "greets people" in out
    assert "broken" in out
    assert "cannot be loaded" in out
    assert "uv sync --extra cpu --extra train" in out  # train is not installed in this test


def test_no_command_prints_the_help_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(monkeypatch, greet=_command(lambda _: 0))
    assert commands.main([]) == 2
    assert "greets people" in capsys.readouterr().out


def test_running_one_command_loads_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, greet=_command(lambda _: 0), broken=None)
    assert commands.main(["greet"]) == 0


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("serve", "uv sync --extra cpu"), ("train", "--extra train"), ("stream", "ethostream[video]")],
)
@pytest.mark.parametrize("installed", [True, False])
def test_a_missing_part_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    remedy: str,
    installed: bool,
) -> None:
    _install(monkeypatch, **({name: None} if installed else {}))
    assert commands.main([name]) == 1
    error = capsys.readouterr().err
    assert error.startswith("ethostream: ")
    assert remedy in error
    assert error.count("\n") == 1


def test_a_module_missing_while_a_command_runs_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(monkeypatch, train=_command(_raiser(ModuleNotFoundError("No module named 'torch'"))))
    assert commands.main(["train"]) == 1
    error = capsys.readouterr().err
    assert "torch" in error
    assert "--extra train" in error


def test_an_unknown_command_lists_those_that_exist(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(monkeypatch, greet=_command(lambda _: 0))
    assert commands.main(["gret"]) == 2
    error = capsys.readouterr().err
    assert "gret" in error
    assert "greet" in error


def test_an_error_with_a_status_prints_as_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(monkeypatch, greet=_command(_raiser(_Error("no bundle 'x'\nload it"))))
    assert commands.main(["greet"]) == 1
    assert capsys.readouterr().err == "ethostream: no bundle 'x' load it\n"


def test_an_unexpected_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, greet=_command(_raiser(ZeroDivisionError())))
    with pytest.raises(ZeroDivisionError):
        commands.main(["greet"])


def test_an_interrupted_command_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, greet=_command(_raiser(KeyboardInterrupt())))
    assert commands.main(["greet"]) == 130


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        commands.main(["--version"])
    assert exit_.value.code == 0
    assert importlib.metadata.version("ethostream") in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "from.mp4", None, "to.mp4"),
        shutil.Error([("from.mp4", "to.mp4", "No space left on device"), ("b", "c", "the same")]),
    ],
)
def test_a_copy_onto_a_full_disk_names_what_was_to_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError
) -> None:
    _install(monkeypatch, greet=_command(_raiser(error)))
    assert commands.main(["greet"]) == 1
    told = capsys.readouterr().err
    assert "No space left on device: from.mp4 to to.mp4; check" in told
