"""Files of tokens that somebody changes between two readings of them: what is used was hashed."""

import re
import shutil

import numpy as np
import pytest

from tests.formats.streams import header_of, random_ids, save
from tests.pipelines.tokenizing import join, record, tokenize
from ulmo.config import UserError
from ulmo.formats import FORMATS, checked
from ulmo.formats.checked import read_checked
from ulmo.formats.header import read_stored
from ulmo.formats.publish import publish_tokens
from ulmo.formats.read import read_corpus
from ulmo.pipelines.convert import convert as convert_module
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.tokenize import parts, timeline_file

CHANGED = r"x.tokens.npy (was changed while it was|can no longer be) read.*: run the same again"


def make(folder, *, seed=0, columns=5):
    """x.tokens.npy and its header, as ulmo-tokenize writes them; the path."""
    ids = random_ids(columns, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    return save(folder / "x.tokens.npy", "npy", [(header_of(ids, recording="x.wav"), ids)])


def other_ids(path):
    make(path.parent, seed=1)


def other_length(path):
    make(path.parent, columns=9)


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def out_of_range(path):
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b"\xff\xff\xff\x7f")


CHANGES = [other_ids, other_length, cut, out_of_range, lambda path: path.unlink()]


@pytest.fixture
def change_after_checks(monkeypatch):
    """Have convert's sources changed once all of them were checked."""

    def when_checked(change, path):
        refuse_mixture = convert_module._refuse_mixture

        def refuse(good):
            refuse_mixture(good)
            change(path)

        monkeypatch.setattr(convert_module, "_refuse_mixture", refuse)

    return when_checked


@pytest.mark.parametrize("change", CHANGES)
def test_convert_to_a_corpus_writes_no_ids_that_were_not_checked(
    change, change_after_checks, tmp_path
):
    change_after_checks(change, make(tmp_path / "in"))
    with pytest.raises(UserError, match=CHANGED):
        convert([tmp_path / "in"], tmp_path / "all.csv", "csv", done=lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("change", CHANGES)
def test_convert_to_a_folder_refuses_that_file_alone(change, change_after_checks, tmp_path):
    make(tmp_path / "in" / "a")
    change_after_checks(change, make(tmp_path / "in" / "b"))
    found = convert([tmp_path / "in"], tmp_path / "out", "audacity", done=lambda _: None)
    assert [each.refusal is None for each in found] == [True, False]
    assert re.search(f"b/{CHANGED}", found[1].refusal)
    assert not (tmp_path / "out" / "b" / "x.tokens.labels.txt").exists()


def test_the_ids_that_are_used_are_those_that_were_hashed(tmp_path):
    """In place, between two blocks of one reading."""
    path = make(tmp_path, columns=9000)
    stored = read_stored(tmp_path / "x.tokens.json")
    blocks = read_checked(path, stored)
    next(blocks)
    with path.open("r+b") as file:
        file.seek(-4, 2)
        file.write(np.int32(0).tobytes() if np.load(path)[-1, -1] else np.int32(1).tobytes())
    with pytest.raises(ValueError, match=r"checksum|describes other tokens"):
        list(blocks)


@pytest.mark.parametrize("file_format", [name for name, kind in FORMATS.items() if kind.many])
def test_a_corpus_that_is_made_anew_while_it_is_read(file_format, tmp_path):
    path = tmp_path / f"all{FORMATS[file_format].suffixes[-1]}"

    def write(seed):
        with publish_tokens(path, file_format) as writer:
            for number in range(3):
                ids = random_ids(5, seed=seed + number)
                header = header_of(ids, recording=f"{number}.wav")
                writer.begin(header)
                writer.write(ids)
                writer.end(header)

    write(0)
    found = read_corpus(path)
    next(found)
    write(7)
    with pytest.raises(UserError, match="was changed while it was read"):
        list(found)


@pytest.fixture
def field(tmp_path):
    """Two recordings that a timeline joins."""
    for number in range(2):
        record(tmp_path / "field" / f"S_20230501_00000{9 * number}.wav")
    return tmp_path / "field"


@pytest.mark.parametrize("moment", ["stretch_hashes", "read_stretch"])
@pytest.mark.parametrize("change", [cut, out_of_range, lambda path: path.unlink()])
def test_the_parts_of_a_timeline(moment, change, tokenizer, field, tmp_path, monkeypatch):
    """Before they are hashed, and between that and their use."""
    then = getattr(checked, moment)

    def changed(path, *arguments, **named):
        if path.exists():
            change(path)
        return then(path, *arguments, **named)

    monkeypatch.setattr(timeline_file, moment, changed)
    with pytest.raises(UserError, match="run the same again"):
        join(tokenizer, field, out=tmp_path / "t.npy")
    assert not (tmp_path / "t.npy").exists()
    monkeypatch.undo()
    join(tokenizer, field, out=tmp_path / "t.npy")
    join(tokenizer, field, out=tmp_path / "u.npy")
    assert (tmp_path / "t.npy").read_bytes() == (tmp_path / "u.npy").read_bytes()


def test_a_part_of_a_corpus_that_another_took_the_place_of(tokenizer, field, tmp_path, monkeypatch):
    """With its own header and hash: the row of the recording says that it is another's."""
    then = parts.read_stored

    def replaced(header):
        folder = header.parent.parent
        for name in ("tokens", "token_headers"):
            first, second = sorted((folder / name).iterdir())
            shutil.copy(first, second)
        return then(header)

    monkeypatch.setattr(parts, "read_stored", replaced)
    with pytest.raises(UserError, match="was changed while it was read"):
        tokenize(tokenizer, field, out=tmp_path / "all.csv", file_format="csv")
    assert not (tmp_path / "all.csv").exists()
