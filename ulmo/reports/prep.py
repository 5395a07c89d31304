"""What `ulmo prep` and `ulmo show` print."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from ulmo.config import printable
from ulmo.pipelines.prep.prep import PrepSummary
from ulmo.reports.progress import (
    Progress,
    counted,
    left_out_lines,
    named_lines,
    unread_line,
    untimed_line,
)
from ulmo.reports.sound import flag_lines
from ulmo.storage.names import path_text
from ulmo.storage.remote_path import RemotePath

if TYPE_CHECKING:
    from ulmo.pipelines.show.show import Shown  # brings Matplotlib


class PrepProgress(Progress):
    """A bar over the bytes of input."""

    def begin(self, total: int) -> Callable[[int], None]:
        """Show the bar. Returns a function that moves it by a number of bytes."""
        self.open(total, desc="preparing", unit="B", unit_scale=True)
        advance: Callable[[int], None] = self.bar.update
        return advance


def prep_summary(summary: PrepSummary, time_expansion: float = 1.0) -> str:
    """A few lines: what was prepared, what was refused and why, and what to do next."""
    lines, out_dir = [], path_text(summary.out_dir)
    if summary.reused:
        lines.append("Everything was prepared already; nothing was done.")
    counts = ", ".join(f"{count} {status}" for status, count in sorted(summary.statuses.items()))
    lines.append(f"recordings  {summary.recordings} ({counts}), {summary.hours:.2f} hours")
    lines.append(f"tiles       {summary.tiles}")
    lines += named_lines("refused", summary.refused) + named_lines("partial", summary.partial)
    lines += flag_lines(summary.flags, time_expansion=time_expansion)
    if summary.rewritten:
        lines.append(
            f"modified    {counted(len(summary.rewritten), 'recording')} since then (such as "
            f"{printable(summary.rewritten[0])}): if their sound changed, run again with "
            "--accept-changes"
        )
    lines += left_out_lines(summary.left_out)
    lines += [untimed_line(summary.untimed, summary.recordings)] if summary.untimed else []
    lines += [unread_line(summary.unread, summary.recordings)] if summary.unread else []
    lines.append(f"output      {out_dir}")
    if summary.tiles and not isinstance(summary.out_dir, RemotePath):  # which train does not take
        lines.append(f"next        ulmo-train {out_dir} RUN_DIR")
    return "\n".join(lines)


def shown_lines(shown: "Shown") -> str:
    """What was drawn, and what the settings leave out."""
    lines = [
        f"{shown.seconds:.2f} s, up to {shown.bandwidth_hz:g} Hz -> {path_text(shown.picture)}"
    ]
    if shown.bandwidth_hz < shown.sample_rate / 2:
        needed = math.ceil(shown.sample_rate / shown.time_expansion)
        lines.append(
            f"its sample rate is {shown.sample_rate} Hz: --sample-rate {needed} shows all of it"
        )
    if shown.stretches > 1:
        gaps = "a gap" if shown.stretches == 2 else f"{shown.stretches - 1} gaps"
        lines.append(f"it has {gaps} in time, drawn as silence")
    return "\n".join([*lines, *flag_lines(shown.flags, time_expansion=shown.time_expansion)])
