"""Verifying tiles: tables, shards and recordings must agree; removing what is damaged."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ulmo.config import UserError
from ulmo.jobs.outcome import Prepared
from ulmo.preprocessing.store import (
    AGAIN,
    BESIDE,
    DELETE,
    GO_ON,
    ROWS,
    TilesManifest,
    checksum,
    fingerprint_head,
    open_shard,
    read_manifest,
    read_tiles_table,
    tiles_there,
)
from ulmo.preprocessing.tile_rows import SHARD
from ulmo.storage.atomic import is_temporary
from ulmo.storage.faults import (
    Fault,
    Findings,
    Kind,
    What,
    fault_of,
    has_any,
    left_overs,
    name_in,
    remove_faulty,
)
from ulmo.storage.ledger import Ledger
from ulmo.storage.manifest import TABLE, LedgerFiles
from ulmo.storage.plain_file import lexists
from ulmo.storage.tables import texts_of

_REPAIR = f"ulmo verify DIR --repair removes it; then {GO_ON}"
_MOVE = "move it elsewhere: it is not ulmo's"
_NEW_FOLDER = "prepare into a new folder with ulmo-prep"


class _Places(NamedTuple):
    """Where the tiles of a shard lie in it, and their checksums, in the order of tiles.parquet."""

    rows: NDArray[np.int32]  # (n,)
    checksums: NDArray[np.uint32]  # (n,)


class _Row(NamedTuple):
    """What is compared of a row of recordings.parquet."""

    path: str
    tiles: int
    stretches: int


def _check(folder: Path) -> Findings:
    """Check everything in an output of ulmo-prep, each tile's checksum too.

    Raises NewerError if a newer ulmo wrote it.
    """
    faults = left_overs(folder, _temporaries(folder))
    files = LedgerFiles.inside(folder, "prep")
    if not lexists(files.manifest):
        detail = "there are tiles, but nothing that describes them"
        return Findings({}, [*faults, Fault("prep.json", "missing", detail, _NEW_FOLDER)])
    try:
        ledger = Ledger(files, TilesManifest, Prepared, remedy=GO_ON, anew=_NEW_FOLDER)
    except UserError as error:
        return Findings({}, [*faults, fault_of("prep.json", error, _NEW_FOLDER)])
    manifest = ledger.manifest
    found = ledger.check()
    if not manifest.complete:
        return Findings({}, found)
    faults += found
    counts = {"recordings": manifest.recordings, "tiles": manifest.tiles}
    try:
        tiles = read_tiles_table(folder, manifest)
    except UserError as error:
        if lexists(folder / "tiles.parquet"):
            faults.append(fault_of("tiles.parquet", error, GO_ON, AGAIN, DELETE))
        else:
            faults.append(Fault("tiles.parquet", "missing", "prep.json names it", GO_ON))
        return Findings(counts, [*faults, *_check_forms(folder, manifest)])
    shards = _places(tiles)
    counts["shards"] = len(shards)
    faults += _orphans(folder, set(shards))
    for name, places in shards.items():
        faults += _check_shard(folder, manifest, name, places)
    faults += _check_fingerprint(manifest, tiles)
    if len(tiles) > tiles_there(folder, manifest):
        return Findings(counts, faults)  # which say so: more rows than tiles are not looked into
    rows = [] if found else [_Row(row.path, row.tiles, row.stretches) for row in ledger.rows()]
    faults += _check_times(manifest, tiles, {row.path: row.stretches for row in rows})
    if not found:
        faults += _check_recordings(manifest, tiles, rows)
    return Findings(counts, faults)


def _mend(folder: Path, faults: list[Fault]) -> list[str]:
    """Remove damaged shards and left-overs; the same ulmo-prep prepares the shards again.

    A table stays until another is made; so do files that cannot be read.
    """

    @cache
    def recorded() -> tuple[TilesManifest, dict[str, _Places]] | None:
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        return manifest, _places(read_tiles_table(folder, manifest))

    def is_whole(path: Path) -> bool:
        """Whether a shard has the checksums in tiles.parquet."""
        if path.parent != folder / "tiles" or (found := recorded()) is None:
            return False
        manifest, shards = found
        places = shards.get(path.name)
        return places is not None and not any(_check_shard(folder, manifest, path.name, places))

    return remove_faulty(folder, faults, _is_removable, is_whole)


def _is_removable(fault: Fault) -> bool:
    """Only what has a name that ulmo gives; others' files stay."""
    folder, _, name = fault.path.rpartition("/")
    is_shard = folder == "tiles" and SHARD.fullmatch(name) is not None
    return fault.what == "left_over" or (
        is_shard and fault.what in ("orphan", "damaged", "disagrees") and fault.remedy != _MOVE
    )


def _check_forms(folder: Path, manifest: TilesManifest) -> Iterator[Fault]:
    """The forms of shards, if no table has their checksums."""
    for path in sorted((folder / "tiles").glob("*.npy")):
        if SHARD.fullmatch(path.name):
            try:
                open_shard(path, manifest.settings.tile_size)
            except (UserError, OSError, ValueError) as error:
                yield fault_of(f"tiles/{path.name}", error, _REPAIR, DELETE)


def _temporaries(folder: Path) -> list[Path]:
    """What a killed job may have left: half-written files, and the records of its jobs."""
    inside = folder / "tiles"
    places = [*folder.iterdir(), *(filter(_is_ours, inside.iterdir()) if inside.is_dir() else [])]
    found = sorted(path for path in places if is_temporary(path))
    return [*found, *(path for name in (ROWS, BESIDE) if (path := folder / name).exists())]


def _orphans(folder: Path, named: set[str]) -> Iterator[Fault]:
    """Files below tiles/ that no row names."""
    for path in sorted((folder / "tiles").glob("*")):
        is_ours = _is_ours(path)
        if path.name not in named and not (is_ours and is_temporary(path)):
            detail = "no row of tiles.parquet names it"
            yield Fault(name_in(path, folder), "orphan", detail, "delete it" if is_ours else _MOVE)


def _is_ours(path: Path) -> bool:
    """Whether a path in tiles/ is one that ulmo makes: a shard, or one that is half-written."""
    is_folder = path.is_dir() and not path.is_symlink()
    return not is_folder and (is_temporary(path) or SHARD.fullmatch(path.name) is not None)


def _places(tiles: pa.Table) -> dict[str, _Places]:
    """The row in its shard and the CRC-32C of each tile, by shard."""
    named = tiles["shard"].combine_chunks().dictionary_encode()
    rows, sums = tiles["row"].to_numpy(), tiles["crc32c"].to_numpy()
    order = np.argsort(named.indices.to_numpy(), kind="stable")
    ends = np.cumsum(np.bincount(named.indices.to_numpy(), minlength=len(named.dictionary)))
    parts = np.split(order, ends[:-1])
    names = named.dictionary.to_pylist()
    return {name: _Places(rows[part], sums[part]) for name, part in zip(names, parts, strict=False)}


def _check_shard(
    folder: Path, manifest: TilesManifest, name: str, places: _Places
) -> Iterator[Fault]:
    path = f"tiles/{name}"
    if not (folder / path).exists():
        yield Fault(path, "missing", f"{len(places.rows)} tiles should be in it", GO_ON)
        return
    try:
        shard = open_shard(folder / path, manifest.settings.tile_size)
    except (UserError, OSError, ValueError) as error:
        yield fault_of(path, error, _REPAIR, DELETE)
        return
    count = len(places.rows)
    if (np.sort(places.rows) != np.arange(count)).any():
        what: What = "duplicate" if len(np.unique(places.rows)) < count else "disagrees"
        yield _of_table(what, f"its rows of {name} are not one for each tile")
        return
    if len(shard) != count:
        detail = f"it has {len(shard)} tiles, and tiles.parquet names {count} rows of it"
        yield Fault(path, "disagrees", detail, _REPAIR)
        return
    wrong = [row for row, crc in zip(*places, strict=True) if checksum(shard[row]) != crc]
    if wrong:
        detail = (
            f"{len(wrong)} of {len(shard)} tiles have another checksum, the first tile {wrong[0]}"
        )
        yield Fault(path, "damaged", detail, _REPAIR)


def _check_fingerprint(manifest: TilesManifest, tiles: pa.Table) -> Iterator[Fault]:
    digest = hashlib.sha256(fingerprint_head(manifest))
    digest.update(tiles["crc32c"].to_numpy().astype("<u4").tobytes())
    if digest.hexdigest() != manifest.fingerprint:
        detail = "the fingerprint is not that of these tiles"
        yield Fault("prep.json", "disagrees", detail, _NEW_FOLDER)
    if len(tiles) != manifest.tiles:
        detail = f"it has {len(tiles)} rows, and prep.json says {manifest.tiles}"
        yield _of_table("disagrees", detail)


def _check_recordings(
    manifest: TilesManifest, tiles: pa.Table, rows: Sequence[_Row]
) -> Iterator[Fault]:
    """Each recording has one row, and as many tiles as the row says."""
    if len(rows) != manifest.recordings:
        detail = f"it has {len(rows)} rows, and prep.json says {manifest.recordings}"
        yield _of_table("disagrees", detail, TABLE)
    for path, count in Counter(row.path for row in rows).items():
        if count > 1:
            yield _of_table("duplicate", f"{path} has {count} rows", TABLE)
    made = Counter(texts_of(tiles["recording"]))
    for row in rows:
        if made[row.path] != row.tiles:
            there = f"{row.tiles} tiles there, and {made[row.path]} in tiles.parquet"
            yield _of_table("disagrees", f"{row.path} has {there}", TABLE)
    for path in sorted(made.keys() - {row.path for row in rows}):
        yield _of_table("missing", f"{path} has tiles, and no row", TABLE)


def _check_times(
    manifest: TilesManifest, tiles: pa.Table, stretches: dict[str, int]
) -> Iterator[Fault]:
    """The tiles of a channel follow one another, each at its own place.

    A recording has a gap before each of its stretches, at most.
    """
    names = ("channel", "view", "tile", "start_sample")
    streams: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for recording, channel, view, tile, start in zip(
        texts_of(tiles["recording"]), *(tiles[name].to_pylist() for name in names), strict=True
    ):
        streams.setdefault((recording, channel, view), []).append((tile, start))
    step = manifest.settings.tile_hop * manifest.settings.hop_length
    for (recording, channel, view), found in streams.items():
        numbers = [tile for tile, _ in found]
        stream = recording if channel is None else f"channel {channel} of {recording}"
        if len(set(numbers)) < len(numbers):
            yield _of_table("duplicate", f"{stream}: a tile stands twice in view {view}")
        elif numbers != list(range(len(numbers))):
            gap = min(set(range(len(numbers) + 1)) - set(numbers))
            yield _of_table("gap", f"{stream}: tile {gap} is not there in view {view}")
        elif view == 0:
            late = np.diff([start for _, start in found], prepend=-step) - step
            gaps = stretches.get(recording, 1) - 1 if stretches else len(found)
            if np.count_nonzero(late[1:]) > gaps or (late <= -step).any():
                yield _of_table("gap", f"{stream}: its tiles do not begin every {step} samples")


def _of_table(what: What, detail: str, table: str = "tiles.parquet") -> Fault:
    """A fault of a table, which no repair mends."""
    return Fault(table, what, detail, _NEW_FOLDER)


TILES = Kind(has_any("prep.json", "tiles.parquet"), _check, _mend)
