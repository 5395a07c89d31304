"""Selection tables of Raven Pro and Raven Lite."""

from collections.abc import Iterable

from ulmo.formats.header import utc_text
from ulmo.formats.runs import Run, RunWriter
from ulmo.formats.vocabulary import token_text

FIELDS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Token",
)
BEGIN_UTC = "Begin UTC"
"""One more column, where the recording's time is known."""


class Raven(RunWriter):
    """A selection a run, numbered from 1, in the order of their ends; channels count from 1."""

    def _begin(self) -> None:
        super()._begin()
        self._selections = 0
        self._write_line([*FIELDS, *([BEGIN_UTC] if self.header.start_utc else [])])

    def _write_runs(self, runs: Iterable[Run]) -> None:
        for run in runs:
            self._selections += 1
            low, high = self._hertz(run.band)
            time = self.header.utc(run.start)
            fields = [
                str(self._selections),
                "Spectrogram 1",
                str(1 + (self.header.channel or 0)),
                f"{self.header.seconds(run.start):.9f}",
                f"{self.header.end_seconds(run.end):.9f}",
                f"{low:.3f}",
                f"{high:.3f}",
                token_text(self.header.vocabulary, run.token),
            ]
            self._write_line([*fields, *([utc_text(time)] if time else [])])

    def _write_line(self, fields: Iterable[str]) -> None:
        self._files[0].write(("\t".join(fields) + "\n").encode())
