"""A row of recordings.parquet is of the tokens that were written for it, and of no others."""

import errno
import re
import shutil

import pytest

from tests.pipelines.recordings import contents, noise, rows_of, write
from tests.pipelines.tokenizing import join, quiet, tokenize
from tests.pipelines.verifying import found
from ulmo.config import UserError
from ulmo.pipelines.convert.convert import convert
from ulmo.storage import lock
from ulmo.storage.open_folder import OpenFolder

NAMES = ("S_20230501_000000.wav", "S_20230501_000009.wav")
HOWS = [{}, {"channels": "each"}, {"file_format": "megatron"}]


def fill(folder, seed=0):
    for number, name in enumerate(NAMES):
        write(folder / name, noise(3000, seed + number, channels=2))
    return folder


@pytest.mark.parametrize("how", HOWS)
def test_tokens_of_an_older_state_are_made_again(how, tokenizer, tmp_path):
    field, out = fill(tmp_path / "field"), tmp_path / "out"
    tokenize(tokenizer, field, out=out, **how)
    shutil.copytree(out, tmp_path / "backup")
    fill(field, seed=5)
    tokenize(tokenizer, field, out=out, **how)
    good = contents(out)
    for name in ("tokens", "token_headers"):
        shutil.copytree(tmp_path / "backup" / name, out / name, dirs_exist_ok=True)
    assert found(out) == {("recordings.parquet", "disagrees")}
    assert [each.reused for each in tokenize(tokenizer, field, out=out, **how)] == [False, False]
    assert contents(out) == good
    assert found(out) == set()


def test_a_header_that_says_other_things_of_the_same_ids(tokenizer, tmp_path):
    """Silence at another time: the ids are the same, the times are not."""
    outs = []
    for year in ("2023", "2024"):
        folder = tmp_path / year
        write(folder / f"S_{year}0501_000000.wav", noise(3000, 1))
        outs.append(tmp_path / f"out{year}")
        tokenize(tokenizer, folder, out=outs[-1])
    (older,), (newer,) = (list((out / "token_headers").iterdir()) for out in outs)
    text = older.read_bytes()
    newer.write_bytes(text)
    assert ("recordings.parquet", "disagrees") in found(outs[1])


def test_other_formats_beside_change_no_row(tokenizer, tmp_path):
    field, out = fill(tmp_path / "field"), tmp_path / "out"
    tokenize(tokenizer, field, out=out)
    convert([out], out / "tokens", "audacity", done=lambda _: None)
    assert found(out) == set()
    assert all(each.reused for each in tokenize(tokenizer, field, out=out))


def test_a_timeline_of_an_older_state(tokenizer, tmp_path):
    field, out = fill(tmp_path / "field"), tmp_path / "out" / "t.npy"
    join(tokenizer, field, out=out)
    old = {name: (out.parent / name).read_bytes() for name in ("t.npy", "t.json")}
    fill(field, seed=5)
    join(tokenizer, field, out=out)
    good = contents(out.parent)
    for name, content in old.items():
        (out.parent / name).write_bytes(content)
    assert found(out.parent) == {("t.npy.recordings.parquet", "disagrees")}
    results, _ = join(tokenizer, field, out=out)
    assert not any(each.reused for each in results)
    assert contents(out.parent) == good


@pytest.mark.parametrize(("name", "file_format"), [("all.csv", "csv"), ("all.bin", "bin")])
def test_a_corpus_whose_recordings_are_all_refused_goes(name, file_format, tokenizer, tmp_path):
    field, out = fill(tmp_path / "field"), tmp_path / "out" / name
    tokenize(tokenizer, field, out=out, file_format=file_format)
    assert out.exists()
    for each in NAMES:
        (field / each).write_bytes(b"junk")
    results = tokenize(tokenizer, field, out=out, file_format=file_format)
    assert [each.outcome.reason for each in results] == ["not_audio", "not_audio"]
    assert list(out.parent.iterdir()) == []


def test_the_output_folder_is_moved_meanwhile(tokenizer, tmp_path):
    """One line, and nothing is made at the old place."""
    field, out = tmp_path / "field", tmp_path / "out"
    for number in range(6):
        write(field / f"{number}.wav", noise(3000, number))

    def move(_):
        if out.exists():
            out.rename(tmp_path / "moved")

    listener = quiet()._replace(done=move)
    with pytest.raises(UserError, match=r"output folder .*out was moved or deleted while the job"):
        tokenize(tokenizer, field, out=out, listener=listener)
    assert not out.exists()
    results = tokenize(tokenizer, field, out=tmp_path / "moved")
    assert any(each.reused for each in results)
    assert found(tmp_path / "moved") == set()


@pytest.mark.parametrize("denied", ["tokens", "token_headers"])
def test_a_reason_names_the_output_and_no_place(denied, tokenizer, tmp_path, monkeypatch):
    """Not the temporary file, whose name is another at each run, nor a folder above."""
    field = fill(tmp_path / "field")
    create, probe = OpenFolder.create, lock.TemporaryFile

    def refuse(folder, name):
        if folder.name == denied:
            raise PermissionError(errno.EACCES, "Permission denied", name)

    def created(folder, name):
        refuse(folder.path, name)
        return create(folder, name)

    def probed(dir):
        refuse(dir, str(dir / "tmp123"))
        return probe(dir=dir)

    monkeypatch.setattr(OpenFolder, "create", created)
    monkeypatch.setattr(lock, "TemporaryFile", probed)
    tables = []
    for number in range(2):
        out = tmp_path / str(number)
        tokenize(tokenizer, field, out=out)
        tables.append((out / "recordings.parquet").read_bytes())
        details = [row["detail"] for row in rows_of(out)]
    assert tables[0] == tables[1]
    stem = NAMES[0].removesuffix(".wav")
    assert details[0].startswith(f"{stem}.tokens.{'npy' if denied == 'tokens' else 'json'} cannot")
    assert not re.search(r"/|tmp", details[0])
