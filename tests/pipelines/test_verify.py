"""ulmo verify: what it finds in each kind of output, and what --repair does about it."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.outputs import PREP, SMALL, make_audio, make_run, make_tiles, make_tokens
from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import join, tokenize
from tests.sealed import reseal, seal_tables, seal_tokens
from tests.small_tokenizers import RATE
from ulmo.cli import ulmo
from ulmo.config import UserError
from ulmo.pipelines.checkpoint_files import numbers
from ulmo.pipelines.prep import prepare
from ulmo.pipelines.verify import KINDS, kind_of, verify
from ulmo.preprocessing.store import RECORDINGS_SCHEMA, TILES_SCHEMA, write_table

SHARD = "tiles/000000-0000.npy"


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def found(place, **options):
    return {(fault.path, fault.what) for fault in verify(place, **options).faults}


def run_command(*arguments):
    result = CliRunner().invoke(ulmo, ["verify", *map(str, arguments)])
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    make_tiles(folder / "tiles")
    return folder


@pytest.fixture
def tiles(original, tmp_path):
    shutil.copytree(original, tmp_path / "x")
    return tmp_path / "x" / "tiles"


@pytest.fixture
def audio(tiles):
    return tiles.parent / "audio"


@pytest.fixture(scope="module")
def made_run(tmp_path_factory, make_bundle):
    return make_run(tmp_path_factory.mktemp("run") / "run", make_bundle)


@pytest.fixture
def run(made_run, tmp_path):
    return shutil.copytree(made_run, tmp_path / "run")


def change_rows(folder, name, change):
    """Other rows in a table, and all sealed: what no checksum tells."""
    schema = {"tiles.parquet": TILES_SCHEMA, "recordings.parquet": RECORDINGS_SCHEMA}[name]
    rows = pq.read_table(folder / name).to_pylist()
    change(rows)
    write_table(folder / name, rows, schema)
    seal_tables(folder)


class TestKinds:
    def test_each_is_told_by_what_lies_there(self, tiles, run, make_bundle, tmp_path):
        make_bundle(tmp_path / "bundle", PREP, **SMALL)
        tokens = make_tokens(tmp_path / "tokens")
        places = {"tiles": tiles, "run": run, "bundle": tmp_path / "bundle"}
        places["tokens"] = tmp_path / "tokens"
        assert set(places) == set(KINDS)
        for kind, place in places.items():
            assert kind_of(place) == kind
            assert verify(place).faults == []
        assert kind_of(tokens) == "tokens"
        assert verify(tokens).counts == {"files": 1, "recordings": 1, "ids": 15}

    def test_what_is_none_of_ours_is_a_users_mistake(self, tmp_path, audio):
        for place, text in (
            (tmp_path / "none", "there is no"),
            (audio, "holds no tiles"),
            (audio / "a.wav", "is no file of tokens"),
        ):
            with pytest.raises(UserError, match=text):
                verify(place)
            assert run_command(place)[0] == 2

    def test_audio_is_for_the_repair_of_tiles(self, tiles, audio, run):
        for place, repair in ((tiles, False), (run, True)):
            with pytest.raises(UserError, match="--audio is for --repair of tiles"):
                verify(place, repair=repair, audio=audio)


class TestTiles:
    def test_all_is_well(self, tiles):
        status, output = run_command(tiles)
        assert status == 0
        assert output == f"{tiles}: tiles: 2 recordings, 5 tiles, 1 shards\n  all is well\n"

    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (lambda f: flip(f / SHARD), {(SHARD, "damaged")}),
            (lambda f: flip(f / SHARD, 3), {(SHARD, "damaged")}),
            (lambda f: (f / SHARD).unlink(), {(SHARD, "missing")}),
            (lambda f: flip(f / "tiles.parquet"), {("tiles.parquet", "damaged")}),
            (lambda f: (f / "recordings.parquet").unlink(), {("recordings.parquet", "damaged")}),
            (lambda f: flip(f / "prep.json"), {("prep.json", "damaged")}),
            (lambda f: (f / "prep.json").unlink(), {("prep.json", "missing")}),
            (lambda f: reseal(f / "prep.json", complete=False), {("prep.json", "unfinished")}),
            (lambda f: (f / "tiles" / "x.npy").touch(), {("tiles/x.npy", "orphan")}),
            (lambda f: (f / ".prep.json.7.tmp").touch(), {(".prep.json.7.tmp", "left_over")}),
            (lambda f: (f / ".finished").mkdir(), {(".finished", "left_over")}),
            (
                lambda f: reseal(f / "prep.json", tiles=6, recordings=3),
                {("tiles.parquet", "disagrees"), ("recordings.parquet", "disagrees")},
            ),
            (
                lambda f: reseal(f / "prep.json", fingerprint="0" * 64),
                {("prep.json", "disagrees")},
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, spoil, expected, tiles):
        spoil(tiles)
        assert found(tiles) == expected
        status, output = run_command(tiles)
        assert status == 3
        assert "  to do " in output

    @pytest.mark.parametrize(
        ("name", "change", "what"),
        [
            ("tiles.parquet", lambda rows: rows.append(rows[0]), "duplicate"),
            ("tiles.parquet", lambda rows: rows.pop(1), "gap"),
            ("tiles.parquet", lambda rows: rows[1].update(start_sample=7), "gap"),
            ("tiles.parquet", lambda rows: rows[1].update(tile=0), "duplicate"),
            ("tiles.parquet", lambda rows: rows[0].update(valid_frames=0), "disagrees"),
            ("tiles.parquet", lambda rows: rows[0].update(recording="z.wav"), "missing"),
            ("recordings.parquet", lambda rows: rows.append(rows[0]), "duplicate"),
            ("recordings.parquet", lambda rows: rows[0].update(tiles=7), "disagrees"),
            ("recordings.parquet", lambda rows: rows.pop(), "missing"),
        ],
    )
    def test_rows_that_contradict_each_other(self, name, change, what, tiles):
        change_rows(tiles, name, change)
        assert what in {fault.what for fault in verify(tiles).faults}

    def test_a_repair_gives_the_bytes_of_the_undisturbed_output(self, tiles, audio):
        before = contents(tiles)
        flip(tiles / SHARD, 300)
        (tiles / "tiles" / "x.npy").touch()
        result = verify(tiles, repair=True)
        assert result.mended == ["removed tiles/x.npy", f"removed {SHARD}"]
        assert {fault.what for fault in result.faults} == {"missing"}
        result = verify(tiles, repair=True, audio=audio)
        assert result.faults == []
        assert result.mended == [f"prepared again what was missing, from {audio}"]
        assert contents(tiles) == before

    def test_a_damaged_table_is_made_again_too(self, tiles, audio):
        before = contents(tiles)
        flip(tiles / "tiles.parquet")
        status, output = run_command(tiles, "--repair", "--audio", audio, "--workers", 1)
        assert (status, contents(tiles)) == (0, before)
        assert "repaired    removed tiles.parquet" in output

    def test_only_the_lost_shards_are_prepared(self, tmp_path, monkeypatch):
        from ulmo.pipelines import prep

        monkeypatch.setattr(prep, "JOB_FILES", 1)
        audio = make_audio(tmp_path / "audio", lengths=(300, 200, 400))
        out = tmp_path / "out"
        prepare(audio, out, PREP)
        before = contents(out)
        times = {path: path.stat().st_mtime_ns for path in out.rglob("*.npy")}
        lost = out / "tiles" / "000001-0000.npy"
        lost.unlink()
        assert not prepare(audio, out, PREP).reused
        assert contents(out) == before
        changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
        assert changed == {lost}

    def test_recordings_that_are_others_now_are_not_mixed_in(self, tiles, audio):
        """Told by their length and ends; else by the tiles, once they are made."""
        path = audio / "a.wav"
        content = path.read_bytes()
        (tiles / SHARD).unlink()
        path.write_bytes(content + bytes(2))
        with pytest.raises(UserError, match="was made of other recordings"):
            verify(tiles, repair=True, audio=audio)
        path.write_bytes(content)
        change_rows(tiles, "tiles.parquet", lambda rows: rows[0].update(crc32c=7))
        with pytest.raises(UserError, match="are not what they were: choose a new folder"):
            verify(tiles, repair=True, audio=audio)
        assert not (tiles / SHARD).exists()

    def test_without_prep_json_nothing_can_be_done(self, tiles, audio):
        flip(tiles / "prep.json")
        result = verify(tiles, repair=True, audio=audio)
        assert [fault.path for fault in result.faults] == ["prep.json"]
        assert "new folder" in result.faults[0].remedy

    def test_json(self, tiles):
        flip(tiles / SHARD)
        status, output = run_command(tiles, "--json")
        values = json.loads(output)
        assert (status, values["kind"], values["schema_version"]) == (3, "tiles", 1)
        assert values["counts"] == {"recordings": 2, "tiles": 5, "shards": 1}
        (fault,) = values["faults"]
        assert (fault["path"], fault["what"]) == (SHARD, "damaged")
        assert "first tile 4" in fault["detail"]

    def test_many_faults_are_counted(self, tiles):
        for number in range(30):
            (tiles / "tiles" / f"{number}.npy").touch()
        assert "  and 10 more: 10 orphan; all of them with --json\n" in run_command(tiles)[1]


class TestTokens:
    @pytest.fixture
    def tokens(self, tokenizer_of, tmp_path):
        audio = make_audio(tmp_path / "audio", lengths=(3000, 2000), rate=RATE)
        tokenize(tokenizer_of(), audio, out=tmp_path / "tokens")
        return tmp_path / "tokens"

    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (lambda f: flip(f / "a.tokens.npy"), {("a.tokens.npy", "damaged")}),
            (lambda f: (f / "a.tokens.npy").unlink(), {("a.tokens.npy", "missing")}),
            (lambda f: flip(f / "a.tokens.json"), {("a.tokens.json", "damaged")}),
            (lambda f: flip(f / "recordings.json"), {("recordings.parquet", "damaged")}),
            (lambda f: flip(f / "recordings.parquet"), {("recordings.parquet", "damaged")}),
            (lambda f: (f / ".tokenize.jsonl").touch(), {(".tokenize.jsonl", "unfinished")}),
            (lambda f: (f / "z.tokens.csv").touch(), {("z.tokens.csv", "orphan")}),
            (
                lambda f: make_tokens(f / "more"),
                {("more/x.tokens.json", "orphan")},
            ),
            (
                lambda f: (f / ".a.tokens.npy.12.tmp").touch(),
                {(".a.tokens.npy.12.tmp", "left_over")},
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, spoil, expected, tokens):
        assert verify(tokens).faults == []
        spoil(tokens)
        assert expected <= found(tokens)
        assert {path for path, _ in found(tokens)} <= {path for path, _ in expected} | {
            "a.tokens.npy"
        }
        assert run_command(tokens)[0] == 3

    def test_a_repair_and_the_same_command_give_the_same_bytes(self, tokens, tokenizer_of):
        before = contents(tokens)
        flip(tokens / "b.tokens.npy")
        (tokens / ".b.tokens.npy.9.tmp").touch()
        result = verify(tokens, repair=True)
        assert set(result.mended) == {
            *("removed b.tokens.json", "removed b.tokens.npy", "removed .b.tokens.npy.9.tmp")
        }
        assert found(tokens) == {("b.tokens.npy", "missing")}
        results = tokenize(tokenizer_of(), tokens.parent / "audio", out=tokens)
        assert [result.reused for result in results] == [True, False]
        assert contents(tokens) == before
        assert verify(tokens).faults == []

    def test_a_row_that_disagrees_with_its_file(self, tokens):
        make_tokens(tokens / "x")
        shutil.copy(tokens / "x" / "x.tokens.npy", tokens / "a.tokens.npy")
        shutil.copy(tokens / "x" / "x.tokens.json", tokens / "a.tokens.json")
        shutil.rmtree(tokens / "x")
        assert ("recordings.parquet", "disagrees") in found(tokens)

    @pytest.mark.parametrize(
        "name", ["npy", "parquet", "jsonl", "csv", "megatron", "bin", "raven", "audacity"]
    )
    def test_files_of_every_format(self, name, tmp_path):
        path = make_tokens(tmp_path, name)
        assert verify(path).faults == []
        assert verify(tmp_path).faults == []
        flip(path)
        assert found(tmp_path) == found(path) == {(path.name, "damaged")}

    def test_a_timeline_is_gap_between_its_segments(self, tokenizer_of, tmp_path):
        for number, name in enumerate(["S_20230501_000000.wav", "S_20230501_000010.wav"]):
            made = make_audio(tmp_path / str(number), lengths=(3000,), rate=RATE)
            (tmp_path / "field").mkdir(exist_ok=True)
            (made / "a.wav").rename(tmp_path / "field" / name)
        join(tokenizer_of(), tmp_path / "field", out=tmp_path / "out" / "t.tokens.npy")
        path = tmp_path / "out" / "t.tokens.npy"
        assert verify(tmp_path / "out").faults == []
        header = json.loads(path.with_suffix(".json").read_text())
        first = header["segments"][0]
        ids = np.load(path)
        assert len(ids) > first["columns"]
        ids[first["columns"]] = 0
        np.save(path, ids)
        seal_tokens(path)
        assert found(path) == {("t.tokens.npy", "gap")}

    def test_other_peoples_files_are_let_be(self, tokens):
        (tokens / "notes.json").write_text("{}")
        (tokens / "notes.csv").write_text("a,b\n")
        assert verify(tokens, repair=True).faults == []
        assert (tokens / "notes.csv").exists()


class TestRuns:
    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (lambda f: flip(f / "train.json"), {("train.json", "damaged")}),
            (
                lambda f: flip(f / "checkpoints" / "ckpt-5.index"),
                {("checkpoints/ckpt-5.index", "damaged")},
            ),
            (
                lambda f: (f / "checkpoints" / "ckpt-5.index").unlink(),
                {("checkpoints/ckpt-5.index", "missing")},
            ),
            (
                lambda f: flip(f / "checkpoints" / "ckpt-5.json"),
                {("checkpoints/ckpt-5.json", "damaged")},
            ),
            (
                lambda f: flip(f / "tokenizer" / "encoder.onnx"),
                {("tokenizer/tokenizer.json", "damaged")},
            ),
            (lambda f: shutil.rmtree(f / "tokenizer"), {("tokenizer", "unfinished")}),
            (lambda f: (f / ".tokenizer.new").mkdir(), {(".tokenizer.new", "left_over")}),
            (lambda f: (f / "losses.csv").write_text("step\n"), {("losses.csv", "damaged")}),
            (
                lambda f: (f / "losses.csv").write_text((f / "losses.csv").read_text() * 2),
                {("losses.csv", "damaged")},
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, spoil, expected, run):
        assert verify(run).faults == []
        spoil(run)
        assert found(run) == expected

    def test_a_repair_goes_back_to_the_checkpoint_before(self, run):
        folder = run / "checkpoints"
        flip(folder / "ckpt-5.data-00000-of-00001")
        result = verify(run, repair=True)
        assert result.faults == []
        assert result.mended == ["checkpoints: went back to ckpt-3"]
        assert numbers(folder) == [3]
        assert not list(folder.glob("ckpt-5*"))
        assert numbers(folder / "best") == [5]

    def test_the_best_epochs_weights_may_be_lost(self, run):
        flip(run / "checkpoints" / "best" / "ckpt-5.index")
        result = verify(run, repair=True)
        assert result.faults == []
        assert result.mended == ["checkpoints/best: none is whole, all removed"]
        assert numbers(run / "checkpoints") == [3, 5]

    def test_where_no_checkpoint_is_whole(self, run):
        for path in (run / "checkpoints").glob("*.json"):
            flip(path)
        result = verify(run, repair=True)
        assert [(fault.path, fault.what) for fault in result.faults] == [("checkpoints", "missing")]
        assert "train again" in result.faults[0].remedy

    def test_left_overs_are_removed(self, run):
        (run / ".tokenizer.new").mkdir()
        (run / ".train.json.3.tmp").touch()
        assert verify(run, repair=True).faults == []
        assert not (run / ".tokenizer.new").exists()


class TestBundles:
    def test_what_is_wrong_is_told_and_copied_again(self, make_bundle, tmp_path):
        folder = make_bundle(tmp_path / "t", PREP, **SMALL)
        assert run_command(folder) == (
            0,
            f"{folder}: bundle: 3 files, 4,556 bytes\n  all is well\n",
        )
        flip(folder / "model.safetensors")
        status, output = run_command(folder, "--repair")
        assert status == 3
        assert "model.safetensors is not the file that the settings speak of" in output
        assert "to do       copy the bundle again" in output
