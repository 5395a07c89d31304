"""Tiles and their rows to the disk, while the next ones are computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from ulmo.arrays import Array
from ulmo.config import PrepSettings
from ulmo.preprocessing.spectrogram import NormalizedTile
from ulmo.preprocessing.store import checksum, tiles_per_shard, write_shard
from ulmo.preprocessing.times.clock import Start
from ulmo.storage.tables import TableWriter


class _GivenUpError(Exception):
    """Ends the writing of a file that is no longer wanted."""


class Disk:
    """Writes in the order of the calls, while the caller computes.

    After an error nothing more is written, so that no job is recorded as done whose shard failed.
    The error is raised at the next call, or at the end.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._shard: Future[None] | None = None
        self._error: BaseException | None = None
        self._opened: list[ExitStack] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
        for opened in self._opened:
            with suppress(_GivenUpError), opened:
                raise _GivenUpError
        if kind is None:
            self._raise_error()

    def publish(self, opened: ExitStack) -> None:
        """Close open files, and so publish them, after all that was written before.

        If that fails they are closed without being published.
        """
        self._opened.append(opened)
        self._do(self._close, opened)

    def _close(self, opened: ExitStack) -> None:
        self._opened.remove(opened)
        opened.close()

    def write_shard(self, path: Path, tiles: list[Array]) -> None:
        """Write a shard, once the one before it is written: two are in memory at most."""
        if self._shard is not None:
            self._shard.result()
        self._shard = self._do(write_shard, path, tiles)

    def _do(self, write: Callable[..., None], *arguments: Any) -> Future[None]:
        self._raise_error()
        return self._thread.submit(self._write, write, *arguments)

    def _write(self, write: Callable[..., None], *arguments: Any) -> None:
        if self._error is None:
            try:
                write(*arguments)
            except BaseException as error:
                self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


class TileWriter:
    """Writes a job's tiles, a shard whenever one is full, and their rows."""

    def __init__(
        self,
        shard_path: Callable[[int], Path],
        settings: PrepSettings,
        rows: TableWriter,
        disk: Disk,
    ) -> None:
        self._shard_path = shard_path
        self._settings = settings
        self._rows = rows
        self._disk = disk
        self._held: list[Array] = []
        self.tiles = 0  # of the recording
        self.start: Start | None = None  # of the recording, if that is known
        self._shards = 0  # shards that are written, or about to be

    def begin(self, recording: str) -> None:
        """Begin a recording; set `start` before its first tile."""
        self._recording, self.start, self.tiles = recording, None, 0

    def add(self, tile: NormalizedTile, /, *, start_s: float, **columns: Any) -> None:
        """Add a tile of the recording, with the columns that the tile itself does not give."""
        row = {
            "recording": self._recording,
            "shard": self._shard_path(self._shards).name,
            "row": len(self._held),
            "crc32c": checksum(tile.values),
            "valid_frames": tile.valid_frames,
            "start_s": start_s,
            "start_utc": self.start.after(start_s) if self.start else None,
            **columns,
        }
        if self._settings.normalization != "pcen":
            loudest = np.array(tile.loudest, np.float32)
            row["norm_offset_db"] = tile.normalization.offset
            row["norm_scale_db"] = tile.normalization.scale
            row["peak_level_db"] = float(tile.normalization.undo(loudest))
        self._rows.add(row)
        self._held.append(tile.values)
        self.tiles += 1
        if len(self._held) == tiles_per_shard(self._settings.tile_size):
            self.flush()

    def flush(self) -> None:
        """Write the tiles that are held."""
        if self._held:
            self._disk.write_shard(self._shard_path(self._shards), self._held)
            self._held = []
            self._shards += 1
