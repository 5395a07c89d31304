"""What `ulmo lm` prints: progress, and a summary of each of its commands."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmo.config import printable
from ulmo.pipelines.inspect.token_model import TokenModelFacts
from ulmo.pipelines.lm.curve import CurvePoint
from ulmo.pipelines.lm.score import ScoreSummary
from ulmo.pipelines.lm.targets import ALL, FIRST, KINDS, LATER
from ulmo.reports.events import heard_facts
from ulmo.reports.inspect import Rows, corpora_rows, described, notes_rows
from ulmo.reports.progress import Progress, counted, left_out_lines, named_lines
from ulmo.reports.train import TrainProgress
from ulmo.sequence.scoring import SHORT
from ulmo.storage.names import path_text
from ulmo.storage.sealed import json_values

if TYPE_CHECKING:
    from ulmo.pipelines.lm.sample import Continued
    from ulmo.pipelines.lm.train import TokenTrainSummary

_ENDS = {
    "epochs": "all epochs done",
    "patience": "no better for `patience` epochs",
    "max_minutes": "time is up",
}
_TOLD = {ALL: "", LATER: " in later occurrences", FIRST: " in first occurrences"}
_CELL = 27  # letters of bits and their interval


class TokenTrainProgress(TrainProgress):
    """A bar of steps with their bits, and a line for each epoch."""

    def batch(self, losses: dict[str, float]) -> None:
        """A step is done."""
        self.bar.set_postfix_str(f"{losses['bits']:.3f} bits a token", refresh=False)
        self.bar.update()

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done and validated."""
        line = f"epoch {row['epoch'] + 1}: {row['train_bits']:.3f} bits a token"
        if "val_bits" in row:
            line += f", held out {row['val_bits']:.3f}"
        if not self.quiet:
            self.bar.write(line, file=sys.stderr)


class SampleProgress(Progress):
    """A bar of columns that are drawn."""

    def begin(self, columns: int) -> Callable[[int], object]:
        """Show the bar, unless all is drawn in a second. Returns a function that moves it."""
        self.open(columns, desc="drawing", unit="column", delay=1)

        def advance(done: int) -> None:
            self.bar.update(done)
            if self.bar.n == columns:
                self.bar.set_description("drawn; now the picture and the sound")

        return advance


def token_train_summary(summary: "TokenTrainSummary") -> str:
    """The results of a run, and what to do next."""
    folder = path_text(summary.run_dir / "lm")
    lines = [
        f"trained     {counted(summary.steps, 'step')}, {counted(summary.epochs, 'whole epoch')} "
        f"({_ENDS[summary.end]}), {summary.minutes:.1f} minutes, "
        f"{summary.tokens_per_second:,.0f} tokens/s",
        f"learned of  {counted(summary.recordings, 'recording')}, {summary.tokens:,} tokens",
    ]
    if summary.figures is not None:
        figures = summary.figures
        lines.append(
            f"held out    {figures.bits:.3f} bits a token (network alone "
            f"{figures.bits_network:.3f}), {figures.tokens:,} tokens of "
            f"{counted(figures.recordings, 'recording')}"
        )
    lines += [
        f"model       {folder} ({summary.weights:,} weights, {summary.fingerprint[:8]})",
        f"next        ulmo lm score FILE... --lm {folder} --out scores.csv",
    ]
    return "\n".join(lines)


def token_train_json(summary: "TokenTrainSummary", status: int) -> dict[str, Any]:
    """What --json prints of a training."""
    facts = {**summary._asdict(), "lm": summary.run_dir / "lm"}
    return _facts("lm train", status, facts)


def score_summary(
    summary: ScoreSummary, out: Path, left_out: Mapping[str, int], picture: Path | None = None
) -> str:
    """A few lines about the scores of all recordings."""
    counts, facts = summary.counts, summary.facts
    statuses = Counter(each["status"] for each in facts)
    shown = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    lines = [f"recordings  {len(facts)} ({shown})"]
    for status in ("partial", "refused"):
        some = [
            (each["path"], each["reason"] or "", each["detail"] or "")
            for each in facts
            if each["status"] == status
        ]
        lines += named_lines(status, some, "--json names all of them")
    lines += left_out_lines(left_out)
    if counts.tokens:
        gain = (counts.bits_short - counts.bits) / counts.tokens
        told = f"{gain:.3f} bits a token from what is longer ago than 1,024 tokens"
        if counts.longest <= SHORT:
            told = "nothing is longer ago than 1,024 tokens"
        lines += [
            f"bits        {counts.bits / counts.tokens:.3f} a token, of {counts.tokens:,} tokens",
            f"gain        {told}",
            f"copies      {counts.copied:,} of {counted(counts.columns, 'column')}",
        ]
    return "\n".join([*lines, *_written(out, picture)])


def score_json(
    summary: ScoreSummary, out: Path, left_out: Mapping[str, int], status: int
) -> dict[str, Any]:
    """What --json prints of scores; the table has the scores themselves."""
    facts = {
        "out": out,
        "statuses": dict(Counter(each["status"] for each in summary.facts)),
        "left_out": dict(left_out),
        **summary.counts._asdict(),
        "recordings": len(summary.facts),
        "files": [heard_facts(each) for each in summary.facts],
    }
    return _facts("lm score", status, facts)


def curve_summary(
    points: Sequence[CurvePoint], out: Path | None, picture: Path | None = None
) -> str:
    """The curve as a table, a column for each kind of columns."""
    kinds = [kind for kind in KINDS if any(point.columns == kind for point in points)]
    own = [[point for point in points if point.columns == kind] for kind in kinds]
    lines = [
        f"targets     {each[0].tokens:,} tokens of {counted(each[0].recordings, 'recording')}"
        f"{_TOLD[kind]}"
        for kind, each in zip(kinds, own, strict=True)
    ]
    heads = ["bits a token", *kinds[1:]]
    lines.append("past        " + "".join(f"{head:<{_CELL}}" for head in heads).rstrip())
    for row in zip(*own, strict=True):
        past = "all" if row[0].context_tokens is None else f"{row[0].context_tokens:,}"
        cells = [
            f"{point.bits:.3f}"
            + ("" if point.low is None else f"  ({point.low:.3f} to {point.high:.3f})")
            for point in row
        ]
        lines.append(f"{past:<10}  " + "".join(f"{cell:<{_CELL}}" for cell in cells).rstrip())
    return "\n".join([*lines, *_written(out, picture)])


def _written(out: Path | None, picture: Path | None) -> list[str]:
    """A line for each file that was written."""
    files = (("output", out), ("picture", picture))
    return [f"{name:<10}  {path_text(path)}" for name, path in files if path is not None]


def curve_json(points: Sequence[CurvePoint], out: Path | None) -> dict[str, Any]:
    """What --json prints of a curve."""
    return _facts("lm curve", 0, {"out": out, "points": [each._asdict() for each in points]})


def sample_summary(made: "Continued") -> str:
    """What was drawn, and the files that were written."""
    lines = [
        f"drawn       {made.seconds:g} s, {counted(made.columns, 'column')} of tokens, behind "
        f"{printable(made.recording)}",
        *(f"{name:<10}  {path_text(path)}" for name, path in made.files.items()),
    ]
    if made.no_sound:
        lines.append(f"sound       none: {made.no_sound}")
    return "\n".join(lines)


def sample_json(made: "Continued") -> dict[str, Any]:
    """What --json prints of a sample."""
    return _facts("lm sample", 0, made._asdict())


def token_model_inspection(facts: TokenModelFacts) -> str:
    """Describe a token model."""
    manifest = facts.manifest
    model, card = manifest.model, manifest.card
    network: Rows = [
        ("blocks", f"{', '.join(model.kinds)}; width {model.width}, MLPs {model.hidden}"),
        ("weights", f"{facts.weights:,}, float16"),
        ("predicts", f"{model.bands} bands of {model.codebook_size} codes"),
    ]
    rows = corpora_rows(card.corpora)
    if card.training is not None:
        training = card.training
        words = f"{counted(training.steps, 'step')}, {counted(training.epochs, 'whole epoch')}"
        rows.append(("training", f"{words}, {training.tokens:,} tokens, seed {training.seed}"))
    if card.figures is not None:
        figures = card.figures
        rows.append(
            (
                "held out",
                f"{figures.bits:.3f} bits a token, network alone {figures.bits_network:.3f}; "
                f"{figures.tokens:,} tokens of {counted(figures.recordings, 'recording')}",
            )
        )
    if card.versions:
        made = ", ".join(f"{name} {text}" for name, text in card.versions.items())
        rows.append(("made with", made))
    rows += notes_rows(card.notes)
    sections: dict[str, Rows] = {
        printable(facts.folder): [
            ("schema", str(manifest.schema_version)),
            ("fingerprint", manifest.fingerprint),
            ("tokenizer", manifest.tokenizer),
        ],
        "Network": network,
        "Card": rows or [("", "empty")],
    }
    return described(sections, facts.files)


def _facts(command: str, status: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    head = {"schema_version": 1, "command": command, "exit_status": status}
    return {**head, **json_values(facts)}
