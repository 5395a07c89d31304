"""Label tracks of Audacity, with the frequency range in a second line."""

from collections.abc import Iterable

from ulmo.formats.runs import Run, RunWriter
from ulmo.formats.vocabulary import token_text


class Audacity(RunWriter):
    """A label a run, in the order of their ends."""

    def _write_runs(self, runs: Iterable[Run]) -> None:
        for run in runs:
            low, high = self._hertz(run.band)
            label = token_text(self.header.vocabulary, run.token)
            start, end = self.header.seconds(run.start), self.header.end_seconds(run.end)
            lines = f"{start:.6f}\t{end:.6f}\t{label}\n\\\t{low:.6f}\t{high:.6f}\n"
            self._files[0].write(lines.encode())
