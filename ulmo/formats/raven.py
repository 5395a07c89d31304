"""Selection tables of Raven Pro and Raven Lite."""

from ulmo.formats.runs import Label, RunFormat

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
BEGIN_UTC = "Begin UTC"  # one more column, if the recording's time is known


class Raven(RunFormat):
    """A selection a run, numbered from 1, in the order of their ends; channels count from 1."""

    words = "selection table for Raven Pro and Raven Lite"
    suffixes = (".tokens.selections.txt",)
    decimals = 9

    def _begin(self) -> None:
        super()._begin()
        self._selections = 0
        fields = [*FIELDS, *([BEGIN_UTC] if self.header.start_utc else [])]
        self._files[0].write(("\t".join(fields) + "\n").encode())

    def _line(self, label: Label) -> str:
        self._selections += 1
        channel = 1 + (self.header.channel or 0)
        utc = f"\t{label.utc}" if label.utc else ""
        return (
            f"{self._selections}\tSpectrogram 1\t{channel}\t{label.begin}\t{label.end}"
            f"\t{label.hertz}\t{label.token}{utc}\n"
        )
