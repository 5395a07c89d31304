"""Recordings, settings and small helpers that the tests of ulmo-prep share."""

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.moves import at_moves
from tests.preprocessing.signals import join_tiles
from ulmo.config import PrepSettings
from ulmo.formats.publish import whole_name
from ulmo.preprocessing.frontends import build_frontend, stream_power
from ulmo.preprocessing.normalize import to_db
from ulmo.preprocessing.reading.audio import read_mono
from ulmo.preprocessing.store import TileStore
from ulmo.preprocessing.tiles import Tile

RATE, SIZE, HOP = 4000, 32, 64
PLAN = {"frontend": "stft", "tile_size": SIZE, "sample_rate": RATE, "hop_length": HOP}
TINY = PrepSettings(**PLAN, normalization="corpus")
NON_UTF8 = os.fsdecode(b"caf\xe9.wav")


def noise(samples, seed, channels=1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.05 * (1 + seed % 3), (samples, channels)).clip(-0.9, 0.9)


def write(path, samples, rate=RATE, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), samples, rate, subtype=subtype, format="WAV")


def contents(folder):
    """Every file below a folder, and its bytes."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def state(folder):
    """All that is there: names, bytes, and folders, empty ones too."""
    return frozenset(
        (path.relative_to(folder), path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    )


def rows_of(out, table="recordings"):
    return pq.read_table(out / f"{table}.parquet").to_pylist()


def stats(folder):
    """Bytes and times of all that is there."""
    times = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    return contents(folder), times


def by_path(out):
    return {row["path"]: row for row in rows_of(out)}


def levels_of(samples):
    """Decibels (M, frames) of samples (n,), put together by hand."""
    power = np.concatenate(list(stream_power(build_frontend(TINY), [samples])), axis=1)
    return to_db(power, TINY.floor_db)


def true_levels(path, channel=None):
    """Decibels (M, frames) of a recording."""
    return levels_of(np.concatenate(list(read_mono(path, sample_rate=RATE, channel=channel))))


def undone_levels(out, recording, channel=None, overlap=0):
    """Decibels (M, frames) that the stored tiles of a recording stand for."""
    store = TileStore(out)
    tiles = []
    for index, row in enumerate(rows_of(out, "tiles")):
        if (row["recording"], row["channel"]) == (recording, channel):
            values = row["norm_offset_db"] + row["norm_scale_db"] * store.read([index])[0, ..., 0]
            tiles.append(Tile(values, row["start_sample"] // HOP, row["valid_frames"]))
            loudest = values[:, : row["valid_frames"]].max()
            assert row["peak_level_db"] == pytest.approx(loudest, abs=1e-4)
    return join_tiles(tiles, overlap=overlap)


class Killed(BaseException):
    """What no handler catches, as a kill."""


def leave_temporary(path, target):
    """What is left of a move that did not begin."""
    (path.parent / f".{whole_name(target.name)}.0.tmp").touch()


def leave_half(path, target):
    """What is left of a move that copies the file, and is cut off in its middle."""
    content = path.read_bytes()
    target.write_bytes(content[: len(content) // 2])


def leave_both(path, target):
    """What is left of a move that copies the file, before it removes the first."""
    target.write_bytes(path.read_bytes())
    leave_temporary(path, target)


def kill_at_move(patch, doomed, leave=leave_temporary):
    """Let the move of a published file fail where `doomed` says so of its place; a list of all.

    `leave` makes what is left of it.
    """
    moves = []

    def killed(move, path, target):
        moves.append(target)
        if doomed(target):
            leave(path, target)
            raise Killed
        move()

    at_moves(patch, killed)
    return moves


def doomed(number):
    """For run_killed: the move of this number, and all after it."""
    left = [number]

    def is_doomed(_):
        left[0] -= 1
        return left[0] < 0

    return is_doomed


def run_killed(monkeypatch, is_doomed, job, *arguments, leave=leave_temporary, **options):
    """Run a job that is killed at a move; see kill_at_move."""
    with monkeypatch.context() as patch:
        kill_at_move(patch, is_doomed, leave)
        with pytest.raises(Killed):
            job(*arguments, **options)


def before_tables(target):
    """For run_killed: when all of a job is done, and before either table is there."""
    return target.name in ("recordings.parquet", "tiles.parquet")


def named(part):
    """For run_killed: moves to a path with this part."""
    return lambda target: part in target.as_posix()


def count_moves(monkeypatch, job, *arguments, **options):
    """Run a job; the number of its moves."""
    with monkeypatch.context() as patch:
        moves = kill_at_move(patch, lambda _: False)
        job(*arguments, **options)
    return len(moves)


def kill(*_):
    raise Killed


def counting(calls, function):
    """The function, and a list that grows with each call."""

    def counted(*args):
        calls.append(args)
        return function(*args)

    return counted


def read_complete(out, name="prep.json"):
    path = out / name
    return path.exists() and json.loads(path.read_text())["complete"]
