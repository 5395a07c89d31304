"""The verdict on a recording, and the error that refuses one."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from ulmo.config import printable

Status = Literal["ok", "repaired", "partial", "refused"]

MOST_DETAIL = 500  # characters
CHANGED = "the file was changed while it was read: try again later"
WORKER_LOST = "worker_lost"  # the workers that read it were lost
MAY_PASS = frozenset({"unreadable", "changed", WORKER_LOST})  # may not hold at another time
UNKNOWN_LENGTH = "how many frames are missing is not known"


def in_words(*details: str | None) -> str:
    """Details as one line of at most MOST_DETAIL characters, each once; empty without any.

    >>> in_words("a tag is cut", None, "a chunk is cut", "a tag is cut")
    'a tag is cut; a chunk is cut'
    """
    others = [each for each in dict.fromkeys(details) if each]
    line = ""
    while others:
        longer = f"{line}; {others[0]}" if line else others[0]
        end = f"; and {len(others)} more"
        if len(longer) > MOST_DETAIL - len(end):
            return line + end if line else f"{longer[: MOST_DETAIL - 3]}..."[: len(longer)]
        line = longer
        others.pop(0)
    return line


class Verdict(NamedTuple):
    """The status of a recording and, unless it is `ok`, a stable reason code."""

    status: Status
    reason: str | None = None


class RefusedError(Exception):
    """A recording that cannot be used: a stable reason code, and one line for people.

    `declared` is the number of frames in the header (None if the header does not say), `missing`
    the number of frames that the file declares or holds; None if it may hold sound of an unknown
    length, which `detail` then says. None of them is used. `path` is that of the file, if there is
    one. The text of the error names all three: "x.wav: not_audio: the file is ...".
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        declared: int | None = None,
        missing: int | None = 0,
        path: Path | None = None,
    ) -> None:
        if missing is None:
            detail += f": {UNKNOWN_LENGTH}"
        self.reason, self.detail = reason, in_words(detail)
        super().__init__(reason, self.detail)
        self.declared = declared
        self.missing = missing
        self.path = path

    def __str__(self) -> str:
        name = "" if self.path is None else f"{printable(str(self.path))}: "
        return f"{name}{self.reason}: {self.detail}"

    def facts(self) -> dict[str, Any]:
        """The columns of recordings.parquet for a refused recording."""
        return {
            "status": "refused",
            "reason": self.reason,
            "detail": self.detail,
            "frames": 0,
            "frames_declared": self.declared,
            "frames_missing": self.missing or 0,
            "flags": [],
        }
