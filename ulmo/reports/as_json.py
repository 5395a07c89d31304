"""What `--json` prints of prep, tokenize, convert and train: one object, from the summary."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmo.formats.header import utc_text
from ulmo.jobs.outcome import Outcome
from ulmo.pipelines.convert.convert import Converted
from ulmo.pipelines.tokenize.job import Result
from ulmo.pipelines.tokenize.timeline_file import Timeline
from ulmo.preprocessing.times.clock import EPOCH
from ulmo.reports.tokenize import Totals, token_count
from ulmo.storage.sealed import json_values

if TYPE_CHECKING:
    from ulmo.pipelines.prep.prep import PrepSummary  # brings pyarrow
    from ulmo.pipelines.train.train import TrainSummary  # brings Matplotlib

_Facts = dict[str, Any]


def prep_json(summary: "PrepSummary", status: int) -> _Facts:
    """All of a PrepSummary; `status` is the exit status."""
    flags = {flag: count.recordings for flag, count in summary.flags.items()}
    named = {
        name: [dict(zip(("path", "reason", "detail"), one, strict=True)) for one in recordings]
        for name, recordings in (("refused", summary.refused), ("partial", summary.partial))
    }
    return _facts("prep", status, {**summary._asdict(), **named, "flags": flags})


def tokenize_json(
    results: Sequence[Result],
    totals: Totals,
    status: int,
    *,
    out: Path | None,
    timeline: Timeline | None,
    left_out: Mapping[str, int],
) -> _Facts:
    """Totals, and an entry in `files` for each recording: its row of the ledger, and its outputs.

    `out` is the output folder or file; None if outputs lie beside the recordings.
    """
    files = [
        {
            **result.outcome.model_dump(mode="json"),
            "start_utc": _start(result.outcome),
            "source": result.source,
            "outputs": result.outputs,
            "reused": result.reused,
            "kept": result.kept,
        }
        for result in results
    ]
    facts = {
        "out": out,
        "recordings": totals.recordings,
        "statuses": totals.statuses,
        "flags": {flag: count.recordings for flag, count in totals.flags.items()},
        "hours": totals.seconds / 3600,
        "tokens": token_count(totals, timeline),
        "reused": totals.reused,
        "left_out": left_out,
        "timeline": timeline,
        "files": files,
    }
    return _facts("tokenize", status, facts)


def _start(outcome: Outcome) -> str | None:
    """When a recording began, in ISO 8601."""
    if outcome.start_utc is None:
        return None
    return utc_text(EPOCH + timedelta(microseconds=outcome.start_utc))


def convert_json(results: Sequence[Converted], out: Path, status: int) -> _Facts:
    """Totals, and an entry in `files` for each file of tokens; `refusal` is null if it is whole."""
    facts = {
        "out": out,
        "recordings": len(results),
        "refused": sum(result.refusal is not None for result in results),
        "hours": sum(result.seconds for result in results) / 3600,
        "tokens": sum(result.columns * result.bands for result in results),
        "files": results,
    }
    return _facts("convert", status, facts)


def train_json(summary: "TrainSummary", status: int) -> _Facts:
    """Figures of the run, where its files lie, and the verdict on its ids."""
    tasks = {}
    for name, weight in summary.objectives.items():
        mean, error, chance = summary.own_tasks.score(name)
        tasks[name] = {"weight": weight, "score": mean, "error": error, "chance": chance}
    facts = {
        **summary._asdict(),
        "tokenizer": summary.run_dir / "tokenizer",
        "pictures": summary.run_dir / "pictures",
        "objectives": tasks,
    }
    del facts["own_tasks"]
    return _facts("train", status, facts)


def _facts(command: str, status: int, facts: Mapping[str, Any]) -> _Facts:
    head = {"schema_version": 1, "command": command, "exit_status": status}
    return {**head, **json_values(facts)}
