"""Names in sealed files that no path has: whole by their hashes, and all the same not believed."""

import json

import pytest

from tests import commands
from tests.outputs import make_audio
from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import tokenize
from tests.pipelines.verifying import change_rows
from tests.sealed import reseal, seal_tables
from tests.small_tokenizers import RATE
from ulmo.cli import exits
from ulmo.cli.main import ulmo
from ulmo.config import UserError
from ulmo.formats.read import read_corpus
from ulmo.jobs.outcome import Prepared, Tokenized
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import TileStore
from ulmo.storage.manifest import TABLE

HOSTILE = "a\nb\x1b[31m\u202e<img src=x>.wav"
HEADER = "token_headers/a.tokens.json"


def stays_unreadable(folder, name):
    """Whether verify calls a file unreadable, and its repair leaves it; what it says in a line."""
    before = contents(folder)
    result = verify(folder, repair=True)
    assert contents(folder) == before
    (fault,) = [fault for fault in result.faults if fault.path == name]
    assert fault.detail.isprintable()
    return fault.what == "unreadable"


@pytest.fixture
def tokens(tmp_path, tokenizer_of):
    audio = make_audio(tmp_path / "audio", lengths=(3000, 2000), rate=RATE)
    tokenize(tokenizer_of(), audio, out=tmp_path / "tokens")
    return tmp_path / "tokens"


def test_of_a_header(tokens, tmp_path):
    reseal(tokens / HEADER, recording=HOSTILE)
    path = tokens / "tokens" / "a.tokens.npy"
    with pytest.raises(UserError, match="no path as ulmo writes it"):
        list(read_corpus(path))
    assert stays_unreadable(tokens, HEADER)
    out = tmp_path / "x.csv"
    done = commands.run(ulmo, "convert", tokens, "--format", "csv", "--out", out)
    assert done.exit_code == exits.SOME_REFUSED
    assert HOSTILE.encode() not in out.read_bytes()
    assert b"\x1b" not in done.output.encode()


def test_of_a_segment(tokens):
    header = json.loads((tokens / HEADER).read_text())
    segment = {"column": 0, "columns": header["columns"], "offset": 0, "frames": 3000}
    more = {"recording_rate": RATE, "file_frames": 3000, "recording": HOSTILE}
    reseal(tokens / HEADER, segments=[{**segment, **more}])
    assert stays_unreadable(tokens, HEADER)


@pytest.mark.parametrize("change", [{"path": HOSTILE}, {"outputs": [HOSTILE]}])
def test_of_a_row_of_tokens(change, tokens):
    change_rows(
        tokens, TABLE, lambda rows: rows[0].update(change), row=Tokenized, manifest="tokenize.json"
    )
    assert stays_unreadable(tokens, TABLE)


def test_of_a_row_of_recordings(tiles):
    change_rows(tiles, TABLE, lambda rows: rows[0].update(path=HOSTILE), row=Prepared)
    assert stays_unreadable(tiles, TABLE)


def test_of_a_tile(tiles):
    change_rows(tiles, "tiles.parquet", lambda rows: rows[0].update(recording=HOSTILE))
    with pytest.raises(UserError, match="no path as ulmo writes it"):
        TileStore(tiles)
    assert stays_unreadable(tiles, "tiles.parquet")


def test_of_a_manifest(tiles):
    seal_tables(tiles)
    hashes = json.loads((tiles / "prep.json").read_text())["hashes"]
    reseal(tiles / "prep.json", hashes={**hashes, HOSTILE: "ab" * 32})
    assert stays_unreadable(tiles, "prep.json")
