"""A file that the user named is replaced or removed only if it is as its header says.

Anyone can seal a header, and put it beside a file of the user's.
"""

import pickle

import pytest

import ulmo.formats.publish as publish_module
from tests.formats.streams import save, some
from tests.pipelines.recordings import contents
from tests.pipelines.verifying import flip
from ulmo.formats.header import header_json, read_stored
from ulmo.formats.publish import output_paths, remove_tokens
from ulmo.formats.taken import TakenError
from ulmo.formats.vocabulary import is_vocabulary, vocabulary_json
from ulmo.pipelines.verify.verify import verify

MINE = b"my only copy\n"
ENDINGS = (".npy", ".csv", ".parquet", ".bin", ".jsonl")
DELETE = r"cannot be written: .*: delete it, or choose another --out"
((HEADER, _),) = some((5,))


def plant(folder, name="data", endings=ENDINGS):
    """A sealed header of a stranger's beside files of the user's."""
    for ending in (*ENDINGS, ".vocabulary.json"):
        (folder / f"{name}{ending}").write_bytes(MINE)
    hashes = dict.fromkeys(endings, "0" * 64)
    (folder / f"{name}.json").write_bytes(header_json([HEADER], hashes))


class TestARepair:
    def test_removes_no_file_that_the_user_named(self, tmp_path):
        plant(tmp_path)
        before = contents(tmp_path)
        verified = verify(tmp_path, repair=True)
        assert verified.mended == []
        assert contents(tmp_path) == before
        damaged = {fault.path: fault.remedy for fault in verified.faults}
        assert set(damaged) == before.keys() - {"data.json"}
        assert {fault.what for fault in verified.faults} == {"damaged"}
        assert all("if ulmo wrote it, delete it" in remedy for remedy in damaged.values())

    def test_removes_no_json_that_resembles_a_damaged_header(self, tmp_path):
        content = b'{"fingerprint": 1, "edges_hz": []}'
        (tmp_path / "data.json").write_bytes(content)
        verified = verify(tmp_path, repair=True)
        assert [fault.what for fault in verified.faults] == ["damaged"]
        assert (tmp_path / "data.json").read_bytes() == content

    def test_removes_no_half_file_of_another_program(self, tmp_path):
        save(tmp_path / "x.tokens.npy", "npy", some((5,)))
        (tmp_path / ".thesis.docx.0123456789abcdef.tmp").write_bytes(MINE)
        (tmp_path / ".data.csv.0123456789abcdef.tmp").write_bytes(MINE)
        before = contents(tmp_path)
        verified = verify(tmp_path, repair=True)
        assert [fault.path for fault in verified.faults] == [".data.csv.0123456789abcdef.tmp"]
        assert contents(tmp_path) == before

    def test_removes_damaged_files_with_ulmos_names(self, tmp_path):
        plant(tmp_path, "x.tokens")
        verify(tmp_path, repair=True)
        assert list(contents(tmp_path)) == ["x.tokens.json"]


class TestWritingOver:
    @pytest.mark.parametrize("name", ["npy", "csv", "parquet", "bin", "jsonl"])
    @pytest.mark.parametrize("length", [5, 6])  # of the header, and another
    def test_a_foreign_file_under_a_planted_header(self, length, name, tmp_path):
        plant(tmp_path, endings=(f".{name}",))
        before = contents(tmp_path)
        path = tmp_path / f"data.{name}"
        with pytest.raises(TakenError, match=DELETE):
            save(path, name, some((length,)))
        assert contents(tmp_path) == before

    def test_a_foreign_file_under_a_damaged_header(self, tmp_path):
        (tmp_path / "data.csv").write_bytes(MINE)
        header = header_json([HEADER], {".csv": "0" * 64})
        (tmp_path / "data.json").write_bytes(header[:-9])
        before = contents(tmp_path)
        with pytest.raises(TakenError, match=r"data\.json " + DELETE):
            save(tmp_path / "data.csv", "csv", some((6,)))
        assert contents(tmp_path) == before

    def test_a_json_that_resembles_a_header(self, tmp_path):
        (tmp_path / "data.json").write_bytes(b'{"fingerprint": "of a sound"}')
        with pytest.raises(TakenError, match=r"data\.json " + DELETE):
            save(tmp_path / "data.csv", "csv", some((6,)))
        assert list(contents(tmp_path)) == ["data.json"]

    def test_a_foreign_vocabulary(self, tmp_path):
        (tmp_path / "data.vocabulary.json").write_bytes(MINE)
        with pytest.raises(TakenError, match=r"data\.vocabulary\.json " + DELETE):
            save(tmp_path / "data.bin", "bin", some((6,)), corpus=True)
        assert contents(tmp_path) == {"data.vocabulary.json": MINE}
        save(tmp_path / "data.csv", "csv", some((6,)), corpus=True)  # a format that has none
        assert (tmp_path / "data.vocabulary.json").read_bytes() == MINE

    def test_a_damaged_file_of_ulmos_once_it_was_deleted(self, tmp_path):
        path = save(tmp_path / "x.csv", "csv", some((5,)))
        before = contents(tmp_path)
        flip(path)
        with pytest.raises(TakenError, match=r"x\.csv " + DELETE):
            save(path, "csv", some((5,)))
        path.unlink()
        save(path, "csv", some((5,)))
        assert contents(tmp_path) == before

    def test_whole_files_of_other_tokens(self, tmp_path):
        for length, codes in ((5, 16), (6, 8)):
            save(tmp_path / "x.bin", "bin", some((length,), codebook_size=codes), corpus=True)
        assert read_stored(tmp_path / "x.json").headers[0].columns == 6
        assert verify(tmp_path).faults == []

    def test_the_error_comes_back_from_a_worker(self, tmp_path):
        error = TakenError(tmp_path / "x.csv", "why", "delete it")
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("gone", [(), ("x.bin",), ("x.idx",), ("x.bin", "x.idx")])
@pytest.mark.parametrize("old", [False, True])
def test_the_same_job_takes_up_what_a_killed_one_left(old, gone, tmp_path, monkeypatch):
    """It was killed before the vocabulary or the header was there, or between any two moves."""
    new = {"recordings": some((6,)), "corpus": True}
    save(tmp_path / "x.bin", "megatron", some((5,), codebook_size=8) if old else new["recordings"])
    whole = contents(tmp_path)
    if not old:
        (tmp_path / "x.json").unlink()
    for name in gone:
        (tmp_path / name).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(publish_module, "publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            save(tmp_path / "x.bin", "megatron", **new)
    assert "x.json" not in contents(tmp_path)
    save(tmp_path / "x.bin", "megatron", **new)
    assert verify(tmp_path).faults == []
    assert (contents(tmp_path)["x.bin"] == whole["x.bin"]) is not old


class TestRemoving:
    def test_leaves_what_the_user_named_unless_it_is_as_recorded(self, tmp_path):
        plant(tmp_path)
        before = contents(tmp_path)
        for planted in (True, False):
            if not planted:
                (tmp_path / "data.json").unlink()
                del before["data.json"]
            remove_tokens(output_paths(tmp_path / "data.csv", "csv"))
            assert contents(tmp_path) == before

    def test_takes_what_is_as_recorded(self, tmp_path):
        save(tmp_path / "x.csv", "csv", some((5,)))
        remove_tokens(output_paths(tmp_path / "x.csv", "csv"))
        assert contents(tmp_path) == {}


@pytest.mark.parametrize("codes", [2, 16, 512])
def test_a_vocabulary_is_known_by_every_byte(codes, tmp_path):
    path = tmp_path / "x.vocabulary.json"
    path.write_text(vocabulary_json(codes))
    assert is_vocabulary(path)
    flip(path, place=-9)
    assert not is_vocabulary(path)
