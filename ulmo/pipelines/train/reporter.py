"""What a training run tells those who watch it."""

from typing import Any, Literal, Protocol

End = Literal["epochs", "patience", "max_minutes", "interrupt"]


class Reporter(Protocol):
    """What wants to hear of a run's progress."""

    def note(self, text: str) -> None:
        """Something takes a while."""
        ...

    def begin(self, steps: int, done: int) -> None:
        """Training begins, or goes on after so many steps."""
        ...

    def batch(self, losses: dict[str, float]) -> None:
        """A step is done."""
        ...

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done and validated."""
        ...
