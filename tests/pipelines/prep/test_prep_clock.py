import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from tests.pipelines.recordings import (
    RATE,
    TINY,
    by_path,
    contents,
    noise,
    rows_of,
    write,
)
from ulmo.config import AugmentSettings, ClockSettings, UserError
from ulmo.jobs.inputs import list_inputs
from ulmo.pipelines.prep.job import plan_jobs
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.store import TilesManifest

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


def test_another_clock_is_another_output(dated, tmp_path):
    out = tmp_path / "out"
    prepare(dated, out, TINY, clock=EAST)
    before = contents(out)
    with pytest.raises(UserError, match=r"other settings \(timezone there '\+02:00', here 'UTC'\)"):
        prepare(dated, out, TINY)
    assert contents(out) == before
    assert prepare(dated, out, TINY, clock=EAST).reused
    prepare(dated, tmp_path / "utc", TINY)
    fingerprints = {
        json.loads((folder / "prep.json").read_text())["fingerprint"]
        for folder in (out, tmp_path / "utc")
    }
    assert len(fingerprints) == 2


def test_a_jobs_key_tells_the_clock(audio, tmp_path):
    files = list_inputs(audio, tmp_path)
    keys = {
        plan_jobs(audio, tmp_path, TilesManifest(settings=TINY, clock=clock, plan="p"), files)[
            0
        ].key
        for clock in (ClockSettings(), EAST, ClockSettings(timestamp_pattern="%Y%j"))
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("given", "words"),
    [({"timestamp_pattern": "%H%M"}, "has no date"), ({"timezone": "Mars"}, "'Mars' is not known")],
)
def test_a_clock_that_cannot_work_is_refused_before_anything_is_read(tmp_path, given, words):
    with pytest.raises(UserError, match=words):
        prepare(tmp_path / "none", tmp_path / "out", TINY, clock=ClockSettings(**given))
    assert not (tmp_path / "out").exists()
