"""Writes the text form of protocol buffers, as far as a config.pbtxt needs it."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias


class Enum(str):
    """The name of an enum's value, which is written without quotes."""


Value: TypeAlias = "str | int | Message | tuple[Value, ...]"
"""A text, an `Enum`, a whole number or a message; a tuple of them is a repeated field."""
Message: TypeAlias = Mapping[str, Value]


def to_text(message: Message) -> str:
    """Return the fields of `message`, in their order, as text."""
    return "".join(line + "\n" for line in _lines(message))


def _lines(message: Message) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, tuple):
            for one in value:
                yield from _lines({name: one})
        elif isinstance(value, Mapping):
            yield f"{name} {{"
            yield from (f"  {line}" for line in _lines(value))
            yield "}"
        else:
            yield f"{name}: {_scalar(value)}"


def _scalar(value: str | int) -> str:
    if isinstance(value, int | Enum):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
