"""The tables of benchmarks.neighbours: what is judged, how often it is right, for how many bits."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from benchmarks.label_sets import JUDGED, Found, LabelSet
from benchmarks.report import machine, table
from ulmo.config import UserError

Row = dict[str, Any]
HISTOGRAMS, SEQUENCES, SCORES = "histograms", "sequences", "substitutions"
KINDS = {HISTOGRAMS: "histograms", SEQUENCES: "edit distance", SCORES: "substitution scores"}
BUDGETS = (50, 100, 200, 300, 450, 700, 900)  # bits a second


def as_tables(rows: Sequence[Row], found: Found) -> str:
    """All tables in Markdown. UserError for no rows, and for rows of other sets."""
    if not rows:
        raise UserError("OUT/neighbours has no rows to show")
    if any(row["sets"].keys() != {*found.shares, *found.counts} for row in rows):
        raise UserError("the rows were judged on other sets: remove OUT/neighbours")
    return "\n\n".join(
        [
            machine("ulmo", "scikit-learn", "librosa"),
            f"**What is judged.** Chance in %, of all items and by label.\n\n{_sets(rows, found)}",
            _left_out(found),
            *(_right(rows, found, kind) for kind in KINDS if _has(rows, found, kind)),
            *_counts(rows, found),
            "**Bits a second needed for equal accuracy**: the fewest with which a row, or a "
            f"coarser variant of it, is right as often as {rows[0]['title']} with all of its "
            "codes, by the better of histograms and edit distance.\n\n" + _equal(rows, found),
            "**Accuracy in % at a limit of bits a second**: the best variant of each row that "
            "stays within the limit, mean over all sets.\n\n" + _budgets(rows, found),
        ]
    )


def first(row: Row) -> str:
    """The variant with all codes and columns."""
    return next(iter(row["bits"]))


def right(row: Row, name: str, variant: str) -> float:
    """The better share of a set by histograms and by edit distance."""
    of = row["sets"][name][variant]
    return max(of[HISTOGRAMS]["accuracy"], of[SEQUENCES]["accuracy"])


def fewest_bits(row: Row, name: str, asked: float) -> float | None:
    """The fewest bits a second with which a set is right in a share of `asked`; None: never."""
    enough = [bits for one, bits in row["bits"].items() if right(row, name, one) >= asked]
    return min(enough, default=None)


def best_within(row: Row, names: Sequence[str], budget: float) -> float | None:
    """The best mean share over sets of a variant with at most `budget` bits a second."""
    variants = [one for one, bits in row["bits"].items() if bits <= budget]
    return max((fmean(right(row, name, one) for name in names) for one in variants), default=None)


def _left_out(found: Found) -> str:
    """One sentence for each reason."""
    names: dict[str, list[str]] = {}
    for name, why in found.left_out.items():
        names.setdefault(why, []).append(name)
    return " ".join(f"Left out, {why}: {', '.join(of)}." for why, of in names.items())


def _sets(rows: Sequence[Row], found: Found) -> str:
    lines = []
    for name, items in {**found.shares, **found.counts}.items():
        judged = rows[0]["sets"][name][first(rows[0])][SEQUENCES]
        chance = f"{100 * judged['chance']:.1f}, {100 * judged['macro_chance']:.1f}"
        numbers = (judged["items"], len(items.items), judged["labels"])
        lines.append([items.title, *map(str, numbers), f"another {items.by}", chance])
    return table(["sounds", "judged", "of items", "labels", "neighbour", "chance"], lines)


def _has(rows: Sequence[Row], found: Found, kind: str) -> bool:
    return any(row["sets"][name][first(row)][kind] for row in rows for name in found.shares)


def _right(rows: Sequence[Row], found: Found, kind: str) -> str:
    """Shares by one kind of neighbour, and their means."""

    def cell(row: Row, names: Sequence[str]) -> str:
        of = [row["sets"][name][first(row)][kind] for name in names]
        if not all(of):
            return "-"
        means = [fmean(one[key] for one in of) for key in ("accuracy", "macro")]
        return ", ".join(f"{100 * mean:.1f}" for mean in means)

    text = _by_row(rows, found.shares, cell)
    return f"**Right by {KINDS[kind]}, in %**: of all items, and by label.\n\n{text}"


def _counts(rows: Sequence[Row], found: Found) -> list[str]:
    """Numbers of right items of sets that are too small for shares."""
    if not found.counts:
        return []

    def cell(row: Row, names: Sequence[str]) -> str:
        of = [row["sets"][names[0]][first(row)][kind] for kind in (HISTOGRAMS, SEQUENCES)]
        return ", ".join(f"{one['accuracy'] * one['items']:.3g}" for one in of)

    lines = [[of.title, *(cell(row, [name]) for row in rows)] for name, of in found.counts.items()]
    sizes = [rows[0]["sets"][name][first(rows[0])][SEQUENCES]["items"] for name in found.counts]
    lines = [[f"{line[0]}, of {size}", *line[1:]] for line, size in zip(lines, sizes, strict=True)]
    text = table(["sounds", *(row["title"] for row in rows)], lines)
    return [f"**Fewer than {JUDGED} items**: right by histograms, by edit distance.\n\n{text}"]


def _by_row(
    rows: Sequence[Row], sets: dict[str, LabelSet], cell: Callable[[Row, Sequence[str]], str]
) -> str:
    lines = [[items.title, *(cell(row, [name]) for row in rows)] for name, items in sets.items()]
    lines.append(["mean", *(cell(row, list(sets)) for row in rows)])
    return table(["sounds", *(row["title"] for row in rows)], lines)


def _equal(rows: Sequence[Row], found: Found) -> str:
    lines = []
    for name, items in found.shares.items():
        asked = right(rows[0], name, first(rows[0]))
        needed = [fewest_bits(row, name, asked) for row in rows]
        shown = ["-" if bits is None else f"{bits:.0f}" for bits in needed]
        lines.append([f"{items.title}, {100 * asked:.1f} %", *shown])
    return table(["sounds, right", *(row["title"] for row in rows)], lines)


def _budgets(rows: Sequence[Row], found: Found) -> str:
    lines = []
    for budget in BUDGETS:
        best = [best_within(row, list(found.shares), budget) for row in rows]
        shown = ["-" if share is None else f"{100 * share:.1f}" for share in best]
        lines.append([str(budget), *shown])
    return table(["limit, bits a second", *(row["title"] for row in rows)], lines)
