"""What `ulmo regions` and `ulmo repeats` print."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ulmo.config import printable
from ulmo.jobs.outcome import count_flags
from ulmo.pipelines.regions.regions import Made
from ulmo.reports.progress import counted, left_out_lines, named_lines
from ulmo.reports.sound import flag_lines
from ulmo.reports.tokenize import TokenizeProgress, lasting
from ulmo.storage.names import path_text


class ListeningProgress(TokenizeProgress):
    """The bar of a job that hears recordings."""

    doing: ClassVar[str] = "listening"


def refused_line(facts: Mapping[str, Any]) -> str:
    """One line for a recording that was refused."""
    why = printable(f"{facts['reason']} ({facts['detail']})")
    return f"{printable(facts['path'])}: refused: {why}"


def heard_lines(
    facts: Sequence[Mapping[str, Any]], left_out: Mapping[str, int], time_expansion: float
) -> list[str]:
    """How many recordings were heard, and what was lost of them."""
    counts = Counter(each["status"] for each in facts)
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    hours = sum(each.get("duration_s") or 0.0 for each in facts) / 3600
    partial = [
        (each["path"], each["reason"] or "", each["detail"] or "")
        for each in facts
        if each["status"] == "partial"
    ]
    return [
        f"recordings  {len(facts)} ({statuses}), {hours:.2f} hours",
        *named_lines("partial", partial, "--json names all of them"),
        *left_out_lines(left_out),
        *flag_lines(count_flags(facts), time_expansion=time_expansion),
    ]


def regions_summary(
    made: Sequence[Made], out: Path, left_out: Mapping[str, int], time_expansion: float
) -> str:
    """A few lines about the regions of all recordings."""
    some = [each for each in made if each.regions]
    seconds = sum(each.seconds for each in made)
    regions = f"{sum(each.regions for each in made):,}"
    if some:
        regions += f", {lasting(seconds)} in all, in {counted(len(some), 'recording')}"
    return "\n".join(
        [
            *heard_lines([each.facts for each in made], left_out, time_expansion),
            f"regions     {regions}",
            f"output      {path_text(out)}",
        ]
    )


def regions_json(
    made: Sequence[Made], out: Path, left_out: Mapping[str, int], status: int
) -> dict[str, Any]:
    """What --json prints of regions; the table has the regions themselves."""
    recordings = [
        {**heard_facts(each.facts), "regions": each.regions, "seconds": each.seconds}
        for each in made
    ]
    return {
        "schema_version": 1,
        "command": "regions",
        "exit_status": status,
        "output": out,
        "regions": sum(each.regions for each in made),
        "left_out": dict(left_out),
        "recordings": recordings,
    }


def heard_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What --json says of a recording."""
    names = ("path", "status", "reason", "detail", "sample_rate", "channels", "duration_s", "flags")
    return {name: facts.get(name) for name in names}
