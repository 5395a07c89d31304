"""What `ulmo-train` prints: a progress bar, a line for each epoch, and a summary."""

import math
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ulmo.config import printable
from ulmo.reports.progress import Progress, counted
from ulmo.reports.verdict import training_advice, verdict_lines
from ulmo.storage.names import path_text

if TYPE_CHECKING:
    from ulmo.evaluation.tally import Metrics
    from ulmo.pipelines.train.own_tasks import OwnTasks
    from ulmo.pipelines.train.train import TrainSummary


class TrainProgress(Progress):
    """A bar of steps with their losses, and a line for each epoch."""

    def note(self, text: str) -> None:
        """Something takes a while."""
        if not self.quiet:
            self.say(printable(text))

    def warn(self, text: str) -> None:
        """Something went wrong, and training goes on."""
        self.say(printable(text))

    def begin(self, steps: int, done: int) -> None:
        """Training begins, with `done` of `steps` steps done before."""
        self.open(steps, initial=done, desc="training", unit="step")

    def batch(self, losses: dict[str, float]) -> None:
        """A step is done."""
        self.bar.set_postfix_str(
            f"reconstruction {losses['reconstruction']:.4f}, "
            f"commitment {losses['commitment']:.3f}, perplexity {losses['perplexity']:.0f}"
            + _scores(losses, ""),
            refresh=False,
        )
        self.bar.update()

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is done and validated."""
        line = f"epoch {row['epoch'] + 1}: reconstruction {row['train_reconstruction']:.4f}"
        if "val_reconstruction" in row:
            line += (
                f", held out {row['val_reconstruction']:.4f}"
                f"{_in_db(row['val_reconstruction_db'])}"
                f", codes used {row['val_usage']:.0%}"
            )
        line += _scores(row, "val_")
        if not self.quiet:
            self.bar.write(line, file=sys.stderr)


def train_summary(summary: "TrainSummary") -> str:
    """The results of a run, and what to do next."""
    reasons = {
        "epochs": "all epochs done",
        "patience": "no better for `patience` epochs",
        "max_minutes": "time is up",
    }
    lines = [
        f"trained     {counted(summary.steps, 'step')}, {counted(summary.epochs, 'whole epoch')} "
        f"({reasons[summary.end]}), {summary.minutes:.1f} minutes, "
        f"{summary.tiles_per_second:.0f} tiles/s"
    ]
    if summary.validation is not None:
        lines += [f"held out    {line}" for line in _figures(summary.validation)]
    tokenizer = path_text(summary.run_dir / "tokenizer")
    where = "in training" if summary.validation is None else "held out"
    if not summary.verdict.says_little:  # else any guess would be right
        lines += _own_tasks(summary.own_tasks, summary.objectives, where)
    advice = training_advice(summary.objectives, summary.quantizer)
    lines += verdict_lines(summary.verdict, where, advice)
    if summary.validation is not None and not summary.verdict.says_little:
        lines += _worse(summary.validation)
    lines += [
        f"tokenizer   {tokenizer} "
        f"({summary.tokens - summary.ties} tokens are the model's, {summary.ties} ties)",
        f"pictures    {path_text(summary.run_dir / 'pictures')}",
        f"next        ulmo-tokenize FILE... --tokenizer {tokenizer}",
    ]
    return "\n".join(lines)


def _scores(values: Mapping[str, float], prefix: str) -> str:
    """Scores of own tasks; that of `reconstruct` is left out, since its error is shown."""
    own = {
        name.removeprefix(prefix).removesuffix("_score"): value
        for name, value in values.items()
        if name.startswith(prefix) and name.endswith("_score")
    }
    return "".join(f", {name} {own[name]:.2f}" for name in own if name != "reconstruct")


def _own_tasks(tasks: "OwnTasks", objectives: Iterable[str], where: str) -> list[str]:
    """Scores of the objectives' own tasks."""
    lines = []
    for name in objectives:
        mean, error, chance = tasks.score(name)
        spread = "" if math.isnan(error) else f" +- {error:.3f}"
        lines.append(f"own task    {name}: score {mean:.3f}{spread} {where}, chance {chance:.3f}")
    return lines


def _worse(metrics: "Metrics") -> list[str]:
    """One line if one constant tile is nearer to the held-out tiles than the model."""
    if not metrics.is_worse_than_a_tile:
        return []
    return [
        "WORSE       the model reconstructs held-out tiles worse than one constant tile does "
        f"({metrics.reconstruction:.4f}, {metrics.baseline_tile:.4f}): train for more epochs, or "
        "on more recordings"
    ]


def _figures(metrics: "Metrics") -> list[str]:
    sound = "no token is sound"
    if metrics.sound_tokens:
        book = metrics.sound_codebook
        sound = f"on non-silent tokens {book.usage:.1%}, {book.entropy:.3f}"
    return [
        f"reconstruction {metrics.reconstruction:.4f}{_in_db(metrics.reconstruction_db)}; "
        f"a constant tile at best {metrics.baseline_tile:.4f}, "
        f"a mean per bin {metrics.baseline_bands:.4f}",
        f"codes used {metrics.codebook.usage:.1%}, entropy {metrics.codebook.entropy:.3f}; {sound}",
    ]


def _in_db(error: float) -> str:
    """An error in dB², if the tiles are levels in dB."""
    return "" if math.isnan(error) else f" ({error:.1f} dB²)"
