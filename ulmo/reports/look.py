"""What `ulmo look` prints."""

from typing import Any

from ulmo.jobs.outcome import count_flags
from ulmo.pipelines.look.look import Looked
from ulmo.reports.events import heard_facts
from ulmo.reports.progress import counted
from ulmo.reports.sound import flag_lines
from ulmo.storage.names import path_text


def look_lines(looked: Looked) -> str:
    """What is on the page, and how to open it."""
    classes = f"{looked.classes} class{'' if looked.classes == 1 else 'es'} of repeats"
    return "\n".join(
        [
            f"{looked.seconds:.2f} s: {counted(looked.regions, 'region')}, {classes}, "
            f"{counted(looked.codes, 'code')} in use",
            *flag_lines(count_flags([looked.facts]), time_expansion=looked.time_expansion),
            f"page        {path_text(looked.page)} ({looked.bytes / 1e6:.1f} MB): open it with a "
            "browser",
        ]
    )


def look_json(looked: Looked) -> dict[str, Any]:
    """What --json prints."""
    counts = {"regions": looked.regions, "classes": looked.classes, "codes": looked.codes}
    page = {"out": looked.page, "bytes": looked.bytes, "seconds": looked.seconds}
    return {
        **{"schema_version": 1, "command": "look", "exit_status": 0},
        **page,
        **counts,
        "file": heard_facts(looked.facts),
    }
