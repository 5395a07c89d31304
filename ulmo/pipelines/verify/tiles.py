"""Verifying tiles: tables, shards and recordings must tell one story; mending them."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ulmo.config import NewerError, UserError
from ulmo.jobs.inputs import list_inputs
from ulmo.pipelines.prep.mend import first_other, whole_table
from ulmo.pipelines.prep.prep import RECORDS, plan_of, prepare
from ulmo.preprocessing.store import (
    AGAIN,
    DELETE,
    SCHEMAS,
    SHARD,
    Manifest,
    checksum,
    fingerprint_head,
    open_shard,
    read_manifest,
    read_manifest_table,
)
from ulmo.storage.atomic import is_temporary
from ulmo.storage.faults import Fault, Findings, What, fault_of, left_overs, remove_any

PREPARE = "ulmo verify DIR --repair --audio AUDIO_DIR prepares it again"
GO_ON = "run the same ulmo-prep again, which goes on where it was"
NEW_FOLDER = "prepare into a new folder with ulmo-prep"

Tables = dict[str, pa.Table]


class _Place(NamedTuple):
    """A row of tiles.parquet."""

    row: int
    crc32c: int


def check_tiles(folder: Path) -> Findings:
    """All that an output of ulmo-prep holds, each tile's checksum too.

    NewerError where a newer ulmo wrote it.
    """
    faults = left_overs(folder, _temporaries(folder))
    try:
        manifest = read_manifest(folder)
    except NewerError:
        raise
    except (UserError, OSError) as error:
        return Findings({}, [*faults, fault_of("prep.json", error, NEW_FOLDER, AGAIN)])
    if manifest is None:
        detail = "there are tiles, and nothing that tells what they are"
        return Findings({}, [*faults, Fault("prep.json", "missing", detail, NEW_FOLDER)])
    if not manifest.complete:
        detail = "the job that makes these tiles has not ended"
        return Findings({}, [Fault("prep.json", "unfinished", detail, GO_ON)])
    tables: Tables = {}
    for table in SCHEMAS:
        try:
            tables[table] = read_manifest_table(folder, manifest, table)
        except (UserError, OSError) as error:
            faults.append(_table_fault(folder, table, error))
    counts = {"recordings": manifest.recordings, "tiles": manifest.tiles}
    tiles, recordings = (tables.get(name) for name in ("tiles.parquet", "recordings.parquet"))
    if tiles is None:
        return Findings(counts, [*faults, *_check_forms(folder, manifest)])
    shards = _places(tiles)
    faults += _orphans(folder, set(shards))
    for name, places in shards.items():
        faults += _check_shard(folder, manifest, name, places)
    if recordings is None:
        return Findings({**counts, "shards": len(shards)}, faults)
    faults += _check_counts(manifest, tiles, recordings)
    faults += _check_recordings(tiles, recordings)
    faults += _check_times(manifest, tiles)
    return Findings({**counts, "shards": len(shards)}, faults)


def mend_tiles(folder: Path, faults: list[Fault]) -> list[str]:
    """Remove shards that are damaged, and what is left over; ulmo-prep prepares them again.

    A table stays until another is made; so does what cannot be read.
    """
    done = []
    for name in dict.fromkeys(fault.path for fault in faults if _is_removable(fault)):
        remove_any(folder / name)
        done.append(f"removed {name}")
    return done


def check_audio(folder: Path, audio: Path) -> None:
    """UserError unless a folder holds the very recordings that the tiles were made of.

    Without prep.json nobody knows, and nothing is prepared either.
    """
    files = list_inputs(audio, folder)
    manifest = _manifest(folder)
    if manifest is None or plan_of(files) == manifest.plan:
        return
    more = len(files) - manifest.recordings
    what = f"{more} more are there now" if more > 0 else "some are gone, or others now"
    table = whole_table(folder, manifest, "recordings.parquet") if manifest.complete else None
    if table is not None and (other := first_other(table, files)):
        what = f"{other} is gone, or another now"
    raise UserError(
        f"{folder} was made of other recordings than those of {audio} ({what}): "
        "name the folder that it was made of, as it was"
    )


def prepare_again(folder: Path, faults: list[Fault], audio: Path, workers: int) -> list[str]:
    """Prepare what is missing, with the settings of prep.json; without it nothing is done.

    Nor where something cannot be read, which may be what seems to be missing.
    """
    manifest = _manifest(folder)
    wanted = any(fault.remedy in (PREPARE, GO_ON) for fault in faults)
    if manifest is None or not wanted or any(fault.what == "unreadable" for fault in faults):
        return []
    summary = prepare(
        audio,
        folder,
        manifest.settings,
        augment=manifest.augment,
        clock=manifest.clock,
        workers=workers,
    )
    return [] if summary.reused else [f"prepared again what was missing, from {audio}"]


def _is_removable(fault: Fault) -> bool:
    is_shard = fault.path.startswith("tiles/")
    return fault.what in ("orphan", "left_over") or (
        is_shard and fault.what in ("damaged", "disagrees")
    )


def _manifest(folder: Path) -> Manifest | None:
    """prep.json; None where it is missing, damaged or unreadable, which is told already."""
    try:
        return read_manifest(folder)
    except (UserError, OSError):
        return None


def _table_fault(folder: Path, name: str, error: Exception) -> Fault:
    if os.path.lexists(folder / name):
        return fault_of(name, error, PREPARE, AGAIN, DELETE)
    return Fault(name, "missing", "prep.json speaks of it", PREPARE)


def _check_forms(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """Shards, of which no table tells the checksums: whether each is one."""
    for path in sorted((folder / "tiles").glob("*.npy")):
        if SHARD.fullmatch(path.name):
            try:
                open_shard(path, manifest.settings.tile_size)
            except (UserError, OSError, ValueError) as error:
                yield fault_of(f"tiles/{path.name}", error, PREPARE, DELETE)


def _temporaries(folder: Path) -> list[Path]:
    """What a kill may have left: half-written files, and the records of jobs of one that ended."""
    inside = folder / "tiles"
    places = [*folder.iterdir(), *(inside.iterdir() if inside.is_dir() else [])]
    found = sorted(path for path in places if is_temporary(path))
    return [*found, *(path for name in RECORDS if (path := folder / name).exists())]


def _orphans(folder: Path, named: set[str]) -> Iterator[Fault]:
    """Files below tiles/ that no row names."""
    for path in sorted((folder / "tiles").glob("*")):
        if path.name not in named and not is_temporary(path):
            yield Fault(
                f"tiles/{path.name}", "orphan", "no row of tiles.parquet names it", "delete it"
            )


def _places(tiles: pa.Table) -> dict[str, list[_Place]]:
    """The rows of each shard."""
    found: dict[str, list[_Place]] = {}
    columns = (tiles[name].to_pylist() for name in ("shard", "row", "crc32c"))
    for shard, row, crc in zip(*columns, strict=True):
        found.setdefault(shard, []).append(_Place(row, crc))
    return found


def _check_shard(
    folder: Path, manifest: Manifest, name: str, places: Sequence[_Place]
) -> Iterator[Fault]:
    path = f"tiles/{name}"
    if not SHARD.fullmatch(name or ""):
        yield Fault("tiles.parquet", "disagrees", f"{name!r} is no name of a shard", NEW_FOLDER)
        return
    if not (folder / path).exists():
        yield Fault(path, "missing", f"{len(places)} tiles should be in it", PREPARE)
        return
    try:
        shard = open_shard(folder / path, manifest.settings.tile_size)
    except (UserError, OSError, ValueError) as error:
        yield fault_of(path, error, PREPARE, DELETE)
        return
    rows = Counter(place.row for place in places)
    if sorted(rows) != list(range(len(places))):
        what: What = "duplicate" if max(rows.values()) > 1 else "disagrees"
        detail = f"its rows of {name} are not one for each tile"
        yield Fault("tiles.parquet", what, detail, NEW_FOLDER)
        return
    if len(shard) != len(places):
        detail = f"it has {len(shard)} tiles, and tiles.parquet names {len(places)} rows of it"
        yield Fault(path, "disagrees", detail, PREPARE)
        return
    wrong = [place.row for place in places if checksum(shard[place.row]) != place.crc32c]
    if wrong:
        detail = (
            f"{len(wrong)} of {len(shard)} tiles have another checksum, the first tile {wrong[0]}"
        )
        yield Fault(path, "damaged", detail, PREPARE)


def _check_counts(manifest: Manifest, tiles: pa.Table, recordings: pa.Table) -> Iterator[Fault]:
    digest = hashlib.sha256(fingerprint_head(manifest))
    digest.update(tiles["crc32c"].to_numpy().astype("<u4").tobytes())
    if digest.hexdigest() != manifest.fingerprint:
        detail = "the fingerprint is not that of these tiles"
        yield Fault("prep.json", "disagrees", detail, NEW_FOLDER)
    for name, expected, table in (
        ("tiles.parquet", manifest.tiles, tiles),
        ("recordings.parquet", manifest.recordings, recordings),
    ):
        if len(table) != expected:
            detail = f"it has {len(table)} rows, and prep.json says {expected}"
            yield Fault(name, "disagrees", detail, NEW_FOLDER)


def _check_recordings(tiles: pa.Table, recordings: pa.Table) -> Iterator[Fault]:
    """Each recording has one row, and the tiles that it speaks of."""
    paths = recordings["path"].to_pylist()
    for path, count in Counter(paths).items():
        if count > 1:
            detail = f"{path} has {count} rows"
            yield Fault("recordings.parquet", "duplicate", detail, NEW_FOLDER)
    made = Counter(tiles["recording"].to_pylist())
    for path, told in zip(paths, recordings["tiles"].to_pylist(), strict=True):
        if made[path] != told:
            detail = f"{path} has {told} tiles there, and {made[path]} in tiles.parquet"
            yield Fault("recordings.parquet", "disagrees", detail, NEW_FOLDER)
    for path in sorted(made.keys() - set(paths)):
        detail = f"{path} has tiles, and no row"
        yield Fault("recordings.parquet", "missing", detail, NEW_FOLDER)


def _check_times(manifest: Manifest, tiles: pa.Table) -> Iterator[Fault]:
    """The tiles of a channel follow one another, each at its own place."""
    names = ("recording", "channel", "view", "tile", "start_sample")
    streams: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for recording, channel, view, tile, start in zip(
        *(tiles[name].to_pylist() for name in names), strict=True
    ):
        streams.setdefault((recording, channel, view), []).append((tile, start))
    step = manifest.settings.tile_hop * manifest.settings.hop_length
    for (recording, channel, view), found in streams.items():
        numbers = [tile for tile, _ in found]
        of = recording if channel is None else f"channel {channel} of {recording}"
        if len(set(numbers)) < len(numbers):
            detail = f"{of}: a tile stands twice in view {view}"
            yield Fault("tiles.parquet", "duplicate", detail, NEW_FOLDER)
        elif numbers != list(range(len(numbers))):
            detail = f"{of}: tile {_first_gap(numbers)} is not there in view {view}"
            yield Fault("tiles.parquet", "gap", detail, NEW_FOLDER)
        elif view == 0 and [start for _, start in found] != [step * tile for tile in numbers]:
            detail = f"{of}: its tiles do not begin every {step} samples"
            yield Fault("tiles.parquet", "gap", detail, NEW_FOLDER)
    valid = tiles["valid_frames"].to_numpy()
    if ((valid < 1) | (valid > manifest.settings.tile_size)).any():
        detail = "valid_frames is not from 1 to the size of a tile"
        yield Fault("tiles.parquet", "disagrees", detail, NEW_FOLDER)


def _first_gap(numbers: list[int]) -> int:
    return int(np.setdiff1d(np.arange(len(numbers) + 1), numbers)[0])
