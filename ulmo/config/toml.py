"""Settings files: TOML both ways."""

import re
from pathlib import Path
from typing import Any

from pydantic import Field

from ulmo.config.base import Settings
from ulmo.config.errors import UserError, one_line
from ulmo.config.model import ModelSettings
from ulmo.config.prep import AugmentSettings, ClockSettings, PrepSettings
from ulmo.config.train import TrainSettings

_MAX_TOML_BYTES = 1 << 16
# A key of this many parts: tomllib takes memory and time by the square of their number.
_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){16}""", re.ASCII
)


class Config(Settings):
    """The tables that a TOML file may have: [prep], [augment], [clock], [model], [train]."""

    prep: PrepSettings = Field(default_factory=PrepSettings)
    augment: AugmentSettings = Field(default_factory=AugmentSettings)
    clock: ClockSettings = Field(default_factory=ClockSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a settings file, without defaults.

    Raises UserError for an unknown key or a bad value.
    """
    import tomllib

    if path.exists() and not path.is_file():
        raise UserError(f"{path}: cannot be read as TOML: it is no file")
    try:
        text = _read_most(path, _MAX_TOML_BYTES).decode("utf-8")
        if _LONG_KEY.search(text):
            raise ValueError("a key has more than 16 parts")
        values = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as TOML: {one_line(error)}") from None
    try:
        Config.read(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return values


def to_toml(tables: dict[str, Settings]) -> str:
    """Settings as TOML, one table for each group; a setting that is None is left out."""
    import tomli_w

    return tomli_w.dumps(
        {name: settings.model_dump(exclude_none=True) for name, settings in tables.items()}
    )


def _read_most(path: Path, most: int) -> bytes:
    """The bytes of a file. Raises UserError if it has more than `most`, or is no plain file."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no plain file: name one")
    with path.open("rb") as file:
        size = path.stat().st_size
        content = b"" if size > most else file.read(most + 1)
    if max(size, len(content)) > most:
        raise UserError(f"{path} is too large to be ours")
    return content
