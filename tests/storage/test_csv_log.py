import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ulmo.models.objectives import OBJECTIVES
from ulmo.storage import csv_log
from ulmo.storage.csv_log import (
    MAX_LINE,
    CsvLog,
    batch_columns,
    epoch_columns,
    log_rows,
    read_log,
)

COLUMNS = ("step", "epoch", "loss", "usage")


def row(step, **values):
    return {"step": step, "epoch": step // 3, "loss": 1 / step, "usage": 0.5, **values}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "losses.csv"


def write(path, rows, *, last_step=0, columns=COLUMNS):
    log = CsvLog(path, columns, last=last_step)
    for values in rows:
        log.write(values)
    log.close()
    return path.read_bytes().decode()


def test_golden_columns():
    losses = (
        "total,reconstruction,commitment,codebook,perplexity,usage,latent_variance,pair_similarity,"
        "reconstruct_loss,reconstruct_score,reconstruct_chance,byol_loss,byol_score,byol_chance"
    )
    objectives = ("reconstruct", "byol")
    assert ",".join(batch_columns(objectives)) == f"step,epoch,{losses}"
    assert ",".join(epoch_columns(objectives)) == (
        "epoch,step,"
        + ",".join(f"train_{name}" for name in losses.split(","))
        + ",val_total,val_latent_variance,val_pair_similarity"
        + ",val_reconstruction,val_reconstruction_db,val_sound_reconstruction_db,val_commitment"
        + ",val_usage,val_entropy,val_perplexity"
        + ",val_sound_usage,val_sound_entropy,val_sound_perplexity"
        + ",val_reconstruct_loss,val_reconstruct_score,val_reconstruct_chance,val_reconstruct_error"
        + ",val_byol_loss,val_byol_score,val_byol_chance,val_byol_error"
    )


def test_golden_rows(path):
    rows = [
        row(3, loss=1 / 3, other=9),
        {"step": 4, "epoch": 1, "loss": None},
        row(12_345_678, loss=math.nan, usage=1e-9, epoch=123_456_789),
    ]
    assert write(path, rows) == (
        "step,epoch,loss,usage\n3,1,0.3333333,0.5\n4,1,,\n12345678,123456789,,1e-09\n"
    )


@pytest.mark.parametrize("last_step", [0, 1, 4, 12_345_677, 12_345_678])
def test_a_resumed_run_drops_what_came_after_its_checkpoint(last_step, path):
    steps = [1, 2, 3, 4, 5, 12_345_678]
    whole = write(path, map(row, steps)).splitlines()
    kept = sum(step <= last_step for step in steps)
    assert write(path, [row(last_step + 1)], last_step=last_step).splitlines() == [
        *whole[: kept + 1],
        write(path.with_name("other.csv"), [row(last_step + 1)]).splitlines()[1],
    ]


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_row_that_a_kill_cut_short_is_dropped(cut, path):
    whole = write(path, map(row, (1, 2, 3)))
    lines = whole.splitlines(keepends=True)
    path.write_text(whole[:-cut])
    assert cut <= len(lines[-1])
    assert list(read_log(path)["step"]) == [1, 2]
    assert write(path, [row(4)], last_step=3) == "".join(lines[:-1]) + "4,1,0.25,0.5\n"


@pytest.mark.parametrize("content", ["", "step,ep", "step,epoch,loss,usage\n"])
def test_a_log_without_rows_begins_anew(content, path):
    path.write_text(content)
    assert read_log(path) == {}
    assert write(path, [row(1)], last_step=5) == "step,epoch,loss,usage\n1,0,1,0.5\n"


DAMAGE = {
    "another line": (lambda lines: [*lines, b"garbage"], 1),
    "no UTF-8": (lambda lines: [*lines, b"\xff\xfe,1"], 1),
    "a flipped bit in a number": (lambda lines: [*lines[:2], b"\xb2,0,0.5,0.5", *lines[3:]], 1),
    "a NUL": (lambda lines: [*lines[:2], b"2,0,0\x00,0.5", *lines[3:]], 1),
    "a row twice": (lambda lines: [*lines, lines[-1]], 1),
    "a row without an end": (lambda lines: [*lines[:2], lines[2] + b"," + lines[3]], 1),
    "a flipped bit in the names": (lambda lines: [b"suep,epoch,loss,usage", *lines[1:]], 4),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_line_is_left_out_and_said(name, path):
    change, damaged = DAMAGE[name]
    whole = write(path, map(row, (1, 2, 3))).encode().splitlines()
    changed = change(whole)
    path.write_bytes(b"\n".join(changed) + b"\n")
    said = []
    CsvLog(path, COLUMNS, last=3, say=said.append).close()
    assert said == [f"{path} is damaged; lines of it that are left out: {damaged}"]
    good = [] if damaged == 4 else [line for line in whole[1:] if line in changed]
    assert path.read_bytes().splitlines() == [whole[0], *good]
    assert len(read_log(path).get("step", [])) == len(good)


def hole(path, size=1 << 28):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)


def test_a_hole_is_not_read(path):
    """Not by a run that goes on, and not by who reads the log."""
    whole = write(path, map(row, (1, 2, 3)))
    hole(path)
    said = []
    tracemalloc.start()
    with pytest.raises(ValueError, match="a line is longer than 65536 bytes"):
        read_log(path)
    CsvLog(path, COLUMNS, last=3, say=said.append).close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    words = "is damaged; lines of it that are left out: 1, and all that follows"
    assert said == [f"{path} {words}"]
    assert path.read_bytes().decode() == whole


def test_names_of_all_objectives_fit_a_line():
    for columns in (batch_columns, epoch_columns):
        assert len(",".join(columns(OBJECTIVES))) < MAX_LINE // 8


def test_a_log_is_not_held(path):
    path.write_text("step,epoch,loss,usage\n" + "".join(f"{n},0,1,1\n" for n in range(20_000)))
    tracemalloc.start()
    assert sum(1 for _ in log_rows(path)) == 20_000
    CsvLog(path, COLUMNS, last=20_000).close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_rows_are_there_after_a_flush(path):
    assert read_log(path) == {}
    log = CsvLog(path, COLUMNS, last=0)
    log.write(row(1))
    log.write(row(2, loss=None))
    log.flush()
    found = read_log(path)
    log.close()
    assert list(found) == list(COLUMNS)
    np.testing.assert_array_equal(found["loss"], [1, math.nan])


@pytest.mark.parametrize(("most", "step"), [(80, 1), (79, 2), (40, 2), (39, 4), (4, 32), (1, 64)])
def test_of_a_long_log_evenly_spread_rows_are_kept(most, step, path, monkeypatch):
    write(path, map(row, range(1, 21)))
    monkeypatch.setattr(csv_log, "MOST_VALUES", most)
    found = read_log(path)
    assert list(found["step"]) == list(range(1, 21, step))
    assert {len(values) for values in found.values()} == {len(range(0, 20, step))}


def test_a_long_log_takes_the_memory_of_its_numbers(path, monkeypatch):
    monkeypatch.setattr(csv_log, "MOST_VALUES", 1 << 12)
    write(path, map(row, range(1, 20_001)))
    tracemalloc.start()
    assert len(read_log(path)["step"]) > 1 << 9
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 19


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_names_the_file_and_leaves_nothing_to_fail_later(path):
    log = CsvLog(path, COLUMNS, last=0)
    log._file.close()
    with Path("/dev/full").open("ab", buffering=0) as log._file:
        log.write(row(1))
        with pytest.raises(OSError, match=r"No space left on device: '.*losses\.csv'"):
            log.close()
        assert log._file.closed
