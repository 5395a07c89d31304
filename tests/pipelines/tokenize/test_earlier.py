"""Tokens of an earlier job: those of another name go, those of what cannot be read now stay."""

import json
import os
import warnings

import numpy as np
import pytest

from tests.bounded import some_of
from tests.commands import run
from tests.failing_reads import bad_sector
from tests.pipelines.recordings import by_path, contents, counting, noise, write
from tests.pipelines.tokenizing import (
    FIRST,
    SECOND,
    Drive,
    hidden,
    join,
    moments,
    quiet,
    tokenize,
)
from tests.small_tokenizers import RATE
from ulmo.cli.main import ulmo
from ulmo.formats.folder import folder_ledger
from ulmo.formats.read import read_corpus
from ulmo.jobs.spread import Spread
from ulmo.pipelines.tokenize import earlier, job
from ulmo.pipelines.tokenize import tokenize as pipeline
from ulmo.pipelines.verify.verify import verify


@pytest.fixture
def field(tmp_path):
    write(tmp_path / "field" / "x.wav", noise(3000, 1))
    write(tmp_path / "field" / "y.wav", noise(3000, 2, channels=2))
    return tmp_path / "field"


def both_change_channels(field):
    write(field / "x.wav", noise(2000, 3, channels=2))
    write(field / "y.wav", noise(2000, 4))


def another_of_that_name(field):
    write(field / "x.aiff", noise(2000, 5))


def moved(field):
    (field / "below").mkdir()
    (field / "x.wav").rename(field / "below" / "x.wav")
    (field / "y.wav").rename(field / "renamed.wav")


def no_sound_any_more(field):
    write(field / "x.wav", noise(2000, 3, channels=2))
    (field / "y.wav").write_bytes(b"")


CHANGES = [both_change_channels, another_of_that_name, moved, no_sound_any_more]


@pytest.mark.kills
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("file_format", ["npy", "megatron"])
def test_what_has_an_earlier_name_goes_wherever_the_job_is_killed(
    change, file_format, tokenizer, field, tmp_path, monkeypatch
):
    """What each moment of the job leaves becomes the same as a new output."""
    how = {"channels": "each", "file_format": file_format}
    out = tmp_path / "out"
    tokenize(tokenizer, field, out=out, **how)
    change(field)
    tokenize(tokenizer, field, out=tmp_path / "fresh", **how)
    fresh = contents(tmp_path / "fresh")
    copies = moments(monkeypatch, tokenizer, field, out=out, **how)
    assert len(copies) > 20
    for copy in some_of(copies, f"{change.__name__} {file_format}"):
        tokenize(tokenizer, field, out=copy, **how)
        assert contents(copy) == fresh, copy.name
        assert hidden(copy) == []
    assert contents(out) == fresh
    assert verify(out).faults == []


def test_what_is_gone_or_another_keeps_its_tokens(tokenizer, field, tmp_path):
    """A new recording is not the one that is gone, though both are as long; nor is a silent one."""
    out = tmp_path / "out"
    tokenize(tokenizer, field, out=out)
    (field / "x.wav").unlink()
    write(field / "z.wav", noise(3000, 9))
    tokenize(tokenizer, field, out=out)
    assert {"tokens/x.tokens.npy", "token_headers/x.tokens.json"} <= contents(out).keys()
    assert by_path(out).keys() == {"y.wav", "z.wav"}


def test_nothing_outside_the_tokens_goes(tokenizer, field, tmp_path):
    """Whatever the rows of an earlier job name."""
    out = tmp_path / "out"
    tokenize(tokenizer, field, out=out)
    write(tmp_path / "mine.wav", noise(2000, 6))
    tokenize(tokenizer, tmp_path / "mine.wav", out=tmp_path / "mine.tokens.npy")
    other = tmp_path / "other"
    tokenize(tokenizer, field, out=other)
    ledger = folder_ledger(out)
    rows = list(ledger.rows())
    ledger.resume(ledger.manifest, out)
    absolute = str(other / "tokens" / "x.tokens.npy")
    names = ("../mine.tokens.npy", "tokens/../../mine.tokens.npy", absolute)
    with ledger.writing([]):
        for number, name in enumerate(names):
            key = f"k{number}"
            row = rows[0].model_copy(update={"outputs": (name,), "key": key, "path": "x.wav"})
            ledger.add(key, [row])
    before = contents(other)
    tokenize(tokenizer, field, out=out)
    assert contents(other) == before
    assert (tmp_path / "mine.tokens.npy").exists()
    assert contents(out) == before


def test_a_recording_that_is_as_long_and_begins_and_ends_alike_is_another(tokenizer, tmp_path):
    """Its tokens stay when it goes, though the other has its size and its ends."""
    for number in range(2):
        samples = np.zeros((9000, 1))
        samples[3000:6000] = noise(3000, number)
        write(tmp_path / "field" / f"{number}.wav", samples)
    out = tmp_path / "out"
    tokenize(tokenizer, tmp_path / "field", out=out)
    before = contents(out)
    (tmp_path / "field" / "0.wav").rename(tmp_path / "archived.wav")
    tokenize(tokenizer, tmp_path / "field", out=out)
    assert contents(out)["tokens/0.tokens.npy"] == before["tokens/0.tokens.npy"]


@pytest.mark.parametrize("file_format", ["npy", "raven"])
def test_a_recording_whose_facts_are_all_the_same_is_another(file_format, tokenizer, tmp_path):
    """A rising tone, and the same backwards: other ids, so its tokens stay when it goes."""
    times = np.arange(RATE * 2) / RATE
    tone = 0.9 * np.sin(2 * np.pi * (300 * times + (RATE / 2 - 600) / 4 * times**2))
    silence = np.zeros(4000)
    for name, sound in (("up", tone), ("down", tone[::-1])):
        samples = np.concatenate([silence, sound, silence])
        write(tmp_path / "field" / f"{name}.wav", samples, rate=RATE)
    out, how = tmp_path / "out", {"file_format": file_format}
    tokenize(tokenizer, tmp_path / "field", out=out, **how)
    first, second = (earlier._sound(row) for row in folder_ledger(out).rows())
    assert first == second
    before = contents(out / "tokens")
    (tmp_path / "field" / "down.wav").rename(tmp_path / "archived.wav")
    tokenize(tokenizer, tmp_path / "field", out=out, **how)
    assert contents(out / "tokens") == before


@pytest.fixture
def drive(tmp_path):
    return Drive(tmp_path)


def read_error(drive):
    """A drive that is there, and of which a sector cannot be read."""
    for path in drive.there.iterdir():
        path.touch()
    return bad_sector(5000)


class TestWhatCannotBeRead:
    @pytest.mark.parametrize("channels", ["mix", "each"])
    def test_a_folder_stays_as_it_was(self, channels, tokenizer, drive, tmp_path, monkeypatch):
        out, how = tmp_path / "out", {"channels": channels}
        tokenize(tokenizer, drive.links, out=out, **how)
        before = contents(out)
        drive.leave()
        for _ in range(2):
            results = tokenize(tokenizer, drive.links, out=out, **how)
            assert [(one.outcome.reason, one.kept, one.outputs) for one in results] == [
                ("unreadable", True, [])
            ] * 2
            assert contents(out) == before
        assert verify(out).faults == []
        drive.come()
        called = []
        monkeypatch.setattr(
            pipeline, "tokenize_recording", counting(called, pipeline.tokenize_recording)
        )
        assert all(one.reused for one in tokenize(tokenizer, drive.links, out=out, **how))
        assert (called, contents(out)) == ([], before)

    @pytest.mark.kills
    def test_wherever_the_job_is_killed(self, tokenizer, drive, tmp_path, monkeypatch):
        """Another recording is new, and one has two channels by now and cannot be read."""
        out, how = tmp_path / "out", {"channels": "each"}
        write(drive.there / SECOND, noise(3000, 7))
        tokenize(tokenizer, drive.links, out=out, **how)
        old = contents(out)
        write(drive.there / SECOND, noise(3000, 8, channels=2))
        drive.leave()
        write(drive.links / "new.wav", noise(3000, 3))
        copies = moments(monkeypatch, tokenizer, drive.links, out=out, **how)
        expected = contents(out)
        assert len(copies) > 10
        for copy in some_of(copies):
            tokenize(tokenizer, drive.links, out=copy, **how)
            assert contents(copy) == expected, copy.name
        kept = {name for name in old if name.startswith("token")} - {"tokenize.json"}
        assert {name: expected[name] for name in kept} == {name: old[name] for name in kept}
        assert {row["status"] for row in by_path(out).values()} == {"ok"}
        drive.come()
        tokenize(tokenizer, drive.links, out=out, **how)
        tokenize(tokenizer, drive.links, out=tmp_path / "fresh", **how)
        assert contents(out) == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("channels", ["mix", "each"])
    @pytest.mark.parametrize("place", ["out", None])
    def test_a_read_that_fails(self, place, channels, tokenizer, drive, tmp_path):
        out = place and tmp_path / place
        tokenize(tokenizer, drive.links, out=out, channels=channels)
        there = out or drive.links
        before = contents(there)
        with read_error(drive):
            results = tokenize(tokenizer, drive.links, out=out, channels=channels)
        assert [(one.outcome.reason, one.kept) for one in results] == [("unreadable", True)] * 2
        assert contents(there) == before

    def test_a_channel_that_was_written_before_the_read_failed(self, tokenizer, drive, monkeypatch):
        """Channels are decoded one after the other if the disk has no room for their samples."""
        monkeypatch.setattr("ulmo.preprocessing.reading.channels.MOST_KEPT", 0)
        tokenize(tokenizer, drive.links, channels="each")
        before = contents(drive.links)
        opened = job.publish_tokens

        def failing(path, *arguments, **options):
            if ".ch1" in path.name:
                raise job.RefusedError("unreadable", "Input/output error")
            return opened(path, *arguments, **options)

        monkeypatch.setattr(job, "publish_tokens", failing)
        results = tokenize(tokenizer, drive.links, channels="each")
        assert all(one.kept for one in results)
        assert contents(drive.links) == before
        write(drive.there / FIRST, noise(2500, 9, channels=2))
        for name in before:
            if name.startswith(SECOND[:-4]) and not name.endswith(".wav"):
                (drive.links / name).unlink()
        tokenize(tokenizer, drive.links, channels="each")
        assert not list(drive.links.glob(f"{SECOND[:-4]}.*tokens*"))

    def test_a_recording_that_is_written_to_all_the_time(
        self, tokenizer, drive, tmp_path, monkeypatch
    ):
        out = tmp_path / "out"
        tokenize(tokenizer, drive.links, out=out)
        before = contents(out)
        for path in drive.there.iterdir():
            path.touch()
        found = job.input_file
        monkeypatch.setattr(job, "input_file", lambda path: found(path)._replace(mtime_ns=1))
        results = tokenize(tokenizer, drive.links, out=out)
        assert [(one.outcome.reason, one.kept) for one in results] == [("changed", True)] * 2
        assert contents(out) == before

    def test_without_tokens_nothing_is_kept(self, tokenizer, drive, tmp_path):
        """Nor if they are damaged: then the table says that it was refused."""
        out = tmp_path / "out"
        tokenize(tokenizer, drive.links, out=out)
        damaged = out / "tokens" / f"{FIRST[:-4]}.tokens.npy"
        damaged.write_bytes(damaged.read_bytes()[:-1])
        (drive.links / "new.wav").symlink_to(tmp_path / "nowhere")
        drive.leave()
        first, second, new = tokenize(tokenizer, drive.links, out=out)
        assert (first.kept, second.kept, new.kept) == (False, True, False)
        statuses = {name: row["status"] for name, row in by_path(out).items()}
        assert statuses == {FIRST: "refused", SECOND: "ok", "new.wav": "refused"}

    @pytest.mark.parametrize("name", ["x.tokens.npy", "x.csv"])
    def test_a_file_of_one(self, name, tokenizer, drive, tmp_path):
        out = tmp_path / "out" / name
        how = {"file_format": "csv" if name.endswith("csv") else "npy"}
        path = drive.there / FIRST
        tokenize(tokenizer, path, out=out, **how)
        before = contents(out.parent)
        with read_error(drive):
            (result,) = tokenize(tokenizer, path, out=out, **how)
        assert result.kept
        assert contents(out.parent) == before

    @pytest.mark.parametrize("kind", ["table", "timeline"])
    def test_one_file_of_all_stays_as_it_was(self, kind, tokenizer, drive, tmp_path):
        out = tmp_path / "out" / "all.csv"
        lines = []

        def make():
            listener = quiet()._replace(warn=lines.append)
            how = {"out": out, "file_format": "csv"}
            if kind == "table":
                return tokenize(tokenizer, drive.links, listener=listener, **how)
            options = job.TokenizeOptions(file_format="csv")
            return pipeline.tokenize_timeline(
                tokenizer, [drive.links], options, out=out, spread=Spread(1), listener=listener
            )[0]

        make()
        before = contents(out.parent)
        drive.leave()
        write(drive.links / "20240101_000020.wav", noise(3000, 3))
        results = make()
        (line,) = lines
        assert "all.csv stays as it was: it may have tokens of" in line
        assert f"{drive.links / FIRST} and 1 more" in line
        assert "\n" not in line
        assert [one.outcome.status for one in results] == ["refused", "refused", "ok"]
        assert [one.outputs for one in results] == [[], [], []]
        assert contents(out.parent) == before
        drive.come()
        make()
        assert len(lines) == 1
        assert contents(out.parent) != before

    @pytest.mark.parametrize("kind", ["table", "timeline"])
    def test_one_that_never_had_it_is_made_without(self, kind, tokenizer, drive, tmp_path):
        out = tmp_path / "out" / "all.csv"
        make = tokenize if kind == "table" else join
        (drive.links / SECOND).unlink()
        make(tokenizer, drive.links, out=out, file_format="csv")
        (drive.links / SECOND).symlink_to(tmp_path / "nowhere")
        (drive.there / FIRST).touch()
        before = out.read_bytes()
        write(drive.links / "20240101_000020.wav", noise(3000, 3))
        make(tokenizer, drive.links, out=out, file_format="csv")
        assert out.read_bytes() != before

    def test_a_folder_that_cannot_be_looked_into(self, tokenizer, field, tmp_path, monkeypatch):
        """Its recordings keep their tokens, and the file of all that has them stays."""
        write(field / "s" / "caf\udce9.wav", noise(3000, 4))
        write(field / "s" / "t" / "z.wav", noise(3000, 5))
        out, table, lines = tmp_path / "out", tmp_path / "table" / "all.csv", []
        for place in (out, table):
            tokenize(tokenizer, field, out=place, file_format="csv")
        before, of_table = contents(out), contents(table.parent)
        looked = os.scandir

        def denied(path):
            if str(path).endswith("/s"):
                raise PermissionError(13, "Permission denied", str(path))
            return looked(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", denied)
            results = tokenize(tokenizer, field, out=out, file_format="csv")
            listener = quiet()._replace(warn=lines.append)
            tokenize(tokenizer, field, out=table, file_format="csv", listener=listener)
        assert {one.outcome.path: one.kept for one in results} == {
            "s": True,
            "x.wav": False,
            "y.wav": False,
        }
        assert contents(out) == before
        assert contents(table.parent) == of_table
        assert f"it may have tokens of {field / 's'}, which cannot be read now" in lines[0]
        assert all(one.reused for one in tokenize(tokenizer, field, out=out, file_format="csv"))

    def test_the_command_says_so(self, drive, tmp_path):
        places = [("--out-dir", tmp_path / "out"), ("--out", tmp_path / "all.csv"), ()]
        for place in places:
            assert run(ulmo, "tokenize", drive.links, *place).exit_code == 0
        before = contents(tmp_path / "out"), (tmp_path / "all.csv").read_bytes()
        drive.leave()
        for place in places:
            result = run(ulmo, "tokenize", drive.links, *place, "--json")
            said = "stays as it was" if "--out" in place else "; its earlier tokens stay"
            assert (result.exit_code, said in result.stderr) == (3, True)
            kept = {each["kept"] for each in json.loads(result.stdout)["files"]}
            assert kept == {"--out" not in place}
        assert before == (contents(tmp_path / "out"), (tmp_path / "all.csv").read_bytes())


def test_readers_take_what_the_table_names(tokenizer, field, tmp_path):
    out = tmp_path / "out"
    tokenize(tokenizer, field, out=out)
    (field / "x.wav").unlink()
    tokenize(tokenizer, field, out=out)
    for partial in (False, True):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            read = [header.recording for header, _ in read_corpus(out, partial=partial)]
        assert read == ["y.wav"]
        (line,) = [str(each.message) for each in found]
        assert "left out 1 file of tokens that recordings.parquet does not name" in line
    corpus = tmp_path / "c.bin"
    result = run(ulmo, "convert", out, "--format", "bin", "--out", corpus, "--quiet")
    assert (result.exit_code, result.stderr.count("\n")) == (0, 1)
    assert "left out 1 file of tokens" in result.stderr
    assert [header.recording for header, _ in read_corpus(corpus)] == ["y.wav"]
    assert {fault.what for fault in verify(out).faults} == {"orphan"}
