"""What `ulmo regions` and `ulmo repeats` print."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ulmo.config import printable
from ulmo.jobs.outcome import count_flags
from ulmo.listening.occurrences import BACKGROUND, SOUND, Sounds
from ulmo.listening.repeats import Repeats
from ulmo.pipelines.regions.regions import Made
from ulmo.reports.progress import counted, left_out_lines, named_lines
from ulmo.reports.sound import flag_lines
from ulmo.reports.tokenize import TokenizeProgress, lasting
from ulmo.sequence.periods import bursts
from ulmo.storage.names import path_text

_LONG_HOURS = 0.25
_SHOWN_CLASSES = 20
_LITTLE_H = 0.2  # of sound, in which what recurs may be chance


class ListeningProgress(TokenizeProgress):
    """The bar of a job that hears recordings."""

    doing: ClassVar[str] = "listening"

    def search(self, hours: float) -> None:
        """Say what is done once all is heard, if it takes a while."""
        if not self.quiet and hours > _LONG_HOURS:
            self.line(f"comparing {hours:.1f} hours with themselves", error=True)


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
    files = [
        {**heard_facts(each.facts), "regions": each.regions, "seconds": each.seconds}
        for each in made
    ]
    counts = {"regions": sum(each.regions for each in made)}
    return _json("regions", [each.facts for each in made], out, left_out, status, counts, files)


def _json(
    command: str,
    facts: Sequence[Mapping[str, Any]],
    out: Path,
    left_out: Mapping[str, int],
    status: int,
    found: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    flags = {flag: count.recordings for flag, count in count_flags(facts).items()}
    return {
        **{"schema_version": 1, "command": command, "exit_status": status, "out": out},
        "recordings": len(facts),
        "statuses": dict(Counter(each["status"] for each in facts)),
        "flags": flags,
        "hours": sum(each.get("duration_s") or 0.0 for each in facts) / 3600,
        "left_out": dict(left_out),
        **found,
        "files": files,
    }


def heard_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What --json says of a recording."""
    names = ("path", "status", "reason", "detail", "sample_rate", "channels", "duration_s", "flags")
    return {name: facts.get(name) for name in names}


def repeats_summary(
    found: Repeats,
    rows: int,
    out: Path,
    left_out: Mapping[str, int],
    time_expansion: float,
    picture: Path | None = None,
) -> str:
    """A few lines about what recurs: a line a class, those that occur most often first."""
    real = [each for each in found.classes if each.number is not None]
    alone = {each.kind: len(each.occurrences) for each in found.classes if each.number is None}
    ranked = sorted(real, key=lambda each: (-len(each.occurrences), each.number or 0))
    lines = [class_line(each, found.hours) for each in ranked[:_SHOWN_CLASSES]]
    if len(ranked) > len(lines):
        lines.append(f"and {len(ranked) - len(lines)} more classes: the table has all")
    hum = alone.pop(BACKGROUND, 0)
    if others := sum(alone.values()):
        lines.append(f"in no class: {counted(others, 'row')}")
    if hum:
        lines.append(f"background: {counted(hum, 'row')} of what is always there")
    if 0 < found.hours < _LITTLE_H and not any(each.kind == SOUND for each in found.classes):
        lines.append(
            f"in {_length(found.hours)} of sound hardly any repeat is surer than chance: "
            f"--false-per-hour {2 / found.hours:.0f} shows more, about two of them by chance"
        )
    lines += bound_lines(found)
    count = f"{rows:,} in {len(real):,} class{'' if len(real) == 1 else 'es'}"
    return "\n".join(
        [
            *heard_lines(found.facts, left_out, time_expansion),
            f"repeats     {count if rows else 'none'}",
            *(f"  {line}" for line in lines),
            f"output      {path_text(out)}",
            *([] if picture is None else [f"picture     {path_text(picture)}"]),
        ]
    )


def bound_lines(found: Repeats) -> list[str]:
    """What was left out of very much sound."""
    lines = []
    if found.left_out_hours:
        lines.append(
            f"compared: the {_length(found.compared_hours)} that tell most; repeats may be missing "
            f"in {_length(found.left_out_hours)} of fainter or more usual sound: name fewer "
            "recordings to compare all of it"
        )
    if found.joined:
        lines.append(
            f"classes are made of the surest repeats; {found.joined:,} others joined the class "
            "that they are like, if there is one"
        )
    return lines


def class_line(each: Sounds, hours: float) -> str:
    """A class in words: `class 3: 41 times in 2.1 h, every 1.34 s, 1.1 to 4.0 kHz`."""
    word = "class" if each.kind == "sound" else each.kind
    parts = [f"{word} {each.number}: {counted(len(each.occurrences), 'time')} in {_length(hours)}"]
    if each.period is not None:
        seconds = each.period.seconds
        counts = [count for count in bursts(each.times, seconds) if count > 1]
        in_bursts = ""
        if len(counts) > 1:
            least, most = min(counts), max(counts)
            in_bursts = f" in bursts of {least}" + (f" to {most}" if most > least else "")
        parts.append(f"every {_seconds(seconds)}{in_bursts}")
    low = min(one.low_hz for one in each.occurrences)
    high = max(one.high_hz for one in each.occurrences)
    size, unit = (1000, "kHz") if high >= 1000 else (1, "Hz")
    digits = 1 if size > 1 else 0
    parts.append(f"{low / size:.{digits}f} to {high / size:.{digits}f} {unit}")
    return ", ".join(parts)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms"


def _length(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else lasting(3600 * hours)


def repeats_json(
    found: Repeats, rows: int, out: Path, left_out: Mapping[str, int], status: int
) -> dict[str, Any]:
    """What --json prints of repeats; the table has the repeats themselves."""
    classes = [
        {
            "kind": each.kind,
            "class": each.number,
            "occurrences": len(each.occurrences),
            "period_s": each.period.seconds if each.period else None,
            "period_jitter": each.period.jitter_s if each.period else None,
            "period_n": each.period.intervals if each.period else None,
            "low_hz": min(one.low_hz for one in each.occurrences),
            "high_hz": max(one.high_hz for one in each.occurrences),
            "bits": sum(one.bits or 0.0 for one in each.occurrences),
        }
        for each in found.classes
    ]
    files = [heard_facts(each) for each in found.facts]
    counts = {
        "rows": rows,
        "classes": classes,
        "left_out_hours": found.left_out_hours,
        "joined": found.joined,
    }
    return _json("repeats", found.facts, out, left_out, status, counts, files)
