"""What `ulmo export-hub` prints."""

from typing import Any

from ulmo.pipelines.export_hub.export_hub import UNKNOWN, Exported
from ulmo.reports.progress import counted
from ulmo.storage.names import path_text


def export_lines(exported: Exported) -> str:
    """What was written, and how to share it."""
    size = sum(exported.files.values()) / 1e6
    folder = path_text(exported.folder)
    lines = [f"{folder}: {counted(len(exported.files), 'file')}, {size:.1f} MB"]
    if exported.license == UNKNOWN:
        lines.append("licence     unknown: name one in README.md before you share it")
    lines.append(f"to share it: hf upload OWNER/NAME {folder}")
    return "\n".join(lines)


def export_json(exported: Exported) -> dict[str, Any]:
    """What --json prints."""
    head = {"schema_version": 1, "command": "export-hub", "exit_status": 0}
    return {**head, **exported._asdict()}
