"""Label tracks of Audacity, with the frequency range in a second line."""

from ulmo.formats.runs import Label, RunWriter


class Audacity(RunWriter):
    """A label a run, in the order of their ends."""

    def _line(self, label: Label) -> str:
        return f"{label.begin}\t{label.end}\t{label.token}\n\\\t{label.hertz}\n"
