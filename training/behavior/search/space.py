"""What a search varies: ranges of settings by dotted name, random draws of them, TOML."""

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from service.errors import InvalidConfig, NotFound
from service.toml_files import read_toml

Value = float | int | str | bool
Settings = dict[str, Value]
"""Values by dotted name: `features.learning_rate` is the setting learning_rate of `features`."""
_DIGITS = 4
"""Significant digits of drawn numbers: no search tells more apart."""


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one setting is drawn; exactly one of the fields is given."""

    choice: tuple[Value, ...] | None = None
    """One of these, all alike."""
    uniform: tuple[float, float] | None = None
    """Between these."""
    log_uniform: tuple[float, float] | None = None
    """Between these, which are above 0; every power of ten alike."""
    integer: tuple[int, int] | None = None
    """A whole number between these, both included."""

    def __post_init__(self) -> None:
        """Check that there is one range, and its order."""
        given = [one for one in self.__struct_fields__ if getattr(self, one) is not None]
        if len(given) != 1:
            raise InvalidConfig(
                f"a range has {' and '.join(given) or 'nothing'}; give one of "
                f"{', '.join(self.__struct_fields__)}"
            )
        if self.choice is not None:
            if not self.choice:
                raise InvalidConfig("a choice is empty; give one value at least")
            return
        low, high = getattr(self, given[0])
        if not low <= high or (self.log_uniform and low <= 0):
            raise InvalidConfig(
                f"{given[0]} is {low:g} to {high:g}; give a lower and an upper limit"
                f"{', above 0' if self.log_uniform else ''}"
            )

    def draw(self, random: np.random.Generator) -> Value:
        """Draw a value."""
        if self.choice is not None:
            return self.choice[int(random.integers(len(self.choice)))]
        if self.integer is not None:
            return int(random.integers(self.integer[0], self.integer[1] + 1))
        if self.uniform is not None:
            return _rounded(float(random.uniform(*self.uniform)))
        assert self.log_uniform is not None, "a range has one of the four"
        low, high = (math.log(one) for one in self.log_uniform)
        return _rounded(math.exp(float(random.uniform(low, high))))


Space = dict[str, Range]
"""Ranges by dotted name of the setting."""


def draw_trials(space: Mapping[str, Range], count: int, seed: int) -> list[Settings]:
    """Draw the settings of `count` trials; the first ones are the same for any count.

    Raises:
        InvalidConfig: the space is empty, or no trial is asked for.
    """
    if not space or count < 1:
        raise InvalidConfig(
            f"{count} trials of {len(space)} varied settings search nothing; give one of each"
        )
    trials = []
    for trial in range(count):
        random = np.random.default_rng((seed, trial))
        trials.append({name: space[name].draw(random) for name in sorted(space)})
    return trials


def read_space(path: Path) -> Space:
    """Read a TOML file with a line for each setting.

    Such as `"features.learning_rate" = { log_uniform = [1e-4, 1e-2] }`, `dropout = { uniform =
    [0, 0.7] }`, `sequence_width = { choice = [32, 64] }`. A table `[features]` stands for names
    that begin with `features.`.

    Raises:
        NotFound: there is no such file.
        InvalidConfig: it is not TOML, or a range is none.
    """
    if not path.is_file():
        raise NotFound(f"{path} does not exist; name a TOML file of ranges")
    ranges = read_toml(path, dict[str, object], "the file of ranges")
    try:
        return _ranges(ranges, "")
    except msgspec.ValidationError as error:
        raise InvalidConfig(
            f"{path} does not hold ranges: {error}; give lines such as "
            "dropout = { uniform = [0.0, 0.7] }"
        ) from error


def nested(settings: Mapping[str, Value]) -> dict[str, object]:
    """Turn dotted names into tables of tables."""
    result: dict[str, object] = {}
    for name, value in settings.items():
        *tables, last = name.split(".")
        place = result
        for table in tables:
            inner = place.setdefault(table, {})
            if not isinstance(inner, dict):
                raise InvalidConfig(f"{name} and {table} are both varied; leave one out")
            place = inner
        place[last] = value
    return result


def merged(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return `base` with the values of `changes` in their places, table by table."""
    result = dict(base)
    for name, value in changes.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[name] = merged(before, value)
        else:
            result[name] = value
    return result


def _ranges(table: Mapping[str, object], prefix: str) -> Space:
    space: Space = {}
    for name, value in table.items():
        if not isinstance(value, dict):
            raise msgspec.ValidationError(f"{prefix}{name} is {value!r}, not a range")
        if set(value) & set(Range.__struct_fields__):
            space[prefix + name] = msgspec.convert(value, Range)
        else:
            space |= _ranges(value, f"{prefix}{name}.")
    return space


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
