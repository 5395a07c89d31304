"""Which parts of an earlier table stay: what that takes for many recordings."""

import tracemalloc
from types import SimpleNamespace

from ulmo.pipelines.tokenize import parts


def test_many_unread_recordings_of_one_name_take_little_memory(tmp_path, monkeypatch):
    """Each of them may be any of an earlier file's: no list of all is held for each."""
    count = 2000
    sources = [tmp_path / f"{number}" / "audio.wav" for number in range(count)]
    outcome = SimpleNamespace(reason="unreadable", status="refused")
    results = [SimpleNamespace(source=source, outcome=outcome) for source in sources]
    names = [f"{number}/audio.wav" for number in range(count)]
    monkeypatch.setattr(parts, "whole_at", lambda _: SimpleNamespace(headers=[None]))
    monkeypatch.setattr(parts, "_names", lambda _: names)
    outputs = SimpleNamespace(files=[tmp_path / "all.npy"])
    tracemalloc.start()
    try:
        line = parts.stays(outputs, SimpleNamespace(joined=[], results=results))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert f"and {count - 1} more, which cannot be read now" in line
    assert peak < 8 << 20
