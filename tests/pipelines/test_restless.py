"""Recordings that are written to while they are read."""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.oracles import chunk
from tests.pipelines.faults import PCM, wav
from tests.pipelines.recordings import TINY, by_path, contents, rows_of
from tests.pipelines.tokenizing import tokenize
from ulmo.config import UserError
from ulmo.jobs.inputs import input_file, list_inputs
from ulmo.pipelines.prep import prep
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.tokenize import job as tokenize_job
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.preprocessing.reading.audio import RefusedError, open_recording
from ulmo.preprocessing.reading.decoder import Decoder
from ulmo.preprocessing.store import TileStore
from ulmo.preprocessing.times.clock import Clock

OTHER = (np.arange(3000) % 80 * 300).astype("<i2").tobytes()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for name in ("a.wav", "b.wav", "c.wav"):
        (folder / name).write_bytes(wav(PCM[ord(name[0]) :]))
    return folder


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path):
    """Other samples in the middle; size and time as they were."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(3000)
        file.write(b"other sound")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(path):
    other = path.with_suffix(".new")
    other.write_bytes(wav(OTHER))
    other.replace(path)


def touch(path):
    """Another time at each call."""
    os.utime(path, ns=(1, path.stat().st_mtime_ns - 1))


CHANGES = {"append": append, "rewrite": rewrite, "replace": replace, "touch": touch}


def disturb(monkeypatch, path, change, times):
    """Change a file after its first block has been read, so many times."""
    read = Decoder.read
    left = [times]

    def disturbed(decoder, frames):
        block = read(decoder, frames)
        if left[0] and path.exists() and decoder.sound.frames and is_open(path):
            left[0] -= 1
            change(path)
        return block

    monkeypatch.setattr(Decoder, "read", disturbed)
    return left


def is_open(path):
    """Whether this process has the file open."""
    links = Path("/proc/self/fd").iterdir()
    return any(link.exists() and link.samefile(path) for link in links)


pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")


@pytest.mark.parametrize("change", CHANGES)
def test_the_reader_refuses_what_has_changed(folder, monkeypatch, change):
    disturb(monkeypatch, folder / "b.wav", CHANGES[change], 1)
    with pytest.raises(RefusedError, match="changed"), open_recording(folder / "b.wav") as found:
        list(found.blocks())


@pytest.mark.parametrize("change", CHANGES)
def test_prepared_again_where_it_changes_once(folder, tmp_path, monkeypatch, change):
    """The tiles are those of what the file is in the end, and so is its row, but for the key."""
    settings = TINY.model_copy(update={"normalization": "recording"})
    with monkeypatch.context() as patch:
        left = disturb(patch, folder / "b.wav", CHANGES[change], 1)
        summary = prepare(folder, tmp_path / "out", settings)
    assert left == [0]
    assert summary.statuses.get("refused", 0) == 0
    prepare(folder, tmp_path / "fresh", settings)
    found, fresh = contents(tmp_path / "out"), contents(tmp_path / "fresh")
    others = [name for name in fresh if found[name] != fresh[name]]
    assert others == [] or sorted(others) == ["prep.json", "recordings.parquet"]
    assert TileStore(tmp_path / "out").manifest.fingerprint is not None
    for row, due in zip(rows_of(tmp_path / "out"), rows_of(tmp_path / "fresh"), strict=True):
        assert row == {**due, "key": row["key"]}


def test_refused_where_it_changes_twice_and_the_rest_is_done(folder, tmp_path, monkeypatch):
    settings = TINY.model_copy(update={"normalization": "tile"})
    planned = sum(path.stat().st_size for path in folder.iterdir())
    told = []
    with monkeypatch.context() as patch:
        disturb(patch, folder / "b.wav", append, -1)
        prepare(folder, tmp_path / "out", settings, progress=lambda total: told.append)
    rows = by_path(tmp_path / "out")
    assert [(row["status"], row["reason"]) for row in rows.values()] == [
        *(("ok", None), ("refused", "changed"), ("ok", None))
    ]
    assert set(TileStore(tmp_path / "out").recordings) == {"a.wav", "c.wav"}
    assert min(told) < 0, "what was read in vain is not told as done"
    assert sum(told) == planned
    later = prepare(folder, tmp_path / "out", settings)
    assert (later.reused, later.statuses) == (False, {"ok": 3})


def test_tokens_of_a_restless_recording(folder, tmp_path, monkeypatch, tokenizer):
    for times, status in ((1, "ok"), (2, "refused")):
        out = tmp_path / f"out{times}"
        with monkeypatch.context() as patch:
            disturb(patch, folder / "b.wav", touch, times)
            tokenize(tokenizer, folder, out=out)
        rows = by_path(out)
        assert [row["status"] for row in rows.values()] == ["ok", status, "ok"]
        assert (out / "tokens" / "b.tokens.npy").exists() == (status == "ok")
    assert rows["b.wav"]["reason"] == "changed"


def test_a_refused_recording_may_be_mended_or_go(folder, tmp_path):
    """Nothing of the output was made of it."""
    (folder / "bad.wav").write_bytes(b"")
    (folder / "worse.wav").write_bytes(b"no sound at all")
    assert prepare(folder, tmp_path / "out", TINY).statuses == {"ok": 3, "refused": 2}
    (folder / "bad.wav").write_bytes(wav(OTHER))
    (folder / "worse.wav").unlink()
    assert prepare(folder, tmp_path / "out", TINY).statuses == {"ok": 4}
    (folder / "a.wav").unlink()
    with pytest.raises(UserError, match="made of other recordings"):
        prepare(folder, tmp_path / "out", TINY)


def test_a_row_of_tokens_tells_the_file_that_was_read(folder, tokenizer, tmp_path, monkeypatch):
    """One that grows after the plan, and before it is read."""

    key_of = Planned.key_of

    def late(*args):
        key = key_of(*args)
        (folder / "a.wav").write_bytes(wav(PCM + PCM))
        return key

    monkeypatch.setattr(Planned, "key_of", late)
    tokenize(tokenizer, folder, out=tmp_path / "out")
    row = by_path(tmp_path / "out")["a.wav"]
    file = input_file(Path("a.wav"), folder)
    assert (row["bytes"], row["ends_crc32c"]) == (file.size, file.ends)
    assert row["frames"] == len(PCM)


def test_a_name_that_leads_to_another_file_once_it_is_open(
    folder, tokenizer, tmp_path, monkeypatch
):
    opened = tokenize_job.open_recording
    left = [1]

    @contextmanager
    def late(path, **options):
        with opened(path, **options) as recording:
            if path.name == "a.wav" and left.pop() if left else False:
                replace(path)
            yield recording

    monkeypatch.setattr(tokenize_job, "open_recording", late)
    tokenize(tokenizer, folder, out=tmp_path / "out")
    row = by_path(tmp_path / "out")["a.wav"]
    assert row["status"] == "ok"
    assert row["bytes"] == (folder / "a.wav").stat().st_size
    assert row["frames"] == len(OTHER) // 2


def exchange(folder):
    """Give two recordings each other's name, with all of their times."""
    (folder / "a.wav").rename(folder / "x")
    (folder / "b.wav").rename(folder / "a.wav")
    (folder / "x").rename(folder / "b.wav")


def test_tokens_of_a_recording_that_had_another_name_for_a_while(
    folder, tokenizer, tmp_path, monkeypatch
):
    """It is as it was when the job was planned; but that is not what was read."""
    key_of, left = Planned.key_of, [3]

    def late(*args):
        key = key_of(*args)
        left[0] -= 1
        if not left[0]:
            exchange(folder)
        return key

    with monkeypatch.context() as patch:
        patch.setattr(Planned, "key_of", late)
        tokenize(tokenizer, folder, out=tmp_path / "out")
    exchange(folder)
    for out in ("out", "fresh"):
        tokenize(tokenizer, folder, out=tmp_path / out)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_tiles_of_a_recording_that_had_another_name_for_a_while(folder, tmp_path, monkeypatch):
    """The finished output is not taken for one of the recordings of the plan."""

    def late(*args):
        planned = list_inputs(*args)
        exchange(folder)
        return planned

    with monkeypatch.context() as patch:
        patch.setattr(prep, "list_inputs", late)
        prepare(folder, tmp_path / "out", TINY)
    exchange(folder)
    with pytest.raises(UserError, match="made of other recordings"):
        prepare(folder, tmp_path / "out", TINY)
    exchange(folder)
    for out in ("out", "fresh"):
        prepare(folder, tmp_path / out, TINY)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_recording_that_had_another_name_while_its_time_was_read(
    folder, tokenizer, tmp_path, monkeypatch
):
    """It gets no other recording's time, in tokens or in tiles."""
    timing = Clock.timing
    for number, name in enumerate("abc"):
        hour = f"GUANO|Version: 1.0\nTimestamp: 2023-01-01T0{number}:00:00Z\n".encode()
        path = folder / f"{name}.wav"
        path.write_bytes(wav(PCM, after=chunk(b"guan", hour)))

    def exchanged(*args):
        exchange(folder)
        try:
            return timing(*args)
        finally:
            exchange(folder)

    with monkeypatch.context() as patch:
        patch.setattr(Clock, "timing", exchanged)
        tokenize(tokenizer, folder, out=tmp_path / "tokens")
        prepare(folder, tmp_path / "tiles", TINY)
    tokenize(tokenizer, folder, out=tmp_path / "tokens")
    prepare(folder, tmp_path / "tiles", TINY)
    tokenize(tokenizer, folder, out=tmp_path / "fresh_tokens")
    prepare(folder, tmp_path / "fresh_tiles", TINY)
    for kind in ("tokens", "tiles"):
        assert contents(tmp_path / kind) == contents(tmp_path / f"fresh_{kind}")
