"""Readers of folders say what an unfinished job has not made yet."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import commands
from tests.formats.streams import UNK, header_of, random_ids, save
from tests.pipelines.recordings import before_tables, counting, run_killed
from tests.pipelines.tokenizing import record, tokenize
from tests.storage.ledgers import tokens_of
from ulmo.cli.main import ulmo
from ulmo.config import UserError
from ulmo.formats.folder import folder_ledger, timeline_ledger
from ulmo.formats.header import Stored
from ulmo.formats.places import HEADERS, TOKENS
from ulmo.formats.publish import tokens_hash
from ulmo.formats.read import read_corpus, read_tokens
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.verify.verify import verify
from ulmo.storage.plain_file import file_hash

NAMES = ("a", "b", "s/c", "s/caf\udce9", "s\\x/d")
UNFINISHED = r"out is unfinished \(3 of 5 recordings\): run the same ulmo-tokenize again, or add"


def make_output(folder, names=NAMES, done=None):
    """A folder of tokens, of a job that ended, or that was killed when it had `done` recordings."""
    (folder / HEADERS).mkdir(parents=True)
    rows = []
    for number, name in enumerate(names[:done]):
        path = folder / TOKENS / f"{name}.tokens.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = random_ids(3, seed=number)
        header = header_of(ids, recording=f"{number}.wav")
        save(path, "npy", [(header, ids)])
        made = tokens_hash([Stored((header,), {".npy": file_hash(path)})], [".npy"])
        output = path.relative_to(folder).as_posix()
        if "\\x" in output or "\udce9" in output:
            output = output.replace("\\", r"\\").replace("\udce9", r"\xe9")
        counts = {"columns": 3, "bands": 3, "unknown": int((ids == UNK).sum())}
        rows.append(row(f"{number}.wav", output, tokens_sha256=made, **counts))
    finish(folder_ledger(folder), rows, None if done is None else len(names))
    return folder


def row(path, *outputs, status="ok", **values):
    same = {"bytes": 9, "ends_crc32c": 7, "key": f"k{path}"}
    return Tokenized(path=path, status=status, outputs=outputs, **same, **values)


def finish(ledger, rows, expected=None):
    """Write a ledger; that of a killed job if more rows are expected."""
    ledger.resume(tokens_of(), ledger.files.table)
    with ledger.writing([], expected):
        for each in rows:
            ledger.add(each.key, [each])
        if expected is None:
            ledger.finish(rows)


def to_corpus(folder, *sources, **options):
    """Convert; the number of recordings, and the lines."""
    lines = []
    made = convert(
        sources, folder / "c.bin", "bin", done=lambda _: None, warn=lines.append, **options
    )
    return sum(each.refusal is None for each in made), lines


@pytest.fixture
def out(tmp_path):
    """An output whose job was killed."""
    return make_output(tmp_path / "above" / "out", done=3)


@pytest.mark.parametrize(
    ("below", "found"),
    [("..", 3), (".", 3), ("tokens", 3), ("tokens/s", 1), ("tokens/a.tokens.npy", 1), ("link", 3)],
)
def test_an_unfinished_output_is_refused_wherever_it_lies(below, found, out, tmp_path):
    (tmp_path / "link").symlink_to(out / "tokens")
    source = (tmp_path if below == "link" else out) / below
    with pytest.raises(UserError, match=UNFINISHED):
        to_corpus(tmp_path, source)
    count, (line,) = to_corpus(tmp_path, source, partial=True)
    assert line.startswith("partial: ")
    assert line.endswith("out is unfinished (3 of 5 recordings)")
    assert count == found


def test_the_command_says_it_in_one_line(out, tmp_path):
    options = (out, "--format", "csv", "--out", tmp_path / "c.csv")
    commands.assert_refused(commands.run(ulmo, "convert", *options), "3 of 5", "--partial")
    assert not (tmp_path / "c.csv").exists()
    result = commands.run(ulmo, "convert", *options, "--partial", "--quiet")
    assert result.exit_code == 0
    assert result.stderr == f"partial: {out} is unfinished (3 of 5 recordings)\n"
    assert "--partial" in commands.run(ulmo, "convert", "--help").output


@pytest.mark.parametrize("below", [".", "tokens", "tokens/s", "tokens/s\\x", "tokens/a.tokens.npy"])
def test_a_finished_output_is_taken(below, tmp_path):
    out = make_output(tmp_path / "out")
    count = {".": 5, "tokens": 5, "tokens/s": 2}.get(below, 1)
    assert to_corpus(tmp_path, out / below) == (count, [])
    assert len(list(read_corpus(out))) == 5


def test_a_job_that_runs_is_not_finished(tmp_path):
    out = make_output(tmp_path / "out")
    ledger = folder_ledger(out).resume(tokens_of(), out)
    with ledger.writing([f"k{number}.wav" for number in range(4)], 7):
        for name in (".", "tokens/s"):
            with pytest.raises(UserError, match=r"out is unfinished \(4 of 7 recordings\)"):
                to_corpus(tmp_path, out / name)


def test_files_that_are_gone(tmp_path):
    out = make_output(tmp_path / "out")
    (out / "tokens" / "s" / "caf\udce9.tokens.npy").unlink()
    lack = r"out lacks tokens/s/caf\\xe9.tokens.npy"
    for name in (".", "tokens", "tokens/s"):
        with pytest.raises(UserError, match=rf"{lack}: run the same"):
            to_corpus(tmp_path, out / name)
    assert to_corpus(tmp_path, out / "tokens" / "s\\x")[0] == 1
    (out / "tokens" / "a.tokens.npy").unlink()
    with pytest.raises(UserError, match=r"out lacks tokens/a.tokens.npy and 1 more files"):
        to_corpus(tmp_path, out)
    assert to_corpus(tmp_path, out, partial=True)[0] == 3
    with pytest.raises(UserError, match="out lacks tokens/a"):
        list(read_corpus(out))


def test_what_the_table_does_not_name_is_left_out_in_one_line(tmp_path):
    """Wherever the sources lie, with `partial` too; a file that is named is taken."""
    out = make_output(tmp_path / "all" / "out")
    ids = random_ids(4)
    old = [out / TOKENS / "old.tokens.npy", out / TOKENS / "s" / "old.tokens.npy"]
    for path in old:
        save(path, "npy", [(header_of(ids, recording="old.wav"), ids)])
    save(tmp_path / "all" / "beside.tokens.npy", "npy", [(header_of(ids), ids)])
    tokens = out / TOKENS
    for sources, count, left in (
        ([out], 5, 2),
        ([tmp_path / "all"], 6, 2),
        ([tokens / "s"], 2, 1),
        ([tokens / "s", tokens, out], 5, 2),
    ):
        for partial in (False, True):
            found, (line,) = to_corpus(tmp_path, *sources, partial=partial)
            files = f"{left} files of tokens" if left > 1 else "1 file of tokens"
            assert (found, line.startswith(f"{out}: left out {files} that ")) == (count, True)
            assert line.endswith("old.tokens.npy: ulmo verify lists them")
    assert to_corpus(tmp_path, old[0]) == (1, [])
    (tokens / "a.tokens.npy").unlink()
    count, lines = to_corpus(tmp_path, out, partial=True)
    assert (count, len(lines)) == (4, 2)


def test_of_a_recordings_files_those_in_the_format_of_the_output(tokenizer_of, tmp_path):
    """Both files of Megatron's are its own; a table that was written beside tokens is not."""
    audio, out = record(tmp_path / "audio" / "a.wav", 0.5), tmp_path / "out"
    tokenize(tokenizer_of(), audio.parent, out=out, file_format="megatron")
    assert len(list(read_corpus(out))) == 1
    out = tmp_path / "npy"
    tokenize(tokenizer_of(), audio.parent, out=out)
    table = out / TOKENS / "a.tokens.csv"
    convert([out / TOKENS / "a.tokens.npy"], table, "csv", done=lambda _: None)
    with pytest.warns(UserWarning, match=r"left out 1 file of tokens .*a\.tokens\.csv"):
        assert len(list(read_corpus(out))) == 1


def test_refused_recordings_and_outputs_in_other_formats_are_no_lack(tmp_path):
    out = make_output(tmp_path / "out", ["a"])
    ledger = folder_ledger(out)
    finish(ledger, [*ledger.rows(), row("cut.wav", status="refused")])
    other = make_output(tmp_path / "other", done=2)
    manifest = tokens_of().model_copy(update={"file_format": "parquet"})
    (other / "tokenize.json").unlink()
    with folder_ledger(other).resume(manifest, other).writing([], 9):
        assert to_corpus(tmp_path, out, other)[0] == 3
        with pytest.raises(UserError, match="other is unfinished"):
            list(read_corpus(other))


def test_several_outputs_of_which_some_are_not_finished(tmp_path):
    make_output(tmp_path / "all" / "a")
    for name in ("b", "c"):
        make_output(tmp_path / "all" / name, done=1)
    with pytest.raises(UserError, match=r"b is unfinished \(1 of 5 .*, and 1 more outputs are"):
        to_corpus(tmp_path, tmp_path / "all")
    count, lines = to_corpus(tmp_path, tmp_path / "all", tmp_path / "all" / "b", partial=True)
    assert (count, len(lines)) == (7, 2)


@pytest.mark.parametrize("look", [verify, lambda folder: to_corpus(folder, folder)])
def test_many_outputs_in_a_folder_are_looked_through_once(look, tmp_path, monkeypatch):
    """Not once for each output: twice as many take twice as many looks."""
    compared, looks = [], []
    for name in ("relative_to", "is_relative_to"):
        monkeypatch.setattr(Path, name, counting(compared, getattr(Path, name)))
    for number in (4, 8):
        for each in range(number):
            make_output(tmp_path / str(number) / f"o{each}", ["a"])
        compared.clear()
        look(tmp_path / str(number))
        looks.append(len(compared))
    assert looks[1] < 2.2 * looks[0]


@pytest.mark.parametrize("look", [verify, lambda folder: to_corpus(folder, folder, partial=True)])
def test_no_path_is_made_of_outputs_that_are_not_there(look, tmp_path, monkeypatch):
    """A table of a megabyte may name millions of them; some are reported one by one."""
    monkeypatch.setattr("ulmo.pipelines.verify.token_ledgers._MOST_MISSING", 2)
    made, looks = [], []
    for name in ("__truediv__", "with_name"):
        monkeypatch.setattr(Path, name, counting(made, getattr(Path, name)))
    for number in (10, 1000):
        folder = tmp_path / str(number)
        make_output(folder, ["a"])
        names = [f"tokens/{each}.tokens.npy" for each in range(number)]
        with folder_ledger(folder).files.table.open("rb") as file:
            known = pq.read_table(file).to_pylist()
        known = [Tokenized(**{**values, "start_utc": None}) for values in known]
        finish(folder_ledger(folder), [*known, row("z.wav", *names)])
        made.clear()
        look(folder)
        looks.append(len(made))
    assert looks[1] < 1.1 * looks[0]


def test_verify_counts_the_files_that_it_does_not_report(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmo.pipelines.verify.token_ledgers._MOST_MISSING", 2)
    make_output(tmp_path, ["a"])
    finish(folder_ledger(tmp_path), [row("z.wav", *(f"tokens/{n}.tokens.npy" for n in range(9)))])
    missing = [fault for fault in verify(tmp_path).faults if fault.what == "missing"]
    assert [fault.path for fault in missing[:2]] == ["tokens/0.tokens.npy", "tokens/1.tokens.npy"]
    assert missing[2:] == [missing[0]._replace(path="recordings.parquet", detail=missing[2].detail)]
    assert missing[2].detail == "7 more files of its rows are missing"


def test_a_timeline_whose_parts_are_not_joined(tmp_path):
    """An older timeline lies there; so it does not look unfinished."""
    folder = tmp_path / "field"
    make_output(folder / ".t.tokens.npy.parts", done=2)
    ids = random_ids(4)
    path = save(folder / "t.tokens.npy", "npy", [(header_of(ids), ids)])
    finish(timeline_ledger(path), [row("0.wav", path.name)])
    for source in (folder, path):
        with pytest.raises(UserError, match=r"t.tokens.npy is unfinished \(2 of 5 recordings\)"):
            to_corpus(tmp_path, source)
        assert to_corpus(tmp_path, source, partial=True)[0] == 1
    shutil.rmtree(folder / ".t.tokens.npy.parts")
    assert to_corpus(tmp_path, folder) == to_corpus(tmp_path, path) == (1, [])
    save(folder / "u.tokens.npy", "npy", [(header_of(ids), ids)])
    path.unlink()
    with pytest.raises(UserError, match=r"t\.tokens\.npy lacks t\.tokens\.npy"):
        to_corpus(tmp_path, folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda out: (out / "tokenize.json").write_text("{}"), "may lack recordings .*damaged"),
        (lambda out: (out / "tokenize.json").unlink(), "is unfinished"),
        (lambda out: (out / "recordings.parquet").unlink(), "may lack recordings .*is missing"),
    ],
)
def test_what_its_ledger_cannot_say_may_lack_recordings(damage, words, tmp_path):
    out = make_output(tmp_path / "out")
    (out / ".tokenize.jsonl").touch()  # what a killed job leaves first
    damage(out)
    with pytest.raises(UserError, match=words):
        to_corpus(tmp_path, out)
    count, (line,) = to_corpus(tmp_path, out, partial=True)
    assert count == 5
    assert "\n" not in line


def test_reading_a_folder(out):
    with pytest.raises(UserError, match=UNFINISHED):
        list(read_corpus(out))
    with pytest.raises(UserError, match=UNFINISHED):
        read_tokens(out)
    with pytest.warns(UserWarning, match=r"partial: .*3 of 5"):
        found = list(read_corpus(out, partial=True))
    assert [header.recording for header, _ in found] == ["0.wav", "1.wav", "2.wav"]
    for name in ("b", "s/c"):
        (out / "tokens" / f"{name}.tokens.npy").unlink()
    with pytest.warns(UserWarning, match="partial"):
        assert read_tokens(out, partial=True).ids.tolist() == found[0].ids.tolist()
    assert read_tokens(out / "tokens" / "a.tokens.npy").ids.tolist() == found[0].ids.tolist()
    (out / "tokenize.json").unlink()
    (out / ".tokenize.jsonl").unlink()
    shutil.rmtree(out / "tokens")
    with pytest.raises(UserError, match="holds no tokens: make them"):
        read_tokens(out)


def test_a_real_job_that_was_killed(tokenizer_of, tmp_path, monkeypatch):
    audio = tmp_path / "audio"
    for name in "abc":
        record(audio / f"{name}.wav", 0.5)
    out = tmp_path / "out"
    run_killed(monkeypatch, before_tables, tokenize, tokenizer_of(), audio, out=out)
    with pytest.raises(UserError, match=r"out is unfinished \(3 of 3 recordings\)"):
        to_corpus(tmp_path, out)
    tokenize(tokenizer_of(), audio, out=out)
    assert to_corpus(tmp_path, out) == (3, [])
