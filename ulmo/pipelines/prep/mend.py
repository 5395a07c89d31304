"""What a complete output of tiles has lost, made again: made beside it, and taken if it fits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ulmo.config import UserError
from ulmo.jobs.inputs import InputFile, portable
from ulmo.pipelines.prep.record import Job
from ulmo.preprocessing.store import SCHEMAS, Manifest, TableName, read_manifest_table
from ulmo.storage.faults import reading_error
from ulmo.storage.sealed import write_sealed

BESIDE = ".again"
"""Folder in an output: what is made again, until it is known to be what it was."""


def lost_shards(out_dir: Path, manifest: Manifest) -> set[str] | None:
    """Shards that tiles.parquet names and that are not there; None where a table is not whole.

    UserError where something cannot be read: it may be whole.
    """
    recordings = whole_table(out_dir, manifest, "recordings.parquet")
    tiles = whole_table(out_dir, manifest, "tiles.parquet")
    if tiles is None or recordings is None:
        return None
    names = tiles["shard"].unique().to_pylist()
    return {name for name in names if not (out_dir / "tiles" / Path(name).name).is_file()}


def whole_table(out_dir: Path, manifest: Manifest, name: TableName) -> pa.Table | None:
    """A table; None where it is missing or damaged, UserError where it cannot be read."""
    try:
        return read_manifest_table(out_dir, manifest, name)
    except (UserError, OSError) as error:
        if denied := reading_error(error):
            raise unreadable(out_dir / name, denied) from None
        return None


def unreadable(path: Path, error: OSError) -> UserError:
    """What to say of a file that may be whole."""
    remedy = "let yourself read it (chmod, chown, or mend the disk), or choose a new folder"
    return UserError(f"{path} cannot be read ({error.strerror}): {remedy}")


def refuse_others(out_dir: Path, present: Manifest, files: Sequence[InputFile]) -> None:
    """Recordings may be added to an output; those that it was made of must still be there.

    A refused one may be mended, or go: nothing was made of it. Without recordings.parquet nobody
    knows them, but that all of them together are others.
    """
    table = whole_table(out_dir, present, "recordings.parquet")
    if table is None:
        raise UserError(
            f"{out_dir} was made of other recordings, and has lost the table of them: name the "
            "folder that it was made of, as it was, or choose a new folder"
        )
    if other := first_other(table, files):
        raise UserError(
            f"{out_dir} was made of other recordings ({other} is gone, or another now): "
            "choose a new folder"
        )


def first_other(recordings: pa.Table, files: Sequence[InputFile]) -> str | None:
    """The first recording of which tiles were made, and that is not among the files as it was."""
    here = {portable(file.path): (file.size, file.ends) for file in files}
    columns = (recordings[name].to_pylist() for name in ("path", "bytes", "ends_crc32c", "status"))
    for path, size, ends, status in zip(*columns, strict=True):
        if status != "refused" and here.get(path) != (size, ends):
            return str(path)
    return None


def begun_again(manifest: Manifest) -> Manifest:
    """The same before anything was made, its constants kept."""
    nothing: dict[str, Any] = {
        "complete": False,
        "recordings": 0,
        "tiles": 0,
        "fingerprint": None,
        "hashes": {},
    }
    return manifest.model_copy(update=nothing)


def jobs_of(jobs: Sequence[Job], shards: set[str]) -> list[Job]:
    """The jobs that made some shards."""
    return [job for job in jobs if any(name.startswith(job.prefix) for name in shards)]


def take_shards(out_dir: Path, manifest: Manifest, jobs: Sequence[Job], shards: set[str]) -> None:
    """Move shards that jobs made again to their place.

    UserError, and nothing is moved, unless they are the very tiles that tiles.parquet tells of.
    """
    tiles = read_manifest_table(out_dir, manifest, "tiles.parquet")
    for job in jobs:
        expected = tiles.filter(pc.starts_with(tiles["shard"], job.prefix))
        if not _rows_of(job).equals(expected):
            raise UserError(
                f"{out_dir}: recordings of its shards {job.prefix}* are not what they were: "
                "choose a new folder"
            )
    (out_dir / "tiles").mkdir(exist_ok=True)
    for job in jobs:
        for name in sorted(name for name in shards if name.startswith(job.prefix)):
            (job.out_dir / "tiles" / name).replace(out_dir / "tiles" / name)


def take_tables(beside: Path, out_dir: Path, manifest: Manifest, made: Manifest) -> None:
    """Move all that was made again to its place, the manifest last.

    UserError, and nothing is moved, unless it tells of the same tiles: of the same fingerprint.
    """
    told = ("recordings", "tiles", "fingerprint")
    if any(getattr(made, name) != getattr(manifest, name) for name in told):
        raise UserError(
            f"{out_dir}: its recordings are not what they were, their tiles differ: "
            "choose a new folder"
        )
    (out_dir / "tiles").mkdir(exist_ok=True)
    for path in sorted((beside / "tiles").glob("*.npy")):
        path.replace(out_dir / "tiles" / path.name)
    for name in SCHEMAS:
        (beside / name).replace(out_dir / name)
    if made != manifest:
        write_sealed(out_dir / "prep.json", made)


def _rows_of(job: Job) -> pa.Table:
    with pq.ParquetFile(job.rows_path) as file:
        return file.read()
