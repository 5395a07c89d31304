"""Tiles and their rows to the disk, while the next ones are computed."""

from collections import deque
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
from ulmo.storage.tables import TableWriter


class _GivenUpError(Exception):
    """What is thrown into the writing of a file that is no longer wanted."""


class Disk:
    """Writes in the order in which it is told to, while the caller computes.

    After something went wrong nothing more is written (no job may be recorded as done whose
    shard failed), and the error is raised at the next call, or at the end.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._pending: deque[Future[None]] = deque()
        self._shard: Future[None] | None = None
        self._failed = False
        self._opened: list[ExitStack] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
        for opened in self._opened:
            with suppress(_GivenUpError), opened:
                raise _GivenUpError
        if kind is None:
            while self._pending:
                self._pending.popleft().result()

    def do(self, write: Callable[..., None], *arguments: Any) -> None:
        """Have something written."""
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._write, write, *arguments))

    def close(self, opened: ExitStack) -> None:
        """Have files published, of which nothing stays if it does not come to that."""
        self._opened.append(opened)
        self.do(self._close, opened)

    def _close(self, opened: ExitStack) -> None:
        self._opened.remove(opened)
        opened.close()

    def _write(self, write: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return
        try:
            write(*arguments)
        except BaseException:
            self._failed = True
            raise

    def write_shard(self, path: Path, tiles: list[Array]) -> None:
        """Have a shard written, once the one before it is: two are held at most."""
        if self._shard is not None:
            self._shard.result()
        self.do(write_shard, path, tiles)
        self._shard = self._pending[-1]


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
        self.shards = 0
        """Shards that are written, or about to be."""

    def add(self, recording: str, tile: NormalizedTile, /, **columns: Any) -> None:
        """Take a tile, and what its row says beside its levels and its place in the shard."""
        row = {
            "recording": recording,
            "shard": self._shard_path(self.shards).name,
            "row": len(self._held),
            "crc32c": checksum(tile.values),
            "valid_frames": tile.valid_frames,
            **columns,
        }
        if self._settings.normalization != "pcen":
            loudest = np.array(tile.loudest, np.float32)
            row["norm_offset_db"] = tile.normalization.offset
            row["norm_scale_db"] = tile.normalization.scale
            row["peak_level_db"] = float(tile.normalization.undo(loudest))
        self._rows.add(row)
        self._held.append(tile.values)
        if len(self._held) == tiles_per_shard(self._settings.tile_size):
            self.flush()

    def flush(self) -> None:
        """Have the disk take what is held."""
        if self._held:
            self._disk.write_shard(self._shard_path(self.shards), self._held)
            self._held = []
            self.shards += 1
