"""Short recordings in batches: the same files as one by one, whatever happens meanwhile."""

import errno
import os
import time
from pathlib import Path

import pytest

from tests.pipelines import dying
from tests.pipelines.recordings import contents, rows_of
from tests.pipelines.tokenizing import record, tokenize
from ulmo.pipelines.tokenize import batch
from ulmo.pipelines.tokenize import tokenize as pipeline
from ulmo.pipelines.tokenize.batch import Turn, in_batches, tokenize_batch
from ulmo.pipelines.tokenize.plan import Planned

NAMES = ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav", "f.wav"]


@pytest.fixture
def clips(tmp_path):
    """Six recordings, one of which cannot be read."""
    for index, name in enumerate(NAMES):
        record(tmp_path / "clips" / name, seconds=0.1 * (index + 1))
    (tmp_path / "clips" / "e.wav").write_bytes(b"noise")
    return tmp_path / "clips"


@pytest.fixture
def together(monkeypatch):
    """Batches of all recordings, however few."""
    monkeypatch.setattr(batch, "_SHARES", 1)


def planned(path, size=10):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return Planned(path, path, path, path.parent)


def test_which_recordings_are_done_in_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "_BATCH_BYTES", 100)
    sizes = [10] * 5 + [100] + [10] * 30 + [30] * 4
    plan = [planned(tmp_path / str(number), size) for number, size in enumerate(sizes)]

    def lengths(workers):
        return [len(each) for each in in_batches(plan, len(plan), workers)]

    assert lengths(1) == [6, 10, 10, 10, 4]
    assert lengths(2) == [5, 1, 5, 5, 5, 5, 5, 5, 4]  # each worker has some
    assert lengths(10) == [1] * len(plan)
    missing = [Planned(tmp_path / "gone", *[tmp_path] * 3)]
    assert list(in_batches(missing, 1, 1)) == [missing]


def test_one_is_read_while_others_are_written(tmp_path):
    reading, writing, most = [], [], []

    def one(each: Path, turn: Turn):
        with turn:
            reading.append(each)
            assert len(reading) == 1
            time.sleep(0.002)
            reading.remove(each)
            turn.end()
            writing.append(each)
            most.append(len(writing))
            time.sleep(0.02)
            writing.remove(each)
        return each.name

    names = [Path(str(number)) for number in range(20)]
    assert tokenize_batch(one, names) == [each.name for each in names]
    assert max(most) > 1


def test_the_next_is_read_after_one_that_failed():
    def one(number: int, turn: Turn):
        with turn:
            if number == 1:
                raise ValueError(number)
        return number

    with pytest.raises(ValueError, match="1"):
        tokenize_batch(one, [0, 1, 2, 3])


@pytest.mark.parametrize("how", [{}, {"channels": "each"}, {"file_format": "parquet"}])
def test_the_same_files_as_one_by_one(how, tokenizer, clips, tmp_path, monkeypatch):
    alone = tokenize(tokenizer, clips, out=tmp_path / "alone", **how)
    batches = []
    monkeypatch.setattr(batch, "_SHARES", 1)

    def watched(tokenize_one, some):
        batches.append(len(some))
        return tokenize_batch(tokenize_one, some)

    monkeypatch.setattr(batch, "tokenize_batch", watched)
    found = tokenize(tokenizer, clips, out=tmp_path / "out", **how)
    assert batches == [len(NAMES)]
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    assert [each.outcome for each in found] == [each.outcome for each in alone]


def test_a_full_disk_ends_the_job_and_the_next_one_goes_on(
    tokenizer, clips, tmp_path, together, monkeypatch
):
    tokenize(tokenizer, clips, out=tmp_path / "fresh")
    for fails in (6, 11, 16):
        out, calls = tmp_path / f"out{fails}", []

        def full(_, calls=calls, fails=fails):
            calls.append(0)
            if len(calls) >= fails:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                tokenize(tokenizer, clips, out=out)
        for path in (out / "tokens").iterdir():
            assert path.read_bytes() == (tmp_path / "fresh" / "tokens" / path.name).read_bytes()
        tokenize(tokenizer, clips, out=out)
        assert contents(out) == contents(tmp_path / "fresh")


def test_the_recording_that_is_read_is_blamed_for_the_loss_of_a_worker(
    tokenizer, clips, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(batch, "_SHARES", 0.5)
        patch.setattr(pipeline, "tokenize_recording", dying.always_deadly)
        tokenize(tokenizer, clips, out=tmp_path / "out", workers=2)
    reasons = {row["path"]: row["reason"] for row in rows_of(tmp_path / "out") if row["reason"]}
    assert reasons == {"c.wav": "worker_lost", "e.wav": "not_audio"}
