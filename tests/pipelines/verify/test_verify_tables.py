"""A folder that other programs read as one table: ulmo verify names all that they would read too.

pandas, Polars, DuckDB, pyarrow and datasets take files by their endings, whatever they begin with;
some follow links to folders, some take every file.
"""

import os
import shutil

import datasets
import pytest
from click.testing import CliRunner
from filelock import lock_descriptor

from tests.outputs import make_audio
from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import quiet, tokenize
from tests.pipelines.verifying import found
from tests.small_tokenizers import RATE
from ulmo.cli.main import ulmo
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.readme import README
from ulmo.pipelines.verify.verify import verify

TABLES = [name for name, kind in FORMATS.items() if kind.tabular]
FOREIGN = [
    *(".a.tokens.csv", ".a.csv", "._a.tokens.csv", ".DS_Store", ".a.csv.gz", ".a.csv.lock"),
    *("B.TOKENS.CSV", ".B.TOKENS.CSV", "b.csv", "_metadata", "a.csv", "a.tokens.CSV"),
    *("a.tokens.json", "a.tokens.vocabulary.json", ".a.tokens.json"),  # a.wav has a row
    *(".huggingface.yaml", "dataset_infos.json", README),
    *(".notes.12.tmp", ".a.tokens.csv.xy.tmp", "x.tokens.csv/.a", ".x/y.csv", "x/.y.csv"),
]
SKIPPED = ["prep.json", "tiles.parquet", "train.json", "tokenizer.json"]  # mark other outputs
DATA = b'---\nconfigs:\n- config_name: default\n  data_files: "/elsewhere/*.csv"\n---\n'


@pytest.fixture(scope="module")
def made(tokenizer_of, tmp_path_factory):
    """Recordings, and their tokens as a table in each format."""
    folder = tmp_path_factory.mktemp("tables")
    audio = make_audio(folder / "audio", lengths=(900, 1200), rate=RATE)
    for name in TABLES:
        tokenize(tokenizer_of(), audio, out=folder / name, file_format=name)
    return folder


@pytest.fixture
def out(made, tmp_path):
    return shutil.copytree(made / "csv", tmp_path / "out")


@pytest.fixture
def again(tokenizer_of, made, out):
    """The same ulmo-tokenize again; the lines that it says. Nothing is tokenized anew."""

    def again():
        lines = []
        listener = quiet()._replace(warn=lines.append)
        results = tokenize(
            tokenizer_of(), made / "audio", out=out, file_format="csv", listener=listener
        )
        assert all(result.reused for result in results)
        return lines

    return again


def put(path, content=b"recording,channel\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


class TestAmongTheTokens:
    @pytest.mark.parametrize("name", FOREIGN)
    def test_a_file_of_no_row_is_named_and_stays(self, name, out):
        put(out / "tokens" / name)
        before = contents(out)
        assert found(out) == {(f"tokens/{name}", "orphan")}
        assert found(out, repair=True) == {(f"tokens/{name}", "orphan")}
        assert contents(out) == before

    @pytest.mark.parametrize("name", SKIPPED)
    def test_no_name_of_another_output_hides_a_folder(self, name, out):
        put(out / "tokens" / "k" / name)
        put(out / "tokens" / "k" / "x.csv")
        expected = {(f"tokens/k/{each}", "orphan") for each in (name, "x.csv")}
        assert found(out) >= expected

    def test_nor_the_name_of_parts_or_of_names_that_are_tried(self, out):
        for name in (".t.csv.parts", f".ulmo-names.{'0a' * 12}.tmp"):
            put(out / "tokens" / name / "x.csv")
            assert (f"tokens/{name}/x.csv", "orphan") in found(out)

    @pytest.mark.parametrize("name", ["x", "x.tokens.csv", ".a.tokens.csv.12.tmp"])
    @pytest.mark.parametrize("target", ["folder", "table.csv", "nothing"])
    def test_a_link(self, target, name, out):
        put(out.parent / "folder" / "x.csv")
        put(out.parent / "table.csv")
        (out / "tokens" / name).symlink_to(out.parent / target)
        assert (f"tokens/{name}", "orphan") in found(out)
        assert {path for path, _ in found(out)} == {f"tokens/{name}"}

    def test_a_link_in_place_of_all(self, made, tokenizer_of, tmp_path):
        """Of an output whose recordings were all refused: no file is missing."""
        out = tmp_path / "out"
        put(tmp_path / "audio" / "a.wav", b"no sound")
        tokenize(tokenizer_of(), tmp_path / "audio", out=out, file_format="csv")
        assert found(out) == set()
        (out / "tokens").rmdir()
        (out / "tokens").symlink_to(made / "csv" / "tokens")
        assert found(out) == {("tokens", "orphan")}

    def test_what_a_job_writes_or_has_left_there_is_no_orphan(self, out):
        temporary = out / "tokens" / ".a.tokens.csv.0123.tmp"
        with temporary.open("wb") as file:
            assert lock_descriptor(file.fileno(), blocking=False)
            assert found(out) == set()
        assert found(out) == {(f"tokens/{temporary.name}", "left_over")}

    def test_a_pipe(self, out):
        os.mkfifo(out / "tokens" / ".x.csv")
        assert found(out) == {("tokens/.x.csv", "orphan")}

    @pytest.mark.parametrize("name", ["tokens", "token_headers"])
    def test_the_folder_alone_is_a_part(self, name, out, monkeypatch):
        put(out / "tokens" / ".a.csv")
        with pytest.raises(UserError, match=f"a part of an output: name its folder, {out}$"):
            verify(out / name)
        monkeypatch.chdir(out / name)
        with pytest.raises(UserError, match=f"name its folder, {out}$"):
            verify(type(out)())


class TestReadme:
    @pytest.mark.parametrize("name", TABLES)
    def test_each_table_has_one(self, name, made):
        assert found(made / name) == set()

    @pytest.mark.parametrize("damage", ["gone", "empty", "zeros", "half", "head", "other format"])
    def test_ulmos_own_is_written_anew(self, damage, made, out, again):
        path = out / README
        whole = path.read_bytes()
        path.write_bytes(
            {
                "gone": b"",
                "empty": b"",
                "zeros": bytes(len(whole)),
                "half": whole[:40] + bytes(7),
                "head": whole[: whole.index(b"# ")],
                "other format": (made / "jsonl" / README).read_bytes(),
            }[damage]
        )
        if damage == "gone":
            path.unlink()
        assert found(out) == {(README, "missing" if damage == "gone" else "damaged")}
        assert again() == []
        assert path.read_bytes() == whole
        assert found(out) == set()

    def test_a_repair_removes_a_damaged_one(self, out, again):
        before = contents(out)
        (out / README).write_bytes(b"---\n")
        assert verify(out, repair=True).mended == [f"removed {README}"]
        assert found(out) == {(README, "missing")}
        again()
        assert contents(out) == before

    @pytest.mark.parametrize("content", [b"mine", DATA, DATA + b"# Tokens", b"x" * (1 << 21)])
    def test_any_other_stays_and_is_named(self, content, out, again):
        put(out / README, content)
        (fault,) = verify(out).faults
        assert (fault.path, fault.what) == (README, "disagrees")
        assert found(out, repair=True) == {(README, "disagrees")}
        assert again() == [f"{out / README}: {fault.detail}: {fault.remedy}"]
        assert (out / README).read_bytes() == content
        (out / README).unlink()
        assert again() == []
        assert found(out) == set()

    @pytest.mark.parametrize("make", ["folder", "link", "loose link", "pipe"])
    def test_what_is_no_file_stays_and_is_named(self, make, out, again):
        path = out / README
        (out.parent / "whole").write_bytes(path.read_bytes())
        path.unlink()
        {
            "folder": path.mkdir,
            "link": lambda: path.symlink_to(out.parent / "whole"),
            "loose link": lambda: path.symlink_to(out.parent / "nothing"),
            "pipe": lambda: os.mkfifo(path),
        }[make]()
        status = path.lstat()
        assert found(out) == {(README, "disagrees")}
        assert len(again()) == 1
        assert os.path.samestat(path.lstat(), status)

    def test_notes_of_the_user_may_follow(self, out, again, monkeypatch):
        """datasets reads the first lines alone."""
        monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
        head, _, _ = (out / README).read_bytes().partition(b"# ")
        put(out / README, head + b"Owls of 2023.\n" + DATA)
        assert found(out) == set()
        assert again() == []
        data = datasets.load_dataset(str(out), cache_dir=str(out.parent / "cache"))["train"]
        assert set(data["recording"]) == {"a.wav", "b.wav"}

    @pytest.mark.parametrize("name", [".huggingface.yaml", "dataset_infos.json"])
    def test_what_overrules_it_is_named(self, name, out, again):
        put(out / name, DATA.strip(b"-\n"))
        assert found(out) == {(name, "orphan")}
        (line,) = again()
        assert line.startswith(f"{out / name}: ")
        assert (out / name).exists()

    def test_without_tables_it_is_the_users(self, tokenizer_of, made, tmp_path):
        tokenize(tokenizer_of(), made / "audio", out=tmp_path / "out")
        assert not (tmp_path / "out" / README).exists()
        put(tmp_path / "out" / README, b"mine")
        assert found(tmp_path / "out") == set()

    def test_the_command_says_one_line_and_goes_on(self, tmp_path, made):
        put(tmp_path / "out" / README, b"mine")
        command = ["tokenize", made / "audio", "--out-dir", tmp_path / "out", "--format", "csv"]
        for _ in range(2):
            result = CliRunner().invoke(ulmo, [*map(str, command), "--quiet"])
            assert result.exit_code == 0
            (line,) = result.stderr.splitlines()
            assert line.startswith(f"{tmp_path / 'out' / README}: ")
        assert (tmp_path / "out" / README).read_bytes() == b"mine"
