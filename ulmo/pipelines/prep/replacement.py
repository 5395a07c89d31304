"""An output with tiles is replaced by a complete one, which was made in a folder beside it.

The manifest says first that the output is not complete. Then shards and tables are moved, and at
last it says that the output is complete. A job that is killed on the way is finished by the next
one, from what is there: no recording is read for it.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from ulmo.config import UserError
from ulmo.pipelines.prep.changes import PrepLedger, prep_ledger
from ulmo.preprocessing.store import (
    BESIDE,
    GO_ON,
    ROWS,
    TilesManifest,
    read_manifest,
    read_tiles_table,
    tiles_there,
)
from ulmo.preprocessing.tile_rows import SHARD
from ulmo.storage.atomic import is_temporary, make_folder
from ulmo.storage.faults import reading_error
from ulmo.storage.ledger import refuse_folders
from ulmo.storage.lock import LOCK
from ulmo.storage.manifest import TABLE, LedgerFiles
from ulmo.storage.open_folder import open_folder
from ulmo.storage.plain_file import file_hash, lexists

TILES_TABLE = "tiles.parquet"
CHOOSE = "choose a new folder"


def replace_output(folder: Path, ledger: PrepLedger, made: TilesManifest) -> None:
    """Replace the output in `folder` by the complete one beside it.

    `ledger` is that of the output here, `made` the manifest of the other. Shards that the other
    output names and does not have are those that are here. Raises UserError, and changes nothing,
    if one is in neither.
    """
    beside = folder / BESIDE
    shards = sorted((beside / "tiles").glob("*.npy"))
    tables = [path for name in (TILES_TABLE, TABLE) if (path := beside / name).exists()]
    refuse_folders(*(folder / path.relative_to(beside) for path in (*shards, *tables)))
    places = (beside, folder) if (beside / TILES_TABLE).exists() else (folder, beside)
    tiles = read_tiles_table(places[0], made, elsewhere=tiles_there(places[1], made))
    named = frozenset(tiles["shard"].unique().to_pylist())
    moved = {path.name for path in shards}
    lost = [f"tiles/{name}" for name in named - moved if not lexists(folder / "tiles" / name)]
    if not lexists(beside / TABLE) and file_hash(folder / TABLE) != made.hashes.get(TABLE):
        lost.append(TABLE)
    if lost:
        raise UserError(f"{beside} has lost {min(lost)}: delete this folder, and {GO_ON}")
    make_folder(folder / "tiles", CHOOSE, below=folder)
    ledger.replace(made)
    ledger.update(complete=False)
    move_files(beside, folder, shards)
    remove_others(folder, named)
    move_files(beside, folder, tables)
    ledger.update(complete=True)


def finish_replacement(folder: Path) -> None:
    """Finish the replacement of an output, if a job was killed before it had ended.

    Only then is the output here not complete, and the one beside it is.
    """
    try:
        here, made = read_manifest(folder), read_manifest(folder / BESIDE)
    except UserError as error:
        if reading_error(error):
            raise
        return  # damaged: whoever opens the output says so
    if here is not None and made is not None and made.complete and not here.complete:
        replace_output(folder, prep_ledger(folder), made)


def move_files(beside: Path, folder: Path, paths: Sequence[Path]) -> None:
    """Move files from the folder `beside`, which lies in `folder`, to the same places in `folder`.

    Shards come first, and tables last.
    """
    for place in ("tiles", ""):
        names = [path.name for path in paths if path.parent == beside / place]
        with open_folder(folder / place, below=folder) as new:
            if names:
                with open_folder(beside / place, below=folder) as old:
                    for name in names:
                        old.move(name, name, new)
            new.sync()


def remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove the shards of an output but for those with some names."""
    with open_folder(folder / "tiles", below=folder) as shards:
        for name in shards.names():
            if SHARD.fullmatch(name) and name not in names:
                shards.remove(name)


def left_overs(files: LedgerFiles) -> list[Path]:
    """What a killed job may have left in an output; a complete one does not need it."""
    folder, names = files.manifest.parent, (ROWS, BESIDE, LOCK, files.journal.name)
    found = [path for path in folder.iterdir() if is_temporary(path) or path.name in names]
    with suppress(FileNotFoundError, NotADirectoryError):  # or a link, which verify names
        tiles = folder / "tiles"
        with open_folder(tiles, below=folder) as shards:
            found += filter(is_temporary, map(tiles.joinpath, shards.names()))
    return found
