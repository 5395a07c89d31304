"""Checks of the arguments of Python functions: UserError says what is allowed.

True and "0" are not accepted as numbers: they are probably mistakes. NumPy's numbers are accepted.
"""

import numbers
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from ulmo.config.errors import UserError, clipped, printable

T = TypeVar("T")
HUB = "hf://"  # what names a repository of the Hugging Face hub begins with
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")  # of a store, or of a web server


def whole_number(name: str, value: Any, *, least: int, most: int) -> int:
    """A whole number from `least` to `most`."""
    if _is_number(value, numbers.Integral) and least <= value <= most:
        return int(value)
    raise _wrong(name, value, f"a whole number from {least} to {most}")


def whole_number_or_none(name: str, value: Any, *, least: int, most: int) -> int | None:
    """The same, or None."""
    if value is None:
        return None
    if _is_number(value, numbers.Integral) and least <= value <= most:
        return int(value)
    raise _wrong(name, value, f"a whole number from {least} to {most}, or None")


def one_of(name: str, value: Any, choices: Iterable[T]) -> T:
    """One of some values, numbers or texts."""
    known = list(choices)
    for choice in known:
        kind = str if isinstance(choice, str) else numbers.Real
        if (isinstance(value, str) if kind is str else _is_number(value, kind)) and value == choice:
            return choice
    raise _wrong(name, value, f"one of {', '.join(map(str, known))}")


def path_argument(name: str, value: Any) -> Path:
    """A path, given as text, bytes or anything that is a path. UserError for an address.

    The line shows no more of an address than how it begins: there may be a secret in it.
    """
    if isinstance(value, str | bytes | os.PathLike):
        text = os.fsdecode(value)
        if ADDRESS.match(text):
            raise UserError(
                f"{printable(text.partition('://')[0])}://… is an address, and ulmo works with "
                "files here: mount that storage, or copy what you need from it, and give the path"
            )
        return Path(text)
    raise _wrong(name, value, "a path: a text or a pathlib.Path")


def place_argument(name: str, value: Any) -> Path | str:
    """Where a bundle is: a text that begins with hf:// as it stands, any other as a path."""
    if isinstance(value, str) and value.startswith(HUB):
        return value
    return path_argument(name, value)


def instance_of(name: str, value: Any, kind: type[T], what: str) -> T:
    """A value of a class; `what` says how to get one."""
    if isinstance(value, kind):
        return value
    raise _wrong(name, value, what)


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _wrong(name: str, value: Any, allowed: str) -> UserError:
    return UserError(f"{name} must be {allowed}, not {clipped(value)}")
