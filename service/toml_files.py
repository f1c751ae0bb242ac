"""Files that people write for the service: TOML, in UTF-8."""

from pathlib import Path
from typing import TypeVar

import msgspec

from service.errors import InvalidConfig

_T = TypeVar("_T")


def read_toml(path: Path, kind: type[_T], what: str) -> _T:
    """Read a file as a value of `kind`.

    Args:
        path: of the file.
        kind: what it holds, a struct or a dict.
        what: it is, as the error names it, such as `the token file`.

    Raises:
        InvalidConfig: it cannot be read, or does not hold `kind`.
    """
    try:
        return msgspec.toml.decode(path.read_text(encoding="utf-8"), type=kind)
    except UnicodeDecodeError as error:
        raise InvalidConfig(
            f"{what} {path} is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise InvalidConfig(f"{what} {path} cannot be read: {error}") from error
