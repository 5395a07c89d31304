"""ulmo regions: the known events of data_samples, refusals, formats, classes."""

import csv
import json
import os
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import ulmo
from tests.commands import assert_refused, run
from tests.conftest import SAMPLES
from ulmo.cli import exits
from ulmo.cli.main import ulmo as command
from ulmo.config import UserError
from ulmo.formats.event_files import publish_events
from ulmo.formats.events import EVENT_FORMATS, REPEAT_COLUMNS, Events, Place
from ulmo.listening.classes import Classes
from ulmo.pipelines.regions.regions import COLUMNS
from ulmo.tokenizer import load_tokenizer

COLUMN_S = 0.04
HEARD = ("click_train", "harmonic_calls", "noise_bursts", "speech/vowels", "whistles")
# The default tokenizer hears up to 8 kHz: this whistle falls from 9.5 kHz, and is heard late.
LATE = {("whistles.wav", 4.9)}


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(threads=1)


@pytest.fixture(scope="module")
def samples(tokenizer):
    return ulmo.regions(SAMPLES, tokenizer=tokenizer)


def events():
    with (SAMPLES / "events.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["label"] != "dropout"]


@pytest.mark.parametrize("name", HEARD)
def test_every_known_event_is_one_region_and_every_region_an_event(name, samples):
    known = [row for row in events() if row["file"] == f"{name}.wav"]
    found = [row for row in samples if row["recording"] == f"{name}.wav"]
    assert len(found) == len(known) > 4
    for event, region in zip(known, found, strict=True):
        start, end = float(event["start_s"]), float(event["end_s"])
        if (event["file"], start) not in LATE:
            assert region["start_s"] == pytest.approx(start, abs=1.5 * COLUMN_S)
        assert region["end_s"] == pytest.approx(end, abs=2.5 * COLUMN_S)
        assert region["low_hz"] < float(event["high_hz"])
        assert region["high_hz"] > float(event["low_hz"])
        assert region["snr_db"] > 30


def test_background_has_no_regions(samples):
    assert {row["recording"] for row in samples} == {f"{name}.wav" for name in HEARD}


def test_calls_above_the_tokenizer_are_heard_with_time_expansion(tokenizer):
    slow = tokenizer.with_sound(time_expansion=6)
    found = ulmo.regions(SAMPLES / "ultrasound" / "bat_pass.wav", tokenizer=slow)
    assert len(found) > 20
    assert found[0]["start_s"] == pytest.approx(0.1, abs=0.02)
    assert all(20_000 < row["high_hz"] <= 48_000 for row in found)


def test_levels_are_those_of_the_sound(tokenizer, tmp_path):
    rate = 16_000
    time = np.arange(4 * rate) / rate
    tone = 0.1 * np.sin(2 * np.pi * 1500 * time) * ((time > 2) & (time < 2.5))
    noise = np.random.default_rng(0).normal(0, 1e-4, len(time))
    soundfile.write(tmp_path / "x.wav", tone + noise, rate, "FLOAT")
    (region,) = ulmo.regions(tmp_path / "x.wav", tokenizer=tokenizer)
    assert region["peak_dbfs"] == pytest.approx(-20, abs=1.0)
    assert (region["low_hz"] < 1500 < region["high_hz"], region["channel"]) == (True, None)
    assert region["unk_share"] is None  # this tokenizer writes no <unk>
    assert list(region) == [column.name for column in COLUMNS]


def regions(*arguments):
    return run(command, "regions", *arguments, "--workers", 1)


@pytest.mark.parametrize("name", EVENT_FORMATS)
def test_the_table_in_every_format(name, tmp_path):
    out = tmp_path / f"table{EVENT_FORMATS[name].ending}"
    done = regions(SAMPLES / "click_train.wav", SAMPLES / "harmonic_calls.wav", "--out", out)
    assert done.exit_code == 0, done.output
    assert "regions     29, 5 s in all, in 2 recordings\n" in done.stdout
    assert done.stdout.endswith(f"output      {out}\n")
    if name == "parquet":
        assert pq.read_table(out).num_rows == 29
        return
    lines = out.read_text().splitlines()
    assert len(lines) == {"csv": 30, "raven": 30, "audacity": 58}[name]
    if name == "raven":  # the second file begins where the first ends
        last = dict(zip(lines[0].split("\t"), lines[-1].split("\t"), strict=True))
        assert float(last["Begin Time (s)"]) == pytest.approx(10 + 7.0)
        assert float(last["File Offset (s)"]) == pytest.approx(7.0)
        assert last["Begin Path"] == str(SAMPLES / "harmonic_calls.wav")
        assert last["Begin File"] == "harmonic_calls.wav"


def test_bad_recordings_are_refused_and_the_others_go_on(troubled, tmp_path):
    out = tmp_path / "x.csv"
    done = regions(troubled, "--out", out)
    assert done.exit_code == exits.SOME_REFUSED, done.output
    assert "empty.wav: refused: empty_file (the file has no bytes)\n" in done.stderr
    assert "text.wav: refused: not_audio" in done.stderr
    assert "recordings  7 (3 ok, 1 partial, 2 refused, 1 repaired)" in done.stdout
    found = {line.partition(",")[0] for line in out.read_text().splitlines()[1:]}
    assert found == {"a/same.wav", "b/same.wav", "cut.wav"}
    told = json.loads(regions(troubled, "--out", out, "--json").stdout)
    assert (told["command"], told["exit_status"]) == ("regions", exits.SOME_REFUSED)
    assert told["statuses"] == {"ok": 3, "partial": 1, "refused": 2, "repaired": 1}
    assert (told["recordings"], told["out"], told["flags"]["silent"]) == (7, str(out), 2)
    found = {each["path"]: each["regions"] for each in told["files"]}
    assert (found["a/same.wav"], told["regions"]) == (5, sum(found.values()))
    quiet = regions(troubled, "--out", out, "--quiet")
    assert (quiet.stdout, len(quiet.stderr.splitlines())) == ("", 2)


def test_workers_change_no_byte(troubled, tmp_path):
    contents = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.csv"
        run(command, "regions", troubled, "--out", out, "--workers", workers)
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]


def test_stored_tokens_give_the_same_rows(tmp_path):
    field = tmp_path / "field"
    field.mkdir()
    shutil.copy(SAMPLES / "whistles.wav", field)
    made = run(
        *(command, "tokenize", field, "--out-dir", tmp_path / "tokens", "--unk-quantile", "0.99")
    )
    assert made.exit_code == 0, made.output
    contents = []
    for more in ((), ("--tokens", tmp_path / "tokens")):
        assert regions(field, "--out", tmp_path / "x.csv", *more).exit_code == 0
        contents.append((tmp_path / "x.csv").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].count(b"\n") == 7
    (field / "whistles.wav").write_bytes((SAMPLES / "click_train.wav").read_bytes())
    done = regions(field, "--out", tmp_path / "x.csv", "--tokens", tmp_path / "tokens")
    assert done.exit_code == exits.SOME_REFUSED
    assert done.stderr == (
        "whistles.wav: refused: changed (it is not as it was when it was tokenized: "
        "tokenize it again)\n"
    )


@pytest.mark.parametrize("name", EVENT_FORMATS)
def test_names_of_all_kinds_stand_in_every_format(name, tmp_path):
    field = tmp_path / "field"
    field.mkdir()
    for odd in (b"caf\xe9.wav", b"=1+1.wav", b"a\nb.wav", b'a "b", c.wav'):
        shutil.copy(SAMPLES / "whistles.wav", field / os.fsdecode(odd))
    out = tmp_path / f"x{EVENT_FORMATS[name].ending}"
    assert regions(field, "--out", out).exit_code == 0
    if name == "parquet":
        rows = pq.read_table(out)["recording"].to_pylist()
        assert {*rows} == {r"caf\xe9.wav", "=1+1.wav", r"a\x0ab.wav", 'a "b", c.wav'}
        return
    text = out.read_text("utf-8")
    if name == "csv":
        rows = [row["recording"] for row in csv.DictReader(text.splitlines())]
        assert {*rows} == {r"caf\xe9.wav", "'=1+1.wav", r"a\x0ab.wav", 'a "b", c.wav'}
    else:
        assert r"caf\xe9.wav" in text
        assert "\t=1" not in text
        assert len(text.splitlines()) == {"raven": 25, "audacity": 48}[name]


def test_wrong_usage_is_one_line(tmp_path):
    sample = SAMPLES / "whistles.wav"
    (tmp_path / "mine.csv").write_text("my,own,table\n")
    assert_refused(regions(sample, "--out", tmp_path / "mine.csv"), "no such table of ulmo's")
    assert_refused(regions(sample, "--out", tmp_path / "x.png"), "end it with one of .csv")
    assert_refused(regions(tmp_path / "none", "--out", tmp_path / "x.csv"), "neither a file")
    assert_refused(regions(sample, "--out", tmp_path / "x.csv", "--channels", "all"), "channels")
    assert_refused(
        regions(sample, "--out", tmp_path / "x.csv", "--repeats", tmp_path / "mine.csv"),
        "has no column 'recording'",
    )
    assert not (tmp_path / "x.csv").exists()
    assert (tmp_path / "mine.csv").read_text() == "my,own,table\n"


def repeat(recording, start, end, number, channel=None):
    values = {"recording": recording, "channel": channel, "start_s": start, "end_s": end}
    return {**values, "class": number}


def test_a_region_has_the_class_that_covers_most_of_it():
    rows = [
        repeat("x.wav", 1.0, 1.4, 3),
        repeat("x.wav", 1.4, 1.5, 4),
        repeat("x.wav", 1.5, 1.6, 4),
        repeat("x.wav", 9.0, 9.5, 5, channel=1),
        repeat("x.wav", 7.0, 7.5, None),
    ]
    classes = Classes.of(Events((), rows))
    assert classes.at("x.wav", None, 1.0, 1.6) == 3
    assert classes.at("x.wav", None, 1.35, 1.6) == 4
    assert classes.at("x.wav", None, 1.6, 2.0) is None
    assert classes.at("x.wav", None, 9.0, 9.5) is None
    assert classes.at("x.wav", 1, 9.4, 99.0) == 5
    assert classes.at("x.wav", None, 7.0, 7.5) is None
    assert classes.at("y.wav", None, 1.0, 1.6) is None
    assert Classes.of(None).at("x.wav", None, 1.0, 1.6) is None


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_classes_are_read_from_a_table(name, tmp_path):
    out = tmp_path / f"x{EVENT_FORMATS[name].ending}"
    sample = SAMPLES / "harmonic_calls.wav"
    row = dict.fromkeys(column.name for column in REPEAT_COLUMNS)
    row |= {"recording": "a.wav", "kind": "sound", "start_s": 1.0, "end_s": 2.0}
    with publish_events(out, name, REPEAT_COLUMNS) as table:
        for number in (None, 7):
            table.add(row | {"class": number}, Place("a.wav", 1.0))
    classes = Classes.of(out)
    assert classes.at("a.wav", None, 0.0, 8.0) == 7
    assert classes.at("a.wav", None, 2.5, 8.0) is None
    (tmp_path / "x.csv").write_text(
        f"recording,channel,class,start_s,end_s\n{SAMPLES / 'harmonic_calls.wav'},,7,1.7,2.3\n"
    )
    classed = ulmo.regions(sample, repeats=tmp_path / "x.csv")
    assert [row["class"] for row in classed] == [None, 7, None, None, None, None]


def test_a_damaged_table_of_classes_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("recording,channel,class,start_s,end_s\nx.wav,,many,1,2\n")
    with pytest.raises(UserError, match="line 2 is no repeat"):
        Classes.of(path)
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="cannot be read: is it a table of ulmo repeats"):
        Classes.of(path)
