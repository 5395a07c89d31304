"""What `ulmo verify` shows: a few lines for people, or JSON for programs."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from ulmo.config import printable
from ulmo.pipelines.verify.verify import Verified
from ulmo.reports.progress import Progress, counted
from ulmo.storage.names import path_text

SHOWN_FAULTS = 20
WORDS = {"left_over": "left over"}


class VerifyProgress(Progress):
    """A bar over the bytes of recordings."""

    def begin(self, total: int) -> Callable[[int, int], None]:
        """Show the bar, unless the job ends within a second. Returns a function that moves it."""
        self.open(total, desc="verifying", unit="B", unit_scale=True, delay=1)
        return lambda size, _: self.bar.update(size)


def verified_lines(found: Verified) -> str:
    """What was checked, what was repaired, what is wrong, and what to do about it."""
    counts = ", ".join(_counted(count, name) for name, count in found.counts.items())
    lines = [f"{path_text(found.place)}: {found.kind}{': ' if counts else ''}{counts}"]
    lines += [f"  repaired    {printable(done)}" for done in found.mended]
    for fault in found.faults[:SHOWN_FAULTS]:
        word = WORDS.get(fault.what, fault.what)
        lines.append(f"  {word:<11} {printable(fault.path)}: {printable(fault.detail)}")
    if hidden := found.faults[SHOWN_FAULTS:]:
        kinds = Counter(WORDS.get(fault.what, fault.what) for fault in hidden)
        rest = ", ".join(f"{count} {name}" for name, count in kinds.items())
        lines.append(f"  and {len(hidden)} more: {rest}; all of them with --json")
    for remedy in dict.fromkeys(fault.remedy for fault in found.faults):
        lines.append(f"  to do       {printable(remedy)}")
    if not found.faults:
        lines.append("  all is well")
    return "\n".join(lines)


def _counted(count: int, name: str) -> str:
    """A number and what it counts, in the plural: `1 shard`, `2 frames read`, `1 ok`."""
    noun, space, rest = name.partition(" ")
    if noun.endswith("s"):
        return counted(count, noun.removesuffix("s")) + space + rest
    return f"{count:,} {name}"


def verified_json(found: Verified) -> dict[str, Any]:
    """All of it as a JSON object, with every fault."""
    return {
        "schema_version": 1,
        "place": found.place,
        "kind": found.kind,
        "counts": found.counts,
        "faults": found.faults,
        "repaired": found.mended,
    }
