"""The repository itself: nothing in it names this machine or a registry, and its claims hold."""

import argparse
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from ethostream.help_format import HelpFormatter

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = sorted(one.name for one in entry_points(group="ethostream.commands"))
# Written in pieces, so that this file does not name what it looks for.
REGISTRIES = re.compile(r"py[p]i\.org|python[h]osted|npm[j]s\.org|deb\.deb[i]an|py[p]i\.nv[i]dia")
MACHINE_PATHS = re.compile(r"(^|[^A-Za-z0-9_.-])/(work|farm|tmp/w)/")


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True
    ).stdout.decode()
    files = [REPOSITORY / name for name in listed.split("\0") if name]
    return [path for path in files if path.is_file()]


def texts() -> list[tuple[str, str]]:
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content[:4096]:
            name = str(path.relative_to(REPOSITORY))
            found.append((name, content.decode(errors="replace")))
    return found


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    named = [name for name, text in texts() if REGISTRIES.search(text)]
    named += [name for name, text in texts() if any(map(MACHINE_PATHS.search, text.splitlines()))]
    assert named == []


def test_the_lock_file_with_its_addresses_is_not_tracked():
    assert "uv.lock" not in {path.name for path in tracked_files()}


def test_the_tree_stays_small():
    sizes = {path: path.stat().st_size for path in tracked_files()}
    assert sum(sizes.values()) < 40 << 20
    assert [str(path) for path, size in sizes.items() if size > 9 << 20] == []


def test_requirements_are_pinned_by_hash_and_hold_no_address():
    files = sorted((REPOSITORY / "deploy" / "requirements").glob("*.txt"))
    assert [path.stem for path in files] == ["cpu", "gpu", "train"]
    for path in files:
        text = path.read_text()
        assert "://" not in text, path.name
        assert not re.search(r"^--?(index-url|extra-index-url|find-links|i|f)\b", text, re.M)
        pins = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
        assert pins
        assert text.count("--hash=sha256:") >= len(pins)
        assert all("==" in pin for pin in pins)


@pytest.mark.parametrize(
    "module", ["service.server", "service.runtime", "service.commands.serve", "service.simulation"]
)
def test_the_service_starts_without_torch(module):
    code = (
        f"import sys, {module}; bad = {{'torch', 'training', 'export'}} & set(sys.modules); "
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = subprocess.run(
        [sys.executable, "-m", "ethostream.commands", command, "--help"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert "usage" in done.stdout.decode()


def test_no_option_tells_its_default_twice_or_that_there_is_none():
    def told(parser: argparse.ArgumentParser) -> list[str]:
        found = parser.format_help().splitlines()
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for one in action.choices.values():
                    found += told(one)
        return found

    for point in entry_points(group="ethostream.commands"):
        parser = argparse.ArgumentParser(
            formatter_class=lambda prog: HelpFormatter(prog, width=2000)
        )
        point.load().configure(parser)
        lines = told(parser)
        assert [one for one in lines if one.count("(default: ") > 1] == []
        assert [one for one in lines if re.search(r"\(default: (None|False|\[\]|)\)", one)] == []


def test_the_readme_names_only_commands_that_exist():
    named: set[str] = set()
    for path in (REPOSITORY / "README.md", *REPOSITORY.glob("*/README.md")):
        for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", path.read_text(), re.S):
            named |= set(re.findall(r"(?:^|\s|/)ethostream ([a-z][a-z-]+)", block))
    assert named
    assert named <= set(COMMANDS)


def test_the_version_is_the_same_everywhere():
    versions = [
        re.search(r'^version = "(.+)"', (REPOSITORY / name).read_text(), re.M).group(1)
        for name in ("pyproject.toml", "clients/python/pyproject.toml")
    ]
    assert len(set(versions)) == 1
