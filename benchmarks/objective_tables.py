"""The tables of objectives: a line per row, with mean and standard deviation over seeds."""

import math
import os
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from benchmarks.objective_rows import ROWS
from benchmarks.report import machine, table
from ulmo.config import UserError

Rows = dict[str, list[dict[str, Any]]]  # by name, one per seed


class Column(NamedTuple):
    """A column: one figure, or the mean of several."""

    title: str
    figures: tuple[str, ...]
    scale: float = 1.0
    digits: int = 1

    def values(self, rows: Sequence[dict[str, Any]]) -> list[float]:
        """Its value for each seed; rows without the figures are skipped."""
        found = [[row["figures"].get(name) for name in self.figures] for row in rows]
        known = [[value for value in values if value is not None] for values in found]
        return [self.scale * fmean(values) for values in known if len(values) == len(self.figures)]


def _percent(title: str, *figures: str) -> Column:
    return Column(title, figures, 100)


STEPS = Column("steps", ("steps",), digits=0)
ABX = [
    _percent("ids, within", "fsdd_tokens_within"),
    _percent("across", "fsdd_tokens_across"),
    _percent("ESC-10", "esc10_tokens_any"),
    _percent("latents, within", "fsdd_latents_within"),
    _percent("across", "fsdd_latents_across"),
    _percent("ESC-10", "esc10_latents_any"),
]


def _probes(learned: str) -> list[Column]:
    return [
        _percent(f"{title}, {what}, {how}", f"{corpus}{learned}_{what}_{classifier}")
        for corpus, title in (("fsdd", "digits"), ("esc10", "ESC-10"))
        for what in ("latents", "tokens")
        for classifier, how in (("linear", "linear"), ("neighbours", "1-NN"))
    ]


PROBES, CORPUS_PROBES = _probes(""), _probes("_all")
TOKENS = [
    _percent("usage", "sound_usage"),
    Column("entropy", ("sound_entropy",), digits=3),
    Column("dB², all", ("reconstruction_db",)),
    Column("non-silent", ("sound_reconstruction_db",)),
    _percent("kept, rate ±10 %", "kept_rate_up_10", "kept_rate_down_10"),
    _percent("±6 dB", "kept_gain_up_6db", "kept_gain_down_6db"),
    _percent("noise 20 dB", "kept_noise_20db"),
    _percent("10 dB", "kept_noise_10db"),
    Column("variance", ("latent_variance",), digits=3),
    Column("similarity", ("pair_similarity",), digits=3),
]


def as_tables(rows: Rows) -> str:
    """All tables in Markdown. UserError for no rows, and for rows that cannot be compared."""
    every = [row for of_name in rows.values() for row in of_name]
    if not every:
        raise UserError("OUT/rows has no rows to show")
    if len({(row["minutes"], *row["flags"]) for row in every}) > 1:
        raise UserError("the rows differ in minutes or flags: remove some of OUT/rows")
    parts = [
        f"{machine('ulmo', 'tensorflow', 'scikit-learn', 'librosa')} {os.cpu_count()} cores.",
        f"{every[0]['minutes']:g} minutes of training each. Of several seeds: mean ± standard "
        "deviation.",
        f"**Own task on held-out recordings.**\n\n{_own_tasks(rows)}",
        f"**ABX errors in %.**\n\n{_figures(rows, ABX, (3, 3))}",
        f"**Right by a linear probe and by the nearest neighbour, in %** ({_chances(every, '')}), "
        "which learn from held-out recordings of other speakers or sources.\n\n"
        f"{_figures(rows, PROBES, (4, 4))}",
        f"**The same, learned from all other speakers or sources** ({_chances(every, '_all')}), "
        f"judged by all held-out recordings.\n\n{_figures(rows, CORPUS_PROBES, (4, 4))}",
        "**Tokens and latents of sound that is not silent**: codebook and reconstruction on "
        f"held-out tiles, tokens kept in % under change.\n\n{_figures(rows, TOKENS, (4, 4, 2))}",
    ]
    return "\n\n".join([*parts, *_pairs(rows)])


def shown(values: Sequence[float], digits: int) -> str:
    """A mean, with its standard deviation if there are several values; a dash for no values."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "-"
    mean = f"{fmean(finite):.{digits}f}"
    return f"{mean} ± {stdev(finite):.{digits}f}" if len(finite) > 1 else mean


def own_task(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Name, score and chance of each objective; one seed has its standard error over batches."""
    lines = []
    for name in rows[0]["own"]:
        tasks = [row["own"][name] for row in rows]
        scores = [one["mean"] for one in tasks if one["mean"] is not None]
        text = shown(scores, 3)
        error = tasks[0]["error"]
        if len(scores) == 1 and error is not None:
            text += f" ± {error:.3f}"
        chance = shown([one["chance"] for one in tasks if one["chance"] is not None][:1], 3)
        lines.append([name, text, chance])
    return lines or [["-", "-", "-"]]


def _own_tasks(rows: Rows) -> str:
    lines = [
        [_title(name, of), *task, *_cells(of, [STEPS])]
        for name, of in rows.items()
        for task in own_task(of)
    ]
    return table(["learned from", "task", "score", "chance", STEPS.title], lines)


def _figures(rows: Rows, columns: Sequence[Column], parts: Sequence[int]) -> str:
    header = ["learned from", *(column.title for column in columns)]
    lines = [[_title(name, of), *_cells(of, columns)] for name, of in rows.items()]
    return table(header, lines, parts=parts)


def _title(name: str, rows: Sequence[dict[str, Any]]) -> str:
    return ROWS[name].title + (f", {len(rows)} seeds" if len(rows) > 1 else "")


def _cells(rows: Sequence[dict[str, Any]], columns: Sequence[Column]) -> list[str]:
    return [shown(column.values(rows), column.digits) for column in columns]


def _chances(rows: Sequence[dict[str, Any]], learned: str) -> str:
    """Chance levels of both corpora; `learned` as in `_probes`."""
    fsdd, esc10 = (_chance(rows, f"{corpus}{learned}") for corpus in ("fsdd", "esc10"))
    return f"chance {fsdd} of digits, {esc10} of ESC-10"


def _chance(rows: Sequence[dict[str, Any]], corpus: str) -> str:
    name = f"{corpus}_latents_linear_chance"
    return shown([100 * row["figures"][name] for row in rows if name in row["figures"]][:1], 1)


def _pairs(rows: Rows) -> list[str]:
    """Shares of right choices by pairs of front ends: a table per row that has them, X by rows."""
    tables = []
    for name, of in rows.items():
        shares = [row["own"].get("abx_choice", {}).get("pairs", {}) for row in of]
        ends = (end for pairs in shares for pair in pairs for end in pair.split())
        names = list(dict.fromkeys(ends))
        lines = [
            [
                first,
                *(
                    shown([100 * pairs[key] for pairs in shares if pairs.get(key) is not None], 1)
                    for key in (f"{first} {second}" for second in names)
                ),
            ]
            for first in names
        ]
        title = f"**{ROWS[name].title}: the right one of two moments chosen, in %, X by rows.**"
        tables += [f"{title}\n\n{table(['X', *names], lines)}"] if names else []
    return tables
