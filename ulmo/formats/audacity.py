"""Label tracks of Audacity, with the frequency range in a second line."""

from ulmo.formats.runs import Label, RunFormat


class Audacity(RunFormat):
    """A label a run, in the order of their ends."""

    words = "label track for Audacity"
    suffixes = (".tokens.labels.txt",)

    def _line(self, label: Label) -> str:
        return f"{label.begin}\t{label.end}\t{label.token}\n\\\t{label.hertz}\n"
