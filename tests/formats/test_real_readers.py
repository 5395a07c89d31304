"""Other people's programs open the files, and find in them what was written."""

import csv
import itertools
import struct
from datetime import UTC

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tokenizers

from tests.formats.streams import EOS, UNK, UTC_START, save, some
from ulmo.formats.labels import token_text
from ulmo.formats.rows import ROW_COLUMNS
from ulmo.formats.vocabulary import vocabulary_json
from ulmo.vocabulary import SPECIAL_TOKENS, Vocabulary

RECORDINGS = some((5, 0, 9000))
ROW_STARTS = [(0, 0), (2, 0), (2, 4096), (2, 8192)]
"""(recording, column) of each row of a table."""


COLUMNS = [
    *("recording", "channel", "start_utc", "start_s", "end_s", "hop_s", "bands"),
    *("edges_hz", "ids", "unk_rate"),
]


def pieces():
    """The header, the first column and the ids of each row of a table."""
    for number, column in ROW_STARTS:
        header, ids = RECORDINGS[number]
        yield header, column, ids[column : column + ROW_COLUMNS]


def utc_of(header, column):
    """Independently, from pandas' integer nanoseconds; start is 80 samples."""
    if header.start_utc is None:
        return pd.NaT
    samples = header.start + column * header.hop
    return pd.Timestamp(UTC_START) + pd.Timedelta(round(samples * 1_000_000 / 16_000), unit="us")


@pytest.mark.parametrize("name", ["parquet", "jsonl"])
def test_pandas_reads_tables(name, tmp_path):
    path = save(tmp_path / f"x.tokens.{name}", name, RECORDINGS)
    if name == "parquet":
        frame = pd.read_parquet(path)
        assert str(frame["start_utc"].dtype) == "datetime64[us, UTC]"
        assert {ids.dtype for ids in frame["ids"]} == {np.dtype(np.uint16)}
    else:
        frame = pd.read_json(path, lines=True, dtype=False)
        frame["start_utc"] = pd.to_datetime(frame["start_utc"], format="ISO8601")
    assert list(frame.columns) == COLUMNS
    for (header, column, ids), row in zip(pieces(), frame.to_dict("records"), strict=True):
        for found, expected in (
            (row["start_utc"], utc_of(header, column)),
            (row["channel"], header.channel),
        ):
            assert found == expected or (pd.isna(found) and pd.isna(expected))
        assert row["recording"] == header.recording
        assert row["start_s"] == (header.start + column * header.hop) / 16_000
        end = min((column + len(ids)) * 2560, header.frames * 160)
        assert row["end_s"] == (header.start + end) / 16_000
        assert (row["hop_s"], row["bands"]) == (0.16, 3)
        assert list(row["edges_hz"]) == [0.0, 50.5, 1000.0, 8010.25]
        np.testing.assert_array_equal(np.array(row["ids"]).reshape(-1, 3), ids)
        assert row["unk_rate"] == pytest.approx((ids == UNK).mean())


def test_parquet_tells_its_grid_and_vocabulary(tmp_path):
    path = save(tmp_path / "x.tokens.parquet", "parquet", RECORDINGS)
    metadata = pq.read_schema(path).metadata
    assert metadata[b"ulmo"].decode() == RECORDINGS[0][0].grid.model_dump_json()
    assert b'"special_tokens":{"<bos>":18,"<eos>":19,' in metadata[b"ulmo.vocabulary"]
    assert pq.ParquetFile(path).metadata.row_group(0).column(8).compression == "ZSTD"


@pytest.mark.parametrize("name", ["parquet", "json"])
def test_datasets_reads_tables(name, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    ending = {"json": "jsonl"}.get(name, name)
    path = save(tmp_path / f"x.tokens.{ending}", ending, RECORDINGS)
    files = {"train": str(path)}
    data = datasets.load_dataset(name, data_files=files, cache_dir=str(tmp_path / "cache"))
    if name == "parquet":
        assert data["train"].features["ids"] == datasets.List(datasets.Value("uint16"))
    for row, (header, _, ids) in zip(data["train"], pieces(), strict=True):
        assert row["recording"] == header.recording
        assert row["ids"] == ids.reshape(-1).tolist()


def test_pandas_reads_csv_with_its_defaults(tmp_path):
    frame = pd.read_csv(save(tmp_path / "x.tokens.csv", "csv", RECORDINGS))
    names = ["recording", "channel", "start_s", "end_s", "low_hz", "high_hz", "start_utc", "id"]
    assert list(frame.columns) == names
    ids = np.concatenate([ids for _, ids in RECORDINGS])
    np.testing.assert_array_equal(frame["id"].to_numpy().reshape(-1, 3), ids)
    assert frame["id"].dtype == np.int64
    assert frame["low_hz"].tolist() == [0.0, 50.5, 1000.0] * len(ids)
    assert frame["high_hz"].tolist() == [50.5, 1000.0, 8010.25] * len(ids)
    assert (frame["end_s"] > frame["start_s"]).all()
    long = frame[frame["recording"] == RECORDINGS[2][0].recording]
    assert (long["channel"] == 2).all()
    assert frame["channel"][:15].isna().all()
    assert pd.to_datetime(frame["start_utc"][:15]).isna().all()
    times = pd.to_datetime(long["start_utc"])
    assert times.iloc[-1] == utc_of(RECORDINGS[2][0], 8999)
    assert times.dt.tz == UTC
    begins = (80 + np.arange(9000) * 2560) / 16_000
    np.testing.assert_array_equal(long["start_s"], begins.repeat(3))
    assert long["end_s"].iloc[-1] == (80 + RECORDINGS[2][0].frames * 160) / 16_000


def test_csv_is_rfc_4180(tmp_path):
    path = save(tmp_path / "x.tokens.csv", "csv", RECORDINGS)
    content = path.read_bytes()
    lines = 1 + sum(ids.size for _, ids in RECORDINGS)
    assert content.count(b"\r\n") == content.count(b"\n") == lines
    with path.open(newline="", encoding="utf-8") as file:
        assert {len(row) for row in csv.reader(file, strict=True)} == {8}


def test_numpy_maps_bin(tmp_path):
    path = save(tmp_path / "x.tokens.bin", "bin", RECORDINGS)
    mapped = np.memmap(path, np.uint16, "r")
    expected = [part for _, ids in RECORDINGS for part in (ids.reshape(-1), [EOS])]
    np.testing.assert_array_equal(mapped, np.concatenate(expected))


def read_megatron(prefix):
    """Documents, by the published layout of .bin and .idx, written here on its own."""
    index = prefix.with_name(prefix.name + ".idx").read_bytes()
    data = prefix.with_name(prefix.name + ".bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert int.from_bytes(index[9:17], "little") == 1
    width = {1: 1, 4: 4, 8: 2}[index[17]]
    sequences, borders = struct.unpack("<QQ", index[18:34])
    fields = struct.unpack(f"<{sequences}i{sequences}q{borders}q", index[34:])
    lengths, rest = fields[:sequences], fields[sequences:]
    pointers, documents = rest[:sequences], rest[sequences:]
    assert documents[0] == 0
    assert documents[-1] == sequences
    for first, last in itertools.pairwise(documents):
        tokens = []
        for sequence in range(first, last):
            start = pointers[sequence]
            piece = data[start : start + width * lengths[sequence]]
            assert len(piece) == width * lengths[sequence]
            tokens += struct.unpack(f"<{lengths[sequence]}H", piece)
        yield tokens


def test_megatron_documents(tmp_path):
    save(tmp_path / "x.tokens.bin", "megatron", RECORDINGS)
    documents = list(read_megatron(tmp_path / "x.tokens"))
    assert documents == [[*ids.reshape(-1).tolist(), EOS] for _, ids in RECORDINGS]


@pytest.mark.parametrize("size", [2, 512, 65_472])
def test_tokenizers_load_the_vocabulary(size, tmp_path):
    path = tmp_path / "vocabulary.json"
    path.write_text(vocabulary_json(size))
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    vocabulary = Vocabulary(size)
    assert tokenizer.get_vocab_size() == size + len(SPECIAL_TOKENS)
    assert type(tokenizer.model).__name__ == "WordLevel"
    assert tokenizer.model.unk_token == "<unk>"
    for token in (0, 1, size - 1, *vocabulary.specials().values()):
        assert tokenizer.id_to_token(token) == token_text(vocabulary, token)
        assert tokenizer.token_to_id(token_text(vocabulary, token)) == token
    added = tokenizer.get_added_tokens_decoder()
    assert {token.content: number for number, token in added.items()} == vocabulary.specials()
    assert all(token.special for token in added.values())
    assert token_text(vocabulary, size + 6) == f"<id{size + 6}>"  # unused, and no token
    assert tokenizer.token_to_id(f"<id{size + 6}>") is None
    assert path.read_text().isascii()


def test_tokenizers_encode_and_decode():
    tokenizer = tokenizers.Tokenizer.from_str(vocabulary_json(512))
    text = "c17 <gap> c0\nc511  c512 x c17,c18 <gap>c3"
    assert tokenizer.encode(text).ids == [17, 517, 0, 511, 512, 512, 512, 517, 3]
    ids = [17, 515, 0]
    assert tokenizer.decode(ids, skip_special_tokens=False) == "c17 <eos> c0"
    assert tokenizer.decode(ids) == "c17 c0"
