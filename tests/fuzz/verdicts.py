"""The verdicts on all malformed files of others, and on SciPy's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.seeds import MALFORMED, SCIPY
from ulmo.preprocessing.reading.audio import RefusedError, open_recording


def files() -> Iterator[tuple[str, Path]]:
    """Every file, with the name that the tables have for it."""
    for label, folder in (("", MALFORMED), ("scipy/", SCIPY)):
        for path in sorted(folder.rglob("*.wav")):
            name = label + path.relative_to(folder).as_posix()
            yield name.replace("test_fixtures_wave_", ""), path


def verdict_of(name: str, path: Path) -> dict[str, Any]:
    """The facts of a recording, or of its refusal, and its name."""
    try:
        with open_recording(path) as recording:
            assert all(np.isfinite(block).all() for block in recording.blocks())
        return {"file": name, **recording.facts()}
    except RefusedError as refusal:
        return {"file": name, **refusal.facts()}
