import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from tests.pipelines.recordings import (
    RATE,
    TINY,
    by_path,
    noise,
    rows_of,
    write,
)
from ulmo.config import AugmentSettings, ClockSettings
from ulmo.pipelines.prep.prep import prepare

EAST = ClockSettings(timezone="+02:00")


@pytest.fixture
def dated(audio):
    """Recordings of which some names tell a time, and one that is refused."""
    write(audio / "site" / "SITE_20230101_120000.wav", noise(5000, 1))
    write(audio / "20230101T120000.5Z.wav", noise(2500, 2))
    write(audio / "R230101.wav", noise(2500, 3))
    (audio / "20230101_130000.wav").write_bytes(b"")
    return audio


def utc(*parts):
    return datetime(2023, 1, 1, *parts, tzinfo=UTC)


def test_a_start_for_each_recording_and_each_tile(dated, tmp_path):
    out = tmp_path / "out"
    prepare(dated, out, TINY, clock=EAST)
    starts = {
        path: (row["start_utc"], row["start_source"])
        for path, row in by_path(out).items()
        if row["start_utc"] or row["start_source"]
    }
    assert starts == {
        "20230101T120000.5Z.wav": (utc(12, 0, 0, 500000), "name"),
        "20230101_130000.wav": (utc(11), "name"),
        "site/SITE_20230101_120000.wav": (utc(10), "name"),
    }
    tiles = rows_of(out, "tiles")
    assert sum(row["recording"] == "site/SITE_20230101_120000.wav" for row in tiles) == 3
    for row in tiles:
        start, _ = starts.get(row["recording"], (None, None))
        later = timedelta(microseconds=round(Fraction(row["start_sample"], RATE) * 10**6))
        assert row["start_utc"] == (None if start is None else start + later)


def test_a_view_begins_when_it_begins(audio, tmp_path):
    write(audio / "20230101_120000.wav", noise(9000, 1))
    settings = TINY.model_copy(update={"hop_length": 16})
    prepare(audio, tmp_path / "out", settings, augment=AugmentSettings(views=3))
    rows = [r for r in rows_of(tmp_path / "out", "tiles") if r["recording"][0] == "2"]
    assert {row["view"] for row in rows} == {0, 1, 2}
    assert max(row["start_s"] for row in rows) > 1
    for row in rows:
        assert row["start_utc"] == utc(12) + timedelta(seconds=row["start_s"])


def test_a_pattern(dated, tmp_path):
    clock = ClockSettings(timestamp_pattern="R%y%m%d", timezone="Europe/Berlin")
    prepare(dated, tmp_path / "out", TINY, clock=clock)
    row = by_path(tmp_path / "out")["R230101.wav"]
    assert row["start_utc"] == utc(0) - timedelta(hours=1)
    assert row["start_source"] == "pattern"
    manifest = json.loads((tmp_path / "out" / "prep.json").read_text())
    assert manifest["clock"] == {"timestamp_pattern": "R%y%m%d", "timezone": "Europe/Berlin"}
