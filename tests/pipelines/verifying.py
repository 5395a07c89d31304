"""What the tests of ulmo verify share: a flipped byte, other rows, and what is found."""

import errno
import io
import os

import pyarrow.parquet as pq
from click.testing import CliRunner

from tests.outputs import write_table
from tests.sealed import seal_tables
from ulmo.cli.main import ulmo
from ulmo.jobs.outcome import Prepared
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.tables import schema_of

SHARD = "tiles/000000-0000.npy"


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def found(place, **options):
    return {(fault.path, fault.what) for fault in verify(place, **options).faults}


def run_command(*arguments):
    result = CliRunner().invoke(ulmo, ["verify", *map(str, arguments)])
    return result.exit_code, result.output


def change_rows(folder, name, change, row=Prepared, manifest="prep.json"):
    """Other rows in a table, and all sealed: what no checksum tells."""
    schema = TILES_SCHEMA if name == "tiles.parquet" else schema_of(row)
    rows = pq.read_table(folder / name).to_pylist()
    change(rows)
    write_table(folder / name, rows, schema)
    seal_tables(folder, manifest)


def deny(monkeypatch, path, number=errno.EIO):
    """Let no file of that name be opened: for root, too, whom no mode holds off."""

    def guard(function):
        def opened(name, *arguments, **options):
            if not isinstance(name, int) and os.fspath(name) == str(path):
                raise OSError(number, os.strerror(number), str(name))
            return function(name, *arguments, **options)

        return opened

    monkeypatch.setattr(io, "open", guard(io.open))
    monkeypatch.setattr(os, "open", guard(os.open))
