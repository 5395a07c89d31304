"""A whole output folder is one table: one call of a reader takes it."""

from pathlib import Path

import datasets
import pandas as pd
import pyarrow.dataset as arrow
import pytest

from tests.pipelines.recordings import NON_UTF8
from tests.pipelines.test_odd_names import fill
from tests.pipelines.tokenizing import join, record, tokenize
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.read import read_corpus
from ulmo.pipelines.verify.verify import verify
from ulmo.storage.names import portable

TABLES = [name for name, kind in FORMATS.items() if kind.tabular]
SOUNDS = ["a.wav", "sub/S_20230501_000000.wav", "sub/deep/z.wav"]  # the first has no time


@pytest.fixture
def field(tmp_path):
    for number, name in enumerate(SOUNDS):
        record(tmp_path / "field" / name, seconds=1 + number)
    return tmp_path / "field"


@pytest.mark.parametrize("sounds", [SOUNDS[:1], SOUNDS])
@pytest.mark.parametrize("name", TABLES)
def test_datasets_loads_the_folder(name, sounds, tokenizer, field, tmp_path, monkeypatch):
    for each in set(SOUNDS) - set(sounds):
        (field / each).unlink()
    out = tmp_path / "out"
    tokenize(tokenizer, field, out=out, file_format=name)
    data = load(out, monkeypatch)
    assert sorted(set(data["recording"])) == sounds
    ids = sum(len(each) if isinstance(each, list) else 1 for each in data[name_of(name)])
    assert ids == sum(25 * (1 + SOUNDS.index(each)) * 4 for each in sounds)


def load(out, monkeypatch):
    """The one split that datasets makes of an output."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    (split,) = datasets.load_dataset(str(out), cache_dir=f"{out}.cache").values()
    return split


def name_of(file_format):
    return "id" if file_format == "csv" else "ids"


def arrow_table(out, file_format):
    kind = {"jsonl": "json"}.get(file_format, file_format)
    return arrow.dataset(out / "tokens", format=kind).to_table()


@pytest.mark.parametrize("name", TABLES)
def test_arrow_reads_every_file_in_tokens(name, tokenizer, field, tmp_path):
    """As pandas and Polars do, which take each file that lies there."""
    out = tmp_path / "out"
    tokenize(tokenizer, field, out=out, file_format=name)
    ending = FORMATS[name].suffixes[0]
    files = [path for path in (out / "tokens").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == sorted(
        f"{each.rsplit('/')[-1].removesuffix('.wav')}{ending}" for each in SOUNDS
    )
    table = arrow_table(out, name)
    assert sorted(set(table["recording"].to_pylist())) == SOUNDS
    ends = pd.DataFrame({"recording": table["recording"], "end": table["end_s"]})
    assert ends.groupby("recording")["end"].max().tolist() == [1.0, 2.0, 3.0]


MEANT = [
    *("_x.wav", "_a/x.wav", "a/_b/__x.wav", "channel=7/x.wav", "channel=/y=.wav", "a/site=3/x.wav"),
    *("recording=q/x.wav", "a::b.wav", "a::/:::x.wav", "a\\b.wav", "\\d\\/x.wav", "%5Fx.wav"),
    *("train/x.wav", "test_x.wav", "validation-00000-of-00002.wav", "dev/eval/x.wav", "plain.wav"),
    *("$HOME.wav", "[a]*{b}.gz?#.wav", NON_UTF8, "x_x.wav", "x_x.flac"),
]
"""Names that pandas, pyarrow, fsspec, DuckDB, Polars or datasets take for more than names."""


@pytest.mark.parametrize("name", TABLES)
def test_names_that_mean_something_to_readers(name, tokenizer, tmp_path, monkeypatch):
    field, hidden, out = fill(tmp_path / "field", *MEANT), tmp_path / ".x.wav", tmp_path / "out"
    fill(tmp_path, hidden.name)
    tokenize(tokenizer, hidden, field, out=out, file_format=name)
    expected = sorted([str(hidden), *(portable(Path(each)) for each in MEANT)])
    tables = [load(out, monkeypatch).to_pandas(), arrow_table(out, name).to_pandas()]
    if name == "parquet":
        tables.append(pd.read_parquet(out / "tokens"))
    for table in tables:
        assert sorted(set(table["recording"])) == expected
        assert table["channel"].isna().all()
        assert list(table.columns) == list(tables[0].columns)
    assert sorted(header.recording for header, _ in read_corpus(out)) == expected
    assert verify(out).faults == []
    again = tokenize(tokenizer, hidden, field, out=out, file_format=name)
    assert all(result.reused for result in again)


def test_names_of_arrays_are_those_of_the_recordings(tokenizer, tmp_path):
    """No program reads a folder of them as one."""
    record(tmp_path / "field/site=3/_x.wav", seconds=0.1)
    (result,) = tokenize(tokenizer, tmp_path / "field", out=tmp_path / "out")
    assert result.outputs == [tmp_path / "out/tokens/site=3/_x.tokens.npy"]


@pytest.mark.parametrize("name", TABLES)
def test_a_name_that_is_too_long_once_encoded_is_a_row(name, tokenizer, tmp_path):
    for each in ("=" * 100, "e" * 100):
        record(tmp_path / "field" / f"{each}.wav", seconds=0.1)
    out = tmp_path / "out"
    refused, good = tokenize(tokenizer, tmp_path / "field", out=out, file_format=name)
    assert (refused.outcome.reason, len(good.outputs)) == ("unwritable", 1)
    assert "File name too long" in refused.outcome.detail
    assert verify(out).faults == []


def test_a_readme_of_the_user_stays(tokenizer, field, tmp_path):
    readme = tmp_path / "out" / "README.md"
    readme.parent.mkdir()
    readme.write_text("mine")
    tokenize(tokenizer, field, out=readme.parent, file_format="csv")
    assert readme.read_text() == "mine"


def test_timelines_of_one_name_share_a_header(tokenizer, tmp_path):
    path = record(tmp_path / SOUNDS[1])
    for name in ("npy", *TABLES):
        join(tokenizer, path, out=tmp_path / f"t.v2.{name}", file_format=name)
    for name in ("npy", *TABLES):
        ((header, _),) = read_corpus(tmp_path / f"t.v2.{name}")
        assert header.recording == "t.v2"


def test_the_header_of_another_table_beside_it_is_left_alone(tokenizer, field, tmp_path):
    tokenize(tokenizer, field, out=tmp_path / "all.csv", file_format="csv")
    tokenize(tokenizer, field, out=tmp_path / "all.jsonl", file_format="jsonl")
    for name in ("y.wav", "z.wav"):
        record(tmp_path / "others" / name)
    with pytest.raises(
        UserError, match=r"all\.json cannot be written: it also describes all\.csv, "
    ):
        tokenize(
            tokenizer, tmp_path / "others", out=tmp_path / "all.parquet", file_format="parquet"
        )
    for name in ("all.csv", "all.jsonl"):
        assert len(list(read_corpus(tmp_path / name))) == len(SOUNDS)
