"""What is asked of ulmo's speed, and where on docs/benchmarks.md the figure stands that answers."""

from typing import NamedTuple


class Asked(NamedTuple):
    """A cell of a table, and its bounds."""

    section: str  # the name of the marks around it
    row: str  # the text of the row's first cell
    column: str  # the text above it
    least: float | None = None
    most: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        """The bounds: `4x`, `at most 9 s`."""
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}{self.unit}"
        if self.most is not None:
            return f"at most {self.most:g}{self.unit}"
        return f"{self.least:g}{self.unit}"

    def is_met(self, measured: float) -> bool:
        """Whether a figure lies within the bounds."""
        above = self.least is None or measured >= self.least
        return above and (self.most is None or measured <= self.most)


# Columns.
SHIPS, SEED = "what ships : it", "ulmo : it"
_SPEED, _START = "tokenize speed", "tokenize start"
_EXPONENT, _BYTES = "exponent above the start", "bytes a recording"
_DISK = " % of the disk"

ASKED = {
    "prep 16 kHz": Asked("ulmo-prep", "16 kHz", "one : script", least=4, unit="x"),
    "prep 48 kHz": Asked("ulmo-prep", "48 kHz", "one : script", least=4, unit="x"),
    "disk 16 kHz": Asked("ulmo-prep", "16 kHz", "of it used by one", least=70, unit=_DISK),
    "disk 48 kHz": Asked("ulmo-prep", "48 kHz", "of it used by one", least=70, unit=_DISK),
    "workers 16 kHz": Asked("ulmo-prep", "16 kHz", "two : one", least=1.8, unit="x"),
    "workers 48 kHz": Asked("ulmo-prep", "48 kHz", "two : one", least=1.8, unit="x"),
    "compressed": Asked("many compressed", "`ulmo-prep`", "ratio", least=2.5, unit="x"),
    "ships mimi": Asked(_SPEED, "Mimi", SHIPS, least=60, unit="x"),
    "ships snac": Asked(_SPEED, "SNAC (24 kHz)", SHIPS, least=250, unit="x"),
    "ships encodec": Asked(_SPEED, "EnCodec (24 kHz, 6 kbit/s)", SHIPS, least=45, unit="x"),
    "seed mimi": Asked(_SPEED, "Mimi", SEED, least=50, unit="x"),
    "seed snac": Asked(_SPEED, "SNAC (24 kHz)", SEED, least=200, unit="x"),
    "seed encodec": Asked(_SPEED, "EnCodec (24 kHz, 6 kbit/s)", SEED, least=35, unit="x"),
    "clips": Asked("many clips", "all", "seconds", most=9, unit=" s"),
    "again": Asked("many clips", "nothing to do", "seconds", most=1.5, unit=" s"),
    "memory prep": Asked("many memory", "`ulmo-prep`", _BYTES, most=200, unit=" bytes"),
    "memory tokenize": Asked("many memory", "`ulmo-tokenize`", _BYTES, most=200, unit=" bytes"),
    "start": Asked(_START, "`ulmo-tokenize`", "of TensorFlow's", most=0.08),
    "help": Asked(_START, "`ulmo-tokenize --help`", "seconds", most=0.15, unit=" s"),
    "train speed": Asked("train speed", "PyTorch, all strides 2", SEED, least=2, unit="x"),
    "train time": Asked("train error", "PyTorch, all strides 2", "of its time", most=0.5),
    "stream": Asked("tokenize stream", "live", "mean to tokens", most=8, unit=" ms"),
    "labelled": Asked("many labelled", "`ulmo eval --audio`", "seconds", most=20, unit=" s"),
    "day growth": Asked("tokenize day", "growth", "measured", most=16, unit=" MB"),
    "day peak": Asked("tokenize day", "peak (VmHWM)", "measured", most=500, unit=" MB"),
    "length": Asked("many linear", "length", _EXPONENT, least=0.95, most=1.05),
    "channels": Asked("many linear", "channels", _EXPONENT, least=0.95, most=1.05),
    "files": Asked("many linear", "files", _EXPONENT, least=0.95, most=1.05),
}
