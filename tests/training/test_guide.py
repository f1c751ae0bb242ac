"""The guides of training cannot go stale: their commands parse and their links lead somewhere."""

import argparse
import importlib.metadata
import re
import shlex
from pathlib import Path

import pytest

import training

FOLDER = Path(training.__file__).parent
GUIDES = (FOLDER / "README.md", FOLDER / "POSE.md")
COMMANDS = {
    point.name: point for point in importlib.metadata.entry_points(group="ethostream.commands")
}

# What is written in capitals stands for the reader's own; paths and names parse as they are.
PLACEHOLDERS = {"X,Y,W,H": "0,0,320,240", "WxH": "640x480"}


def command_lines(text: str) -> list[str]:
    """Return the `ethostream` commands of the code blocks, continued lines joined."""
    found: list[str] = []
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.strip()
            if command.startswith("ethostream "):
                found.append(command)
    return found


def parse(line: str) -> argparse.Namespace:
    """Parse one command with the parser of its own module.

    Raises:
        AssertionError: there is no such command, or its parser refuses the line.
    """
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line, comments=True)]
    assert words[1] in COMMANDS, f"no such command: {line}"
    parser = argparse.ArgumentParser(prog=f"ethostream {words[1]}", exit_on_error=False)
    COMMANDS[words[1]].load().configure(parser)
    try:
        return parser.parse_args(words[2:])
    except (argparse.ArgumentError, SystemExit) as error:
        raise AssertionError(f"{line}: {error}") from error


def relative_links(text: str) -> list[str]:
    """Return the link targets that are files, without their anchors."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]


GUIDE_COMMANDS = [
    pytest.param(line, id=f"{guide.stem}-{line[11:60]}")
    for guide in GUIDES
    for line in command_lines(guide.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("line", GUIDE_COMMANDS)
def test_every_command_of_the_guides_is_understood_by_its_parser(line: str) -> None:
    parse(line)


def test_the_pose_guide_shows_every_command_of_the_workflow() -> None:
    shown = {line.split()[1] for line in command_lines(GUIDES[1].read_text(encoding="utf-8"))}
    workflow = {"project", "extract-frames", "train", "evaluate", "study", "maps", "export"}
    workflow |= {"serve", "analyze", "outliers", "tracks", "video"}
    assert workflow <= shown


@pytest.mark.parametrize(
    "line",
    [
        "ethostream project new openfield",
        "ethostream train pose DATA --out runs/a --no-such-option",
        "ethostream train pose DATA",
        "ethostream no-such-command",
        "ethostream tracks filter A.parquet --kind savgol",
    ],
)
def test_a_command_that_went_stale_is_noticed(line: str) -> None:
    block = f"```\n{line}\n```\n"
    (found,) = command_lines(block)
    with pytest.raises(AssertionError):
        parse(found)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_every_relative_link_of_the_guides_leads_to_a_file(guide: Path) -> None:
    links = relative_links(guide.read_text(encoding="utf-8"))
    assert links
    missing = [link for link in links if not (guide.parent / link).exists()]
    assert not missing


@pytest.mark.needs_train
def test_the_settings_file_of_the_guide_is_accepted(tmp_path: Path) -> None:
    from training.pose.run_command import read_choices

    text = GUIDES[1].read_text(encoding="utf-8")
    (block,) = re.findall(r"^```toml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    config = tmp_path / "SETTINGS.toml"
    config.write_text(block, encoding="utf-8")
    line = f"ethostream train pose PROJECT --out runs/NAME --config {config} --seed 2"
    choices = read_choices(parse(line))
    assert (choices.epochs, choices.seed, choices.split.seed) == (100, 2, 3)
    assert choices.augment.rotation_degrees == 25
