"""The verdict on a recording, and the error that refuses one."""

from typing import Any, Literal, NamedTuple

Status = Literal["ok", "repaired", "partial", "refused"]

UNKNOWN_LENGTH = "how many frames are missing is not known"


class Verdict(NamedTuple):
    """The status of a recording and, unless it is `ok`, a stable reason code."""

    status: Status
    reason: str | None = None


class RefusedError(Exception):
    """A recording that cannot be used: a stable reason code, and one line for people.

    `declared` is the number of frames in the header (None if the header does not say), `missing`
    the number of frames that the file declares or holds; None if it may hold sound of an unknown
    length, which `detail` then says. None of them is used.
    """

    def __init__(
        self, reason: str, detail: str, *, declared: int | None = None, missing: int | None = 0
    ) -> None:
        if missing is None:
            detail += f": {UNKNOWN_LENGTH}"
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.declared = declared
        self.missing = missing

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"

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
