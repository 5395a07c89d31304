"""The page of ulmo look as a file: what it holds, that nothing in it is run but its own script."""

import base64
import csv
import re
from hashlib import sha256
from importlib.resources import files
from itertools import pairwise

import cv2
import numpy as np
import pytest
import soundfile

import ulmo
from tests.commands import assert_refused, run
from tests.gaps import write_triggered
from tests.pipelines.look.conftest import CALLS, Parts
from ulmo.bundle.token_model import DEFAULT_LM
from ulmo.cli import exits
from ulmo.cli.main import ulmo as command
from ulmo.pipelines.look.html import BEGIN, SCRIPTS, make_page
from ulmo.pipelines.look.payload import SCHEMA_VERSION

EVIL = "</script><img src=x onerror=alert(1)><!--.wav"


@pytest.fixture(scope="module")
def payload(calls_page):
    return Parts(calls_page.read_bytes()).payload


def ids_of(payload):
    tokens = payload["tokens"]
    ids = np.frombuffer(base64.b64decode(tokens["ids"]), "<u4")
    return ids.reshape(tokens["columns"], tokens["bands"])


def test_the_payload_has_the_tokens_of_the_recording(payload, tokenizer):
    tokens = tokenizer.encode(CALLS)
    np.testing.assert_array_equal(ids_of(payload), tokens.ids)
    assert payload["schema"] == SCHEMA_VERSION
    assert payload["tokens"]["segments"] == [[0, 0.0]]
    assert payload["tokens"]["column_s"] == tokens.hop / tokens.sample_rate
    assert payload["tokens"]["edges_hz"] == pytest.approx(tokens.edges_hz, abs=1e-3)
    assert payload["recording"]["seconds"] == pytest.approx(8.0)


def numbers_of(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_surprise_is_what_the_token_model_scores(payload, tokenizer):
    scores = ulmo.load_token_model().score(tokenizer.encode(CALLS))
    found = payload["surprise"]
    np.testing.assert_array_equal(numbers_of(found["bits"]), scores.column_bits.astype("<f4"))
    np.testing.assert_array_equal(numbers_of(found["gain"]), scores.gain.astype("<f4"))
    assert 64 <= found["peaks"][0]["column"] < found["peaks"][-1]["column"] < 196
    for peak in found["peaks"]:
        assert peak["above"] == pytest.approx(scores.surprise[peak["column"]], abs=0.051)


def test_surprise_is_that_of_lm_score_where_time_was_left_out(write_page, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.2, 48_000).clip(-0.9, 0.9)
    recording, table = tmp_path / "20230501_120000T.WAV", tmp_path / "x.csv"
    write_triggered(recording, noise, 200, noise, rate=16000)
    assert run(command, "lm", "score", recording, "--out", table).exit_code == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = write_page(recording, tmp_path / "gap.html", impulses=False).page
    found = Parts(page.read_bytes()).payload["surprise"]
    for name in ("bits", "gain"):
        expected = [float(row[name]) for row in rows]
        np.testing.assert_allclose(numbers_of(found[name]), expected, atol=1e-4)
    assert len(rows) < int(rows[-1]["column"])


def test_surprise_can_be_left_out(tmp_path):
    page = tmp_path / "x.html"
    assert run(command, "look", CALLS, "--no-surprise", "--out", page).exit_code == 0
    found = Parts(page.read_bytes()).payload
    assert found["surprise"] is None
    assert not any("surprise" in each["text"] for each in found["recording"]["lines"])


def test_each_code_in_use_is_listed_with_its_count_and_real_places(payload):
    ids = ids_of(payload)
    codes, counts = np.unique(ids, return_counts=True)
    assert {each["id"]: each["count"] for each in payload["codes"]} == dict(
        zip(codes.tolist(), counts.tolist(), strict=True)
    )
    for each in payload["codes"]:
        assert sum(each["bands"]) == each["count"]
        assert 1 <= len(each["places"]) <= 3
        assert all(ids[column, band] == each["id"] for column, band in each["places"])
        columns = [column for column, _ in each["places"]]
        used = np.flatnonzero((ids == each["id"]).any(axis=1))
        span = used[-1] - used[0]
        apart = max(5, span / 6)
        assert all(other - one >= apart for one, other in pairwise(columns))
        if len(columns) < 3:  # no place is as far from all of them
            assert all(min(abs(column - used_at) for column in columns) < apart for used_at in used)
        assert each["id"] not in each["nearest"]
        assert re.fullmatch("#[0-9a-f]{6}", each["colour"])


def test_what_follows_a_code_is_counted_in_its_band(payload):
    ids = ids_of(payload)
    code = max(payload["codes"], key=lambda each: each["count"])
    pairs = [
        (first, second)
        for band in ids.T.tolist()
        for first, second in pairwise(band)
        if first == code["id"] != second
    ]
    for other, count in code["following"]:
        assert pairs.count((code["id"], other)) == count


def test_regions_and_repeats_are_those_of_the_commands(payload):
    regions = ulmo.regions(CALLS)
    boxes = [each["box"] for each in payload["regions"]]
    assert boxes == [
        pytest.approx([row["start_s"], row["end_s"], row["low_hz"], row["high_hz"]], abs=0.1)
        for row in regions
    ]
    repeats = ulmo.repeats(CALLS, false_per_hour=900.0, impulses=False)  # two rows of 8 seconds
    starts = {row["class"]: [] for row in repeats if row["class"] is not None}
    for row in repeats:
        if row["class"] is not None:
            starts[row["class"]].append(row["start_s"])
    found = {
        each["number"]: [box[0] for box in each["boxes"]]
        for each in payload["classes"]
        if each["number"] is not None
    }
    assert found == {number: pytest.approx(times, abs=1e-5) for number, times in starts.items()}
    assert found


def test_trains_of_impulses_have_the_limit_of_the_command(payload):
    kinds = {row["kind"] for row in ulmo.repeats(CALLS, false_per_hour=900.0)}
    assert "impulses" in kinds  # by chance: the page's limit for sounds is no limit for trains
    assert "impulses" not in {row["kind"] for row in ulmo.repeats(CALLS)}
    assert "impulses" not in {each["kind"] for each in payload["classes"]}


def test_the_same_recording_gives_the_same_bytes(calls_page, write_page, tmp_path):
    written = write_page(CALLS, tmp_path / "again.html")
    content = written.page.read_bytes()
    assert content == calls_page.read_bytes()
    assert written.bytes == len(content)


def test_a_browser_may_run_the_one_script_and_open_nothing(calls_page):
    parts = Parts(calls_page.read_bytes())
    hashes = {
        kind: base64.b64encode(sha256(parts.text(kind).encode()).digest()).decode()
        for kind in ("script", "style")
    }
    assert parts.policy == (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; "
        f"style-src 'sha256-{hashes['style']}'; base-uri 'none'; form-action 'none'"
    )
    assert parts.tags.count("script") == 2  # one of them is the payload
    assert not {"img", "link", "iframe", "object", "embed", "audio"} & set(parts.tags)
    assert all(f"// {name}\n" in parts.text("script") for name in SCRIPTS)


def test_names_and_labels_with_html_are_text(calls_page, payload):
    plain = Parts(calls_page.read_bytes())
    evil = {**payload, "recording": {**payload["recording"], "name": EVIL}}
    evil["classes"] = [{**each, "kind": EVIL} for each in payload["classes"]]
    content = make_page(EVIL, evil)
    parts = Parts(content)
    assert parts.tags == plain.tags
    assert parts.payload == evil
    assert parts.text("title") == f"{EVIL} - ulmo look"
    assert content.startswith(BEGIN)
    assert EVIL.encode() not in content


def test_a_file_with_html_in_its_name(write_page, tmp_path):
    recording = tmp_path / "<" / "script><img src=x>.wav"
    recording.parent.mkdir()
    recording.write_bytes(CALLS.read_bytes())
    plain = {"impulses": False, "surprise": False}
    parts = Parts(write_page(recording, tmp_path / "x.html", **plain).page.read_bytes())
    assert parts.payload["recording"]["name"] == "script><img src=x>.wav"
    assert "img" not in parts.tags


def test_a_part_of_a_recording_has_its_true_times(write_page, tmp_path, payload):
    cut = {"start_s": 2.0, "seconds": 3.0, "impulses": False}
    page = write_page(CALLS, tmp_path / "part.html", **cut).page
    part = Parts(page.read_bytes()).payload
    assert (part["recording"]["start_s"], part["recording"]["seconds"]) == (2.0, 3.0)
    assert part["tokens"]["segments"] == [[0, 2.0]]
    np.testing.assert_array_equal(ids_of(part), ids_of(payload)[50:125])
    bits = (numbers_of(each["surprise"]["bits"]) for each in (part, payload))
    np.testing.assert_array_equal(next(bits), next(bits)[50:125])
    whole = [each["box"] for each in payload["regions"] if 2 <= each["box"][0] < 5]
    assert [each["box"] for each in part["regions"]] == whole
    assert any("from 2.00 s to 5.00 s" in line["text"] for line in part["recording"]["lines"])


def test_impulses_are_looked_for_in_the_part_that_is_shown(write_page, tmp_path):
    rate = 16_000
    noise = np.random.default_rng(0).normal(0, 0.001, 9 * rate)
    for tick in range(30):
        at = round((0.2 + 0.29 * tick) * rate)
        noise[at : at + 32] += 0.5 * np.sin(np.arange(32)) * np.hanning(32)
    recording = tmp_path / "ticks.wav"
    soundfile.write(recording, noise, rate)
    trains, notes = [], []
    for part in ({}, {"start_s": 3.0, "seconds": 3.0}):
        page = write_page(recording, tmp_path / "x.html", surprise=False, **part).page
        found = Parts(page.read_bytes()).payload
        (train,) = (each for each in found["classes"] if each["kind"] == "impulses")
        trains.append(train)
        lines = [each["text"] for each in found["recording"]["lines"]]
        notes.append(any("in this part alone" in line for line in lines))
    whole, part = trains
    assert len(whole["intervals"]) == 29
    assert len(part["intervals"]) == 9
    assert part["period"][0] == pytest.approx(0.29, abs=0.001)
    starts = [box[0] for box in part["boxes"]]
    assert starts == pytest.approx([box[0] for box in whole["boxes"] if 3 <= box[0] < 6], abs=0.005)
    assert notes == [False, True]


def test_time_that_was_left_out_is_silent_and_has_no_tokens(write_page, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.2, 32768).clip(-0.9, 0.9)
    recording = tmp_path / "20230501_120000T.WAV"
    write_triggered(recording, noise, 200, noise, rate=16000)
    page = write_page(recording, tmp_path / "gap.html", impulses=False).page
    found = Parts(page.read_bytes()).payload
    gap_s = 200 * 256 / 16000
    assert found["recording"]["seconds"] == pytest.approx(2 * 2.048 + gap_s, abs=0.01)
    (_, first), (column, second) = found["tokens"]["segments"]
    assert (first, column) == (0.0, 52)
    assert second == pytest.approx(2.048 + gap_s, abs=0.021)
    grey = cv2.imdecode(
        np.frombuffer(base64.b64decode(found["spectrogram"]["pictures"][0]), np.uint8), 0
    )
    columns = [round(time / found["spectrogram"]["column_s"]) for time in (1.0, 3.0, 6.0)]
    loud, silent, again = (float(grey[:, each].mean()) for each in columns)
    assert silent < 5 < 100 < min(loud, again)


def test_the_header_says_what_is_not_heard(write_page, tmp_path):
    rate = 96_000
    tone = 0.3 * np.sin(2 * np.pi * 30_000 * np.arange(2 * rate) / rate)
    recording = tmp_path / "high.wav"
    soundfile.write(recording, tone, rate)
    page = write_page(recording, tmp_path / "high.html", impulses=False).page
    lines = Parts(page.read_bytes()).payload["recording"]["lines"]
    (warned,) = (line["text"] for line in lines if line["warn"])
    assert warned == (
        "The tokenizer, which turns sound into tokens, hears up to 8 kHz. "
        "100 % of the power lies above, where there are no tokens. "
        "For tokens of more of it, use --time-expansion 6."
    )
    assert any("choose the speed 1/10" in line["text"] for line in lines)
    assert lines[-1]["text"] == "It is not known when the recording began."


def test_the_header_names_a_dc_offset(write_page, tmp_path):
    recording = tmp_path / "offset.wav"
    soundfile.write(recording, np.random.default_rng(0).normal(0.02, 0.1, 16_000), 16_000)
    page = write_page(recording, tmp_path / "x.html", impulses=False, surprise=False).page
    lines = Parts(page.read_bytes()).payload["recording"]["lines"]
    (warned,) = (line["text"] for line in lines if line["warn"])
    assert warned.startswith("Unusual: DC offset")


def test_of_another_tokenizer_the_page_says_what_is_not_there(tokenizer_of, tmp_path):
    bundle = tokenizer_of("mel").bundle.place
    result = run(command, "look", CALLS, "--tokenizer", bundle, "--out", tmp_path / "x.html")
    assert result.exit_code == 0, result.output
    found = Parts((tmp_path / "x.html").read_bytes()).payload
    assert (found["classes"], found["surprise"]) == ([], None)
    notes = [each["text"] for each in found["recording"]["lines"]]
    assert any(note.startswith("Repeats were not looked for: ") for note in notes)
    assert any(note.startswith("There is no curve of surprise: ") for note in notes)
    named = run(command, "look", CALLS, "--tokenizer", bundle, "--lm", DEFAULT_LM)
    assert_refused(named, "are of another tokenizer than the token model")


def test_the_command_takes_tokens_and_finds_their_recording(tmp_path):
    recording = tmp_path / "calls.wav"
    recording.write_bytes(CALLS.read_bytes())
    tokens = tmp_path / "calls.tokens.npy"
    assert run(command, "tokenize", recording, "--out", tokens, "--quiet").exit_code == 0
    result = run(command, "look", tokens)
    assert result.exit_code == 0, result.output
    page = tmp_path / "calls.wav.html"
    assert result.stdout.splitlines()[-1].startswith(f"page        {page} (")
    found = Parts(page.read_bytes()).payload
    np.testing.assert_array_equal(ids_of(found), np.load(tokens))
    recording.unlink()
    assert_refused(run(command, "look", tokens), "calls.wav", f"--tokens {tokens}")


def test_pages_of_other_programs_are_kept_unless_they_are_named(tmp_path):
    recording, other = tmp_path / "calls.wav", tmp_path / "calls.wav.html"
    recording.write_bytes(CALLS.read_bytes())
    other.write_text("<p>mine</p>")
    assert_refused(run(command, "look", recording), "ulmo look did not write it")
    assert other.read_text() == "<p>mine</p>"
    assert_refused(run(command, "look", recording, "--out", tmp_path / "x.txt"), ".html")
    assert_refused(run(command, "look", tmp_path), "is a folder")
    assert_refused(run(command, "look", tmp_path / "none.wav"), "is not a file")
    assert_refused(run(command, "look", recording, "--channels", "each"), "one channel")
    page = tmp_path / "page.html"
    assert_refused(run(command, "look", recording, "--out", page, "--start", "9"), "lasts 8 s")


def test_more_than_ten_minutes_are_refused_in_one_line(tmp_path):
    recording = tmp_path / "long.wav"
    soundfile.write(recording, np.zeros(601 * 1000, np.int16), 1000)
    result = run(command, "look", recording, "--out", tmp_path / "x.html")
    assert_refused(result, "at most 10 min 0 s", "10 min 1 s", "--seconds 600")
    assert not (tmp_path / "x.html").exists()


def test_a_recording_that_cannot_be_read_is_refused(tmp_path):
    recording = tmp_path / "bad.wav"
    recording.write_bytes(b"RIFF")
    result = run(command, "look", recording, "--out", tmp_path / "x.html")
    assert result.exit_code == exits.SOME_REFUSED
    assert "refused" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "x.html").exists()


def test_the_scripts_are_short_and_narrow():
    folder = files("ulmo.pipelines.look") / "page"
    listed = {each.name for each in folder.iterdir()}
    assert listed == {*SCRIPTS, "page.html", "page.css"}
    for name in listed:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 400
        assert max(map(len, lines)) <= 120


@pytest.mark.parametrize(("given", "advised"), [(None, 10), (2, 20), (10, 20)])
def test_the_time_expansion_to_use_is_not_relative_to_the_one_given(tmp_path, given, advised):
    rate = 312_500
    recording, options = tmp_path / "bat.wav", ["--no-impulses", "--no-surprise"]
    soundfile.write(recording, 0.3 * np.sin(np.arange(rate // 2) * 2 * np.pi * 0.4), rate)
    if given is not None:
        options += ["--time-expansion", given]
    result = run(command, "look", recording, *options)
    assert result.exit_code == 0, result.output
    assert f"use --time-expansion {advised}, or train" in result.stdout
    lines = Parts((tmp_path / "bat.wav.html").read_bytes()).payload["recording"]["lines"]
    (warned,) = (line["text"] for line in lines if line["warn"])
    assert warned.endswith(f"For tokens of more of it, use --time-expansion {advised}.")
