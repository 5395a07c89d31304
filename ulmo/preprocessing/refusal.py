"""What becomes of a recording: a status, and unless it is `ok` a stable reason code."""

from typing import Any, Literal, NamedTuple

Status = Literal["ok", "repaired", "partial", "refused"]


class Verdict(NamedTuple):
    """What became of a recording: a status, and unless it is `ok` a stable reason code."""

    status: Status
    reason: str | None = None


class RefusedError(Exception):
    """A recording that cannot be used: a stable reason code, and a line for people.

    `declared` are the frames of its header (None: it does not say), `missing` those that it
    holds or declares, as far as they can be told: none of them is used.
    """

    def __init__(
        self, reason: str, detail: str, *, declared: int | None = None, missing: int = 0
    ) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.declared = declared
        self.missing = missing

    def facts(self) -> dict[str, Any]:
        """The columns of recordings.parquet for a refused recording."""
        return {
            "status": "refused",
            "reason": self.reason,
            "detail": self.detail,
            "frames": 0,
            "frames_declared": self.declared,
            "frames_missing": self.missing,
            "flags": [],
        }
