"""Errors that are one line for the user, and the words of others in one line."""

from typing import Any

from pydantic import ValidationError

SHOWN_COMPLAINTS = 8
SHOWN_CHARACTERS = 60
"""Of a value that was given, or of its name."""


class UserError(Exception):
    """A mistake that the user can put right: its text is one line, and says how."""


class NewerError(UserError):
    """A file that a newer ulmo wrote."""


class JobError(Exception):
    """A job that failed without a mistake of the user's: its text is one line."""


def one_line(error: Exception) -> str:
    """What an error of another library says, in one short line that a terminal may be shown."""
    lines = str(error).splitlines()
    text = lines[0][:300] if lines else type(error).__name__
    return printable(text)


def printable(text: str) -> str:
    r"""A text on one line, without what a terminal obeys: \n, \x1b as Python writes them."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def complaint(error: ValidationError) -> str:
    """One phrase for each complaint: the setting, what is wrong, what was given."""
    phrases = [_phrase(item) for item in error.errors(include_url=False)[:SHOWN_COMPLAINTS]]
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
    return f"{plain(name)} = {clipped(item['input'])}: {item['msg'].lower()}"


def plain(text: str) -> str:
    """Text of a stranger's for a line of ours: as it is, or as Python writes it, and short."""
    return text if text.isprintable() and len(text) <= SHOWN_CHARACTERS else clipped(text)


def clipped(value: Any) -> str:
    """A value as Python writes it, in one short line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
