"""A whole output folder is one table: one call of a reader takes it."""

import datasets
import pandas as pd
import pyarrow.dataset as arrow
import pytest

from tests.pipelines.tokenizing import join, record, tokenize
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.read import read_corpus

TABLES = [name for name, kind in FORMATS.items() if kind.tabular]
SOUNDS = ["a.wav", "sub/S_20230501_000000.wav", "sub/deep/z.wav"]  # the first has no time


@pytest.fixture
def field(tmp_path):
    for number, name in enumerate(SOUNDS):
        record(tmp_path / "field" / name, seconds=1 + number)
    return tmp_path / "field"


@pytest.mark.parametrize("sounds", [SOUNDS[:1], SOUNDS])
@pytest.mark.parametrize("name", TABLES)
def test_datasets_loads_the_folder_and_the_tokens_in_it(
    name, sounds, tokenizer, field, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    for each in set(SOUNDS) - set(sounds):
        (field / each).unlink()
    out = tmp_path / "out"
    tokenize(tokenizer, field, out=out, file_format=name)
    for number, folder in enumerate((out, out / "tokens")):
        cache = str(tmp_path / f"cache{number}")
        data = datasets.load_dataset(str(folder), cache_dir=cache)["train"]
        assert sorted(set(data["recording"])) == sounds
        ids = sum(len(each) if isinstance(each, list) else 1 for each in data[name_of(name)])
        assert ids == sum(25 * (1 + SOUNDS.index(each)) * 4 for each in sounds)


def name_of(file_format):
    return "id" if file_format == "csv" else "ids"


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
    kind = {"jsonl": "json"}.get(name, name)
    table = arrow.dataset(out / "tokens", format=kind).to_table()
    assert sorted(set(table["recording"].to_pylist())) == SOUNDS
    ends = pd.DataFrame({"recording": table["recording"], "end": table["end_s"]})
    assert ends.groupby("recording")["end"].max().tolist() == [1.0, 2.0, 3.0]


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
