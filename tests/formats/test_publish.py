"""Outputs and what lies beside them: all there, or nothing."""

import gc
from pathlib import Path

import numpy as np
import pytest

from tests.formats.streams import begun, save, some
from tests.moves import at_moves
from tests.outputs import names
from tests.pipelines.recordings import contents
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.header import header_json, read_stored
from ulmo.formats.publish import output_paths, publish_tokens
from ulmo.formats.read import read_corpus
from ulmo.formats.taken import TakenError
from ulmo.formats.vocabulary import vocabulary_json


@pytest.mark.parametrize(
    ("name", "path", "files", "header"),
    [
        ("npy", "a/x.tokens.npy", ["a/x.tokens.npy"], "a/x.tokens.json"),
        ("npy", "x.npy", ["x.npy"], "x.json"),
        *(
            (name, f"x.tokens.{name}", [f"x.tokens.{name}"], "x.tokens.json")
            for name in ("parquet", "csv", "bin")
        ),
        ("jsonl", "x.y.tokens.jsonl", ["x.y.tokens.jsonl"], "x.y.tokens.json"),
        ("megatron", "x.tokens.bin", ["x.tokens.bin", "x.tokens.idx"], "x.tokens.json"),
        ("megatron", "x.tokens.idx", ["x.tokens.bin", "x.tokens.idx"], "x.tokens.json"),
        ("megatron", "x.bin", ["x.bin", "x.idx"], "x.json"),
        ("raven", "x.tokens.selections.txt", ["x.tokens.selections.txt"], "x.tokens.json"),
        ("audacity", "x.labels.txt", ["x.labels.txt"], "x.json"),
    ],
)
def test_names(name, path, files, header):
    outputs = output_paths(Path(path), name)
    assert [each.as_posix() for each in outputs.files] == files
    assert outputs.header.as_posix() == header
    assert outputs.vocabulary.as_posix() == header.removesuffix("json") + "vocabulary.json"


@pytest.mark.parametrize(
    ("name", "path"), [("parquet", "corpus"), ("jsonl", "x.json"), ("raven", "x.txt"), ("bin", "")]
)
def test_a_name_of_another_kind_is_refused(name, path):
    with pytest.raises(UserError, match=rf"is no name for {name}: end it with \.tokens\."):
        output_paths(Path("out", path), name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_header_lies_beside_every_output_and_a_vocabulary_beside_a_corpus(name, tmp_path):
    suffixes = FORMATS[name].suffixes
    recordings = some((5,))
    path = save(tmp_path / f"x{suffixes[0]}", name, recordings)
    made = sorted([*(f"x{suffix}" for suffix in suffixes), "x.tokens.json"])
    assert names(tmp_path) == made
    assert read_stored(tmp_path / "x.tokens.json").header == recordings[0][0]
    save(path, name, recordings, corpus=True)
    trains = name in {"parquet", "jsonl", "megatron", "bin"}
    assert names(tmp_path) == sorted([*made, *["x.tokens.vocabulary.json"] * trains])
    if trains:
        assert (tmp_path / "x.tokens.vocabulary.json").read_text() == vocabulary_json(16)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_what_fails_leaves_what_was_there(name, old, tmp_path):
    (header, ids), *_ = some((5,))
    path = tmp_path / f"x{FORMATS[name].suffixes[0]}"
    if old:
        save(path, name, some((6,)))
    before = contents(tmp_path)

    def fail():
        with publish_tokens(path, name) as writer:
            writer.begin(begun(header))
            writer.write(ids)
            raise KeyError("a bad recording")

    with pytest.raises(KeyError, match="a bad recording"):
        fail()
    with pytest.raises(ValueError, match="to its end"), publish_tokens(path, name) as writer:
        writer.begin(begun(header))
    del writer
    gc.collect(1)  # what is young: all there is takes half a second
    assert contents(tmp_path) == before


def test_a_header_goes_before_the_files_that_it_speaks_of(tmp_path, monkeypatch):
    """A kill before the new one is there leaves none: new tokens never lie beside an old header."""
    path = save(tmp_path / "x.tokens.bin", "bin", some((5,)))
    (tmp_path / "x.tokens.json").write_bytes(header_json([some((7,))[0][0]]))

    def interrupted(move, source, target):
        if target.suffix == ".json":
            raise InterruptedError
        move()

    at_moves(monkeypatch, interrupted)
    with pytest.raises(InterruptedError):
        save(path, "bin", some((6,)))
    assert np.fromfile(path, np.uint16).size == 6 * 3 + 1
    assert names(tmp_path) == ["x.tokens.bin"]


def test_a_header_of_two_formats_stays_throughout(tmp_path, monkeypatch):
    """x.tokens.npy is not left without one while x.tokens.csv is written."""
    save(tmp_path / "x.tokens.npy", "npy", some((5,)))
    at_moves(monkeypatch, lambda *_: (_ for _ in ()).throw(OSError))
    with pytest.raises(OSError, match=r"^$"):
        save(tmp_path / "x.tokens.csv", "csv", some((5,)))
    assert names(tmp_path) == ["x.tokens.json", "x.tokens.npy"]


def test_a_header_speaks_of_all_formats_of_the_same_tokens(tmp_path):
    for name in ("npy", "csv", "megatron", "raven"):
        save(tmp_path / f"x{FORMATS[name].suffixes[0]}", name, some((5,)))
    known = read_stored(tmp_path / "x.tokens.json").hashes
    assert sorted(known) == [".bin", ".csv", ".idx", ".npy", ".selections.txt"]
    for ending in (".npy", ".csv", ".idx", ".bin"):
        ((header, _),) = read_corpus(tmp_path / f"x.tokens{ending}")
        assert header == some((5,))[0][0]
    before = contents(tmp_path)
    with pytest.raises(TakenError, match=r"it also describes x\.tokens\.bin, "):
        save(tmp_path / "x.tokens.csv", "csv", some((6,)))
    assert contents(tmp_path) == before
    for ending in (".npy", ".bin", ".idx", ".selections.txt"):
        (tmp_path / f"x.tokens{ending}").unlink()
    save(tmp_path / "x.tokens.csv", "csv", some((6,)))
    assert list(read_stored(tmp_path / "x.tokens.json").hashes) == [".csv"]


def test_a_header_does_not_depend_on_the_order_of_the_formats(tmp_path):
    names = ("npy", "csv", "raven")
    for folder, order in (("a", names), ("b", names[::-1])):
        (tmp_path / folder).mkdir()
        for name in order:
            save(tmp_path / folder / f"x{FORMATS[name].suffixes[0]}", name, some((5,)))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("content", [b'{"annotations": 1}', b"no JSON", b"[]"])
def test_a_foreign_header_is_not_replaced(content, tmp_path):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(TakenError, match=r"x\.json cannot be written: .*choose another --out"):
        save(tmp_path / "x.csv", "csv", some((5,)))
    assert contents(tmp_path) == {"x.json": content}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("x.tokens", lambda old: old[:300]),
        *((name, lambda old: b"") for name in ("x", "x.tokens")),
        *((name, lambda old: b"\0" * 9) for name in ("x", "x.tokens")),
    ],
)
def test_a_damaged_header_is_replaced(name, damage, tmp_path):
    """One that holds something only if ulmo chose its name."""
    save(tmp_path / f"{name}.csv", "csv", some((5,)))
    before, header = contents(tmp_path), tmp_path / f"{name}.json"
    header.write_bytes(damage(header.read_bytes()))
    save(tmp_path / f"{name}.csv", "csv", some((5,)))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("beside", [None, "npy"])
def test_a_foreign_file_is_not_replaced(beside, tmp_path):
    """Neither without a header, nor beside one that names another file."""
    if beside:
        save(tmp_path / f"x.{beside}", beside, some((5,)))
    (tmp_path / "x.csv").write_bytes(b"time,species\n")
    before = contents(tmp_path)
    with pytest.raises(TakenError, match=r"x\.csv cannot be written: .*choose another --out"):
        save(tmp_path / "x.csv", "csv", some((5,)))
    assert contents(tmp_path) == before


def of_recording(name):
    (header, ids) = some((5,))[0]
    return [(header.model_copy(update={"recording": name}), ids)]


def test_tokens_of_another_recording_are_not_replaced_by_those_of_its_namesake(tmp_path):
    """Of x.wav and x.flac, which two commands tokenize beside them."""
    path = save(tmp_path / "x.tokens.npy", "npy", of_recording("x.wav"))
    there = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(TakenError, match=r"it is of x\.wav, another recording: delete it"):
        save(path, "npy", of_recording("folder/x.flac"))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == there
    save(path, "npy", of_recording("folder/x.wav"))  # the same, named from elsewhere
    named = save(tmp_path / "named.npy", "npy", of_recording("x.wav"))
    save(named, "npy", of_recording("y.wav"))  # whoever names a file means it
