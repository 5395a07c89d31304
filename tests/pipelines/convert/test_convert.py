"""ulmo convert: files of tokens become a corpus, or labels."""

import json
import shutil
from functools import partial

import numpy as np
import pytest

from tests import commands
from tests.formats.streams import header_of, random_ids, save
from tests.pipelines.recordings import contents
from tests.sealed import reseal, seal_tokens
from tests.storage.trees import close
from ulmo.cli import exits
from ulmo.cli.main import ulmo
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.header import header_json, read_stored
from ulmo.formats.places import header_path
from ulmo.formats.publish import output_paths
from ulmo.formats.read import read_corpus
from ulmo.pipelines.convert.convert import convert, list_sources

run = partial(commands.run, ulmo, "convert")
MANY = [name for name, kind in FORMATS.items() if kind.many]


def tokenized(path, *, columns=5, seed=0, **values):
    """A file of tokens, as ulmo-tokenize writes them; its path."""
    ids = random_ids(columns, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.removesuffix(".tokens.npy") + ".wav"
    return save(path, "npy", [(header_of(ids, recording=name, **values), ids)])


@pytest.fixture
def field(tmp_path):
    """Four recordings below a folder, one of them longer than a block."""
    folder = tmp_path / "field"
    for seed, name in enumerate(["b", "a/y", "a/x", "Z"]):
        columns = 9000 if name == "a/x" else seed
        tokenized(folder / f"{name}.tokens.npy", columns=columns, seed=seed)
    (folder / "notes.txt").write_text("rain")
    (folder / ".b.tokens.npy.77.tmp").write_bytes(b"half")
    return folder


def to(sources, out, name, done=lambda _: None):
    return convert(sources, out, name, done=done)


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def stored(path):
    return [(header.recording, ids.tolist()) for header, ids in read_corpus(path)]


@pytest.mark.parametrize("name", MANY)
def test_a_folder_becomes_one_corpus(name, field, tmp_path):
    out = tmp_path / "new" / f"corpus{FORMATS[name].suffixes[-1]}"
    told = []
    results = to([field], out, name, told.append)
    assert told == results
    assert [result.source.name[0] for result in results] == ["Z", "x", "y", "b"]
    assert {result.output for result in results} == {out}
    expected = [("Z.wav", 3), ("x.wav", 9000), ("y.wav", 1), ("b.wav", 0)]
    assert [(recording, len(ids)) for recording, ids in stored(out)] == expected
    ids = np.load(field / "a" / "x.tokens.npy")
    np.testing.assert_array_equal(list(read_corpus(out))[1].ids, ids)
    assert output_paths(out, name).vocabulary.exists() == FORMATS[name].trains


@pytest.mark.parametrize("name", ["raven", "audacity", "npy"])
def test_labels_are_a_file_for_each_recording(name, field, tmp_path):
    suffix = FORMATS[name].suffixes[0]
    out = tmp_path / "labels"
    results = to([field], out, name)
    expected = [
        f"{stem}{end}" for stem in ("Z", "a/x", "a/y", "b") for end in (suffix, ".tokens.json")
    ]
    assert names(out) == sorted(expected)
    assert [result.output for result in results][1] == out / f"a/x{suffix}"
    for path in out.rglob("*.json"):
        assert read_stored(path).headers == read_stored(field / path.relative_to(out)).headers


def test_labels_may_lie_beside_the_tokens(field):
    before = {path: path.read_bytes() for path in field.rglob("*.*")}
    to([field], field, "audacity")
    kept = [path for path in before if path.suffix != ".json"]
    assert {path: path.read_bytes() for path in kept} == {path: before[path] for path in kept}
    assert to([field], field / "again", "npy")[0].output
    shutil.rmtree(field / "again")
    assert len(names(field)) == len(before) + 4


def test_ids_and_min_columns_choose_the_runs(tmp_path):
    ids = np.array([[3], [3], [4], [3], [5], [5]], np.int32)
    path = save(tmp_path / "x.tokens.npy", "npy", [(header_of(ids), ids)])
    result = run(
        path, "--format", "audacity", "--out", tmp_path, "--ids", "3,5", "--min-columns", 2
    )
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "x.tokens.labels.txt").read_text().splitlines()[::2]
    assert [line.split("\t")[2] for line in lines] == ["c3", "c5"]


def test_the_command_tells_what_it_did(field, tmp_path):
    out = tmp_path / "corpus.tokens.bin"
    result = run(field, "--format", "megatron", "--out", out)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[1] == f"{field}/a/x.tokens.npy: 9000 x 3 tokens -> {out}"
    assert lines[4:] == [
        "recordings  4 (0 refused), 0.40 hours",
        "tokens      27012",
        f"output      {out}",
    ]
    made = {"corpus.tokens.bin", "corpus.tokens.idx", "corpus.tokens.json"}
    assert set(names(tmp_path)) > {*made, "corpus.tokens.vocabulary.json"}


def damage(path, how):
    header = path.with_suffix(".json")
    match how:
        case "no header":
            header.unlink()
        case "no json":
            header.write_text("{")
        case "cut":
            path.write_bytes(path.read_bytes()[:-4])
        case "pickle":
            np.save(path, np.array([{}], object), allow_pickle=True)
        case "other ids":
            ids = np.load(path)
            ids[0, 0] = 64
            path.write_bytes(path.read_bytes()[: -ids.nbytes] + ids.tobytes())
        case "other length":
            (known,) = read_stored(header).headers
            header.write_bytes(header_json([known.ended(columns=1, frames=1, unknown=0)]))
            seal_tokens(path)
        case "other bands":
            values = json.loads(header.read_bytes())
            seal_tokens(path, {**values, "edges_hz": [0, 1, 2], "unknown": 0})
        case "corpus":
            (known,) = read_stored(header).headers
            header.write_bytes(header_json([known, known]))
            seal_tokens(path)


DAMAGES = ["no header", "no json", "cut", "pickle"]
DAMAGES += ["other ids", "other length", "other bands", "corpus"]


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["bin", "raven"])
def test_a_bad_file_is_a_line_and_the_rest_go_on(how, name, field, tmp_path):
    bad = field / "a" / "x.tokens.npy"
    damage(bad, how)
    alone = run(bad, "--format", name, "--out", tmp_path / "c" / "c.tokens.bin")
    assert alone.stdout.splitlines()[-1] == "output      none"
    assert alone.exit_code == exits.SOME_REFUSED
    assert not (tmp_path / "c").exists()
    out = tmp_path / ("corpus.tokens.bin" if name == "bin" else "labels")
    result = run(field, "--format", name, "--out", out)
    assert result.exit_code == exits.SOME_REFUSED, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{bad}: refused: ")
    totals = result.stdout.splitlines()[3:]
    assert totals[0].startswith("recordings  4 (1 refused), 0.00 hours")
    assert totals[1:] == ["tokens      12", f"output      {out}"]
    if name == "bin":
        assert [recording for recording, _ in stored(out)] == ["Z.wav", "y.wav", "b.wav"]
    else:
        assert not (out / "a" / "x.tokens.selections.txt").exists()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("of_segment", [False, True])
def test_a_long_name_is_not_repeated_in_each_row(name, of_segment, tmp_path):
    """1,024 letters are the most; the line names a format that takes more."""
    sources = []
    for length in (1024, 1025):
        path = tokenized(tmp_path / "in" / f"{length}.tokens.npy")
        values = json.loads(path.with_suffix(".json").read_bytes())
        place = {"column": 0, "columns": 5, "offset": 0, "recording_rate": 1, "frames": 1}
        segment = {**place, "recording": "n" * length, "file_frames": 1}
        values |= {"segments": [segment]} if of_segment else {"recording": "n" * length}
        sources.append(seal_tokens(path, values))
    out = tmp_path / ("c" + FORMATS[name].suffixes[0] if FORMATS[name].many else "labels")
    done = convert(sources, out, name, done=lambda _: None)
    refusals = [result.refusal for result in sorted(done, key=lambda result: result.source)]
    assert refusals[0] is None
    if not FORMATS[name].repeats_name:
        assert refusals[1] is None
        return
    assert refusals[1].endswith(
        f"its name has 1025 characters, and {name}, which repeats it in each row, takes 1024: "
        "choose another format, such as parquet"
    )


@pytest.fixture
def refused(tmp_path):
    """Status 2, one line on stderr that fits, and nothing written."""

    def check(message, *arguments):
        before = names(tmp_path)
        with pytest.raises(UserError, match=message) as caught:
            raise UserError((result := run(*arguments)).stderr.rstrip("\n"))
        assert result.exit_code == exits.WRONG_USAGE
        assert "\n" not in str(caught.value)
        assert result.stdout == ""
        assert names(tmp_path) == before

    return check


def test_tokens_of_two_tokenizers_are_never_mixed(tmp_path, refused):
    tokenized(tmp_path / "a.tokens.npy")
    tokenized(tmp_path / "b.tokens.npy", fingerprint="cd" * 32)
    for name, out in (("bin", "c.tokens.bin"), ("raven", "labels")):
        message = r"a\.tokens\.npy and .*b\.tokens\.npy .*\(abababab and cdcdcdcd\): convert them"
        refused(message, tmp_path, "--format", name, "--out", tmp_path / out)
    tokenized(tmp_path / "b.tokens.npy", sample_rate=8000)
    refused("another grid", tmp_path, "--format", "bin", "--out", tmp_path / "c.tokens.bin")


def test_wrong_usage(field, tmp_path, refused):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    corpus = ("--format", "bin", "--out", tmp_path / "corpus.tokens.bin")
    labels = ("--format", "raven", "--out", tmp_path / "labels")
    for message, *arguments in (
        (r"holds no \*\.tokens\.npy", tmp_path / "empty", *corpus),
        ("is neither a folder nor", tmp_path / "none.tokens.npy", *corpus),
        ("is neither a folder nor", field / "notes.txt", *corpus),
        ("end it with .tokens.bin", field, *corpus[:3], tmp_path / "corpus"),
        ("and bin has none", field, *corpus, "--ids", "3"),
        ("and bin has none", field, *corpus, "--min-columns", "2"),
        (r"--ids: 64 is not an id of this tokenizer \(0 to 63\)", field, *labels, "--ids", "3,64"),
        ("cannot make the folder", field, *labels[:3], tmp_path / "file" / "labels"),
    ):
        refused(message, *arguments)
    result = run(field, *labels, "--ids", "3,x")
    assert result.exit_code == exits.WRONG_USAGE
    assert "is not whole numbers with commas" in result.stderr


def test_neither_inputs_are_overwritten_nor_outputs_twice(tmp_path, refused):
    tokenized(tmp_path / "x.tokens.npy")
    tokenized(tmp_path / "y.tokens.npy")
    out = tmp_path / "x.tokens.bin"
    refused(r"overwrite .*x\.tokens\.json", tmp_path, "--format", "bin", "--out", out)
    result = run(tmp_path / "x.tokens.npy", "--format", "bin", "--out", out)
    assert result.exit_code == 0
    assert len(stored(out)) == len(stored(tmp_path / "x.tokens.npy")) == 1
    tokenized(tmp_path / "b" / "x.tokens.npy")
    labels = ("--format", "raven", "--out", tmp_path / "labels")
    refused("several files would become", tmp_path / "x.tokens.npy", tmp_path / "b", *labels)


def test_each_file_is_taken_once_in_the_order_in_which_they_were_given(field):
    shutil.copytree(field / "a", field / ".t.tokens.npy.parts" / "0")  # of a timeline: left out
    first, *rest = "a/x.tokens.npy", "Z.tokens.npy", "a/y.tokens.npy", "b.tokens.npy"
    for given, expected in (
        ([field, field / "a", field / first], [rest[0], first, *rest[1:]]),
        ([field / rest[2], field / rest[0], field, field / rest[2]], [rest[2], rest[0], first]),
    ):
        found = [
            path.relative_to(field).as_posix()
            for each in list_sources(given)
            for path in each.files
        ]
        found = list(dict.fromkeys(found))
        assert found[: len(expected)] == expected
        assert len(found) == 4


def test_a_folder_that_cannot_be_looked_into_is_refused(field, tmp_path, monkeypatch):
    close(field / "a", monkeypatch)
    out = tmp_path / "x.csv"
    assert [result.source for result in to([field], out, "csv") if result.refusal] == [field / "a"]
    assert len(stored(out)) == 2
    assert run(field, "--format", "csv", "--out", out).exit_code == exits.SOME_REFUSED
    with pytest.raises(UserError, match="cannot be looked into"):
        to([field / "a"], out, "csv")
    monkeypatch.undo()
    to([field], out, "csv")  # a corpus may grow
    assert len(stored(out)) == 4


def test_a_header_that_other_files_need_is_not_written_over(field, tmp_path):
    before = contents(field)
    with pytest.raises(UserError, match="it also describes"):
        to([field / "a"], field / "b.tokens.csv", "csv")
    other = tokenized(tmp_path / "b.tokens.npy", columns=7)
    with pytest.raises(UserError, match="it also describes"):
        to([other], field, "raven")
    assert contents(field) == before


@pytest.mark.parametrize("name", ["raven", "csv"])
def test_ids_outside_the_segments_of_their_header_are_refused(name, tmp_path):
    """The recording that is whole is converted all the same."""
    tokenized(tmp_path / "field" / "good.tokens.npy")
    path = tokenized(tmp_path / "field" / "x.tokens.npy", columns=2)
    segment = {"recording": "x.wav", "column": 0, "columns": 1, "offset": 0, "frames": 2560}
    more = {"recording_rate": 16_000, "file_frames": 2560}
    reseal(header_path(path.with_suffix("")), segments=[{**segment, **more}])
    bad, good = to([tmp_path / "field"], tmp_path / "out.csv", name)
    assert "column 1" in bad.refusal
    assert "neither of a segment nor <gap>" in bad.refusal
    assert good.output is not None


@pytest.mark.parametrize("name", MANY)
def test_rows_that_cannot_be_told_apart_are_refused(name, tmp_path):
    """Of two cards with files of one name; formats for training have no names."""
    cards = [tokenized(tmp_path / card / "x.tokens.npy", seed=card == "b") for card in "ab"]
    out = tmp_path / f"all{FORMATS[name].suffixes[0]}"
    if FORMATS[name].tabular:
        with pytest.raises(UserError, match=r"a/x\.tokens\.npy and .*b/x\.tokens\.npy are both of"):
            to(cards, out, name)
        assert not out.exists()
        to([cards[0], tokenized(tmp_path / "b" / "y.tokens.npy")], out, name)
    else:
        to(cards, out, name)
    assert out.exists()
