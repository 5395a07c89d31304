"""Tables of recordings that a stranger changed and sealed again: values that no recording has."""

import pyarrow.parquet as pq
import pytest

from tests import commands
from tests.outputs import make_tiles, write_table
from tests.pipelines.test_foreign_text import assert_tame
from tests.pipelines.tokenizing import record, tokenize
from tests.sealed import seal_tables
from ulmo.cli.main import ulmo
from ulmo.reports.progress import named_lines

PREP = ("--frontend", "stft", "-M", "8", "--sample-rate", "1000", "--hop-length", "16")
WILD = "\x1b[31mred\x1b]0;title\x07"
VALUES = {
    "reason": {"status": "partial", "reason": WILD},
    "flag": {"flags": [WILD]},
    "peak": {"flags": ["unscaled"], "peak_db": 1e5},
    "rate": {"flags": ["above_bandwidth"], "sample_rate": None},
    "hours": {"duration_s": 1e308},
    "share": {"share_above": float("nan")},
}


def change(folder, values, manifest):
    table = pq.read_table(folder / "recordings.parquet")
    rows = [{**row, **values} for row in table.to_pylist()]
    write_table(folder / "recordings.parquet", rows, table.schema)
    seal_tables(folder, manifest)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_tiles(values, tmp_path):
    """ulmo-prep says nothing of such rows, and makes them anew."""
    out = make_tiles(tmp_path / "tiles")
    good = (out / "recordings.parquet").read_bytes()
    change(out, values, "prep.json")
    verified = commands.run(ulmo, "verify", out)
    assert verified.exit_code == 3
    assert "recordings.parquet" in verified.output
    assert_tame(verified.output)
    again = commands.run(
        ulmo, "prep", tmp_path / "audio", out, *PREP, "--normalization", "tile", "--workers", 1
    )
    assert again.exit_code == 0, again.output
    assert_tame(again.stdout)
    assert (out / "recordings.parquet").read_bytes() == good


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_tokens(values, tokenizer, tmp_path):
    """ulmo-tokenize makes the tokens of such rows anew."""
    record(tmp_path / "audio" / "a.wav")
    out = tmp_path / "out"
    tokenize(tokenizer, tmp_path / "audio", out=out)
    good = (out / "recordings.parquet").read_bytes()
    change(out, values, "tokenize.json")
    (result,) = tokenize(tokenizer, tmp_path / "audio", out=out)
    assert not result.reused
    assert (out / "recordings.parquet").read_bytes() == good


def test_what_is_named_can_be_printed():
    found = [("a", WILD, WILD)] * 12
    assert_tame("\n".join(named_lines("partial", found)))
