"""An example that the user names: `recording.wav:12.3-13.1`, in seconds from its first sample."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.listening.channels import Channel
from ulmo.listening.occurrences import BACKGROUND, Occurrence, Sounds
from ulmo.preprocessing.reading.audio import RefusedError, open_recording

_FORM = re.compile(r"(?P<path>.+):(?P<start>\d+(\.\d*)?)-(?P<end>\d+(\.\d*)?)", re.DOTALL)
_LEAST_SHARED = 0.5  # of the shorter of example and occurrence


class Example(NamedTuple):
    """A stretch of a recording."""

    path: Path
    start_s: float
    end_s: float

    @classmethod
    def parse(cls, text: str) -> "Example":
        """An example from its text; UserError if it is none."""
        found = _FORM.fullmatch(text)
        if found is None or not float(found["start"]) < float(found["end"]):
            raise UserError(f"{text!r} is no example: write one as recording.wav:12.3-13.1")
        return cls(Path(found["path"]), float(found["start"]), float(found["end"]))

    def among(self, paths: Sequence[Path]) -> list[Path]:
        """The paths, and that of the example's recording if it may be none of theirs.

        UserError if that recording is not there, or ends before the example begins.
        """
        if not self.path.is_file():
            raise UserError(f"{self.path}, the recording of the example, is not there")
        self._check_end()
        true = self.path.resolve()
        inside = any(true == each.resolve() or each.resolve() in true.parents for each in paths)
        return [*paths] if inside else [*paths, self.path]

    def chosen(self, classes: Sequence[Sounds], channels: Sequence[Channel]) -> list[Sounds]:
        """The class that the example belongs to; none if it does not recur."""
        true = self.path.resolve()
        here = {
            number
            for number, channel in enumerate(channels)
            if channel.heard.path.resolve() == true
        }
        best, shared = None, 0.0
        for each in classes:
            if each.kind == BACKGROUND:
                continue
            meeting = [one for one in each.occurrences if one.channel in here and self._shared(one)]
            most = sum(map(self._shared, meeting))
            if most > shared:
                best, shared = each, most
                if each.number is None:
                    best = each._replace(occurrences=meeting)
        return [] if best is None else [best]

    def _check_end(self) -> None:
        """Raise UserError if the header of the recording says that it ends before the example."""
        try:
            with open_recording(self.path) as recording:
                frames, rate = recording.frames_declared, recording.sample_rate
        except RefusedError:
            return  # it is refused where it is heard, with its reason
        if frames is not None and self.start_s >= frames / rate:
            raise UserError(
                f"the example is of {self.start_s:g} to {self.end_s:g} s, and {self.path} is only "
                f"{frames / rate:.2f} s long: name a part of it"
            )

    def _shared(self, occurrence: Occurrence) -> float:
        """Seconds that an occurrence shares with the example, if they are most of either."""
        shared = min(self.end_s, occurrence.when.end_s)
        shared -= max(self.start_s, occurrence.when.start_s)
        shorter = min(self.end_s - self.start_s, occurrence.seconds)
        return shared if shared > _LEAST_SHARED * shorter else 0.0
