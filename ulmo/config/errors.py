"""Errors with a text of one line for the user, and other libraries' errors in one line."""

import re
from typing import Any

from pydantic import ValidationError

_SHOWN_COMPLAINTS = 8
_SHOWN_CHARACTERS = 60  # of a value, or of its name
_BOUNDS = (
    ("greater_than_equal", "ge", "at least"),
    ("less_than_equal", "le", "at most"),
    ("greater_than", "gt", "above"),
    ("less_than", "lt", "below"),
)


class UserError(Exception):
    """A mistake of the user. Its text is one line that says what is wrong and what to do."""


class NewerError(UserError):
    """A file was written by a newer ulmo."""


class WholeFileError(UserError):
    """A file cannot be read, although it has its recorded hash: it is not damaged."""


class JobError(Exception):
    """A job failed, though the user made no mistake. Its text is one line."""


def one_line(error: Exception) -> str:
    """The text of another library's error as one short line that is safe to print."""
    lines = str(error).splitlines()
    text = lines[0][:300] if lines else type(error).__name__
    return printable(text)


def printable(text: str) -> str:
    r"""A text as one line; control characters such as \x1b are written as Python writes them."""
    text = whole_letters(text)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def whole_letters(text: str) -> str:
    r"""The text as valid UTF-8: bytes of a path that are not UTF-8 become \xNN.

    Python keeps such bytes as single surrogates, which files, terminals and JSON do not accept.
    """
    return re.sub("[\ud800-\udfff]", _escaped, text)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found[0])
    return rf"\x{number - 0xDC00:02x}" if 0xDC80 <= number <= 0xDCFF else rf"\u{number:04x}"


def complaint(error: ValidationError) -> str:
    """The errors of pydantic as phrases: the setting, its value and what is wrong with it."""
    phrases = [_phrase(item) for item in error.errors(include_url=False)[:_SHOWN_COMPLAINTS]]
    if (hidden := error.error_count() - len(phrases)) > 0:
        phrases.append(f"and {hidden} more")
    return "; ".join(phrases)


def _phrase(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown setting {clipped(name)}"
    if item["type"] == "missing":
        return f"{clipped(name)} is missing"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    said = f"{plain(name)} = {clipped(item['input'])}"
    for kind, bound, words in _BOUNDS:
        if item["type"] == kind:
            return f"{said}: it must be {words} {item['ctx'][bound]}"
    return f"{said}: {item['msg'].lower()}"


def plain(text: str) -> str:
    """Foreign text for one of our lines: as it is, or as Python writes it, and short."""
    return text if text.isprintable() and len(text) <= _SHOWN_CHARACTERS else clipped(text)


def clipped(value: Any) -> str:
    """A value as Python writes it, cut to one short line."""
    try:
        text = " ".join(repr(value).split())  # an array has lines
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = "a value that is too long to be shown"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
