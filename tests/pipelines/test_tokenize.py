import io

import numpy as np
import pytest
import soundfile

from ulmo.config import PrepSettings, UserError
from ulmo.pipelines.tokenize import plan_outputs, tokenize_files
from ulmo.tokenizer import load_tokenizer
from ulmo.tokens import read_npy

RATE = 2000
PREP = PrepSettings(frontend="stft", tile_size=32, sample_rate=RATE, hop_length=20)
PLAN = {"frequency_stride": 8, "time_stride": 4}


@pytest.fixture(scope="module")
def tokenizer(make_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "tokenizer"
    return load_tokenizer(make_bundle(folder, PREP, **PLAN), threads=1)


def record(path, *, channels=1, seconds=2.0, seed=0, **options):
    """A recording of noise bursts; it is returned as its path."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    samples = rng.normal(0, 0.1, (len(time), channels)) * np.sin(5 * time)[:, None] ** 2
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, **options)
    return path


def saved(ids):
    file = io.BytesIO()
    np.save(file, ids)
    return file.getvalue()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def tokenize(tokenizer, files, **options):
    told = []
    results = tokenize_files(tokenizer, files, done=told.append, **options)
    assert told == results
    return results


class TestPlan:
    @pytest.fixture
    def make(self, tmp_path):
        def make(*relative):
            paths = [tmp_path / name for name in relative]
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            return paths

        return make

    def plan(self, files, out, root):
        targets = plan_outputs(files, out)
        assert list(targets) == list(dict.fromkeys(files))
        return [target.relative_to(root).as_posix() for target in targets.values()]

    @pytest.mark.parametrize(
        ("files", "targets"),
        [
            (["x.wav"], ["x.tokens.npy"]),
            (["a/x.wav", "b/x.wav"], ["a/x.tokens.npy", "b/x.tokens.npy"]),
            (["x.y.wav", "noext"], ["x.y.tokens.npy", "noext.tokens.npy"]),
            (["x.wav", "x.flac"], ["x.wav.tokens.npy", "x.flac.tokens.npy"]),
            (
                ["x.wav", "y.wav", "x.flac", "x.ogg"],
                ["x.wav.tokens.npy", "y.tokens.npy", "x.flac.tokens.npy", "x.ogg.tokens.npy"],
            ),
            (["x.wav", "x.wav"], ["x.tokens.npy"]),
        ],
    )
    def test_beside_each_recording(self, files, targets, make, tmp_path):
        assert self.plan(make(*files), None, tmp_path) == targets

    @pytest.mark.parametrize(
        ("files", "targets"),
        [
            (["a/x.wav", "b/y.wav"], ["x.tokens.npy", "y.tokens.npy"]),
            (["a/x.wav", "b/x.flac"], ["x.wav.tokens.npy", "x.flac.tokens.npy"]),
        ],
    )
    def test_into_one_folder(self, files, targets, make, tmp_path):
        out = tmp_path / "new" / "folder"
        assert self.plan(make(*files), out, out) == targets
        assert not out.exists()

    def test_to_one_file(self, make, tmp_path):
        out = tmp_path / "new" / "y.npy"
        assert self.plan(make("x.wav"), out, tmp_path) == ["new/y.npy"]
        with pytest.raises(UserError, match=r"y\.npy is one file, but 2 recordings were given"):
            plan_outputs(make("x.wav", "z.wav"), out)

    @pytest.mark.parametrize(
        ("files", "clash"),
        [
            (["a/x.wav", "b/x.wav"], "x.wav.tokens.npy"),
            (["x.wav", "x.flac", "x.wav.wav"], "x.wav.tokens.npy"),
        ],
    )
    def test_two_recordings_that_would_be_one_are_refused(self, files, clash, make, tmp_path):
        out = tmp_path / "out"
        with pytest.raises(UserError, match=f"{clash}: tokenize them apart"):
            plan_outputs(make(*files), out)
        assert not out.exists()

    def test_what_is_not_a_file_is_refused(self, make, tmp_path):
        make("a/x.wav")
        for path in (tmp_path / "missing.wav", tmp_path / "a"):
            with pytest.raises(UserError, match="is not a file"):
                plan_outputs([*make("x.wav"), path], None)

    def test_a_folder_that_cannot_be_made_is_refused(self, make, tmp_path, tokenizer):
        with pytest.raises(UserError, match=r"cannot make the folder .*: set --out"):
            tokenize(tokenizer, make("x.wav", "file"), out=tmp_path / "file")


def test_output_is_np_save_of_the_ids(tokenizer, tmp_path):
    path = record(tmp_path / "x.wav", seconds=12.34)
    (result,) = tokenize(tokenizer, [path])
    target = tmp_path / "x.tokens.npy"
    ids = tokenizer.encode(path).ids
    assert target.read_bytes() == saved(ids)
    assert ids.shape == (-(-1234 // 4), 4)
    assert ids.dtype == np.int32
    assert 0 <= ids.min() <= ids.max() < tokenizer.vocabulary.size
    assert len(np.unique(ids)) > 2
    assert (result.source, result.outputs) == (path, [target])
    assert (result.verdict.status, result.detail) == ("ok", None)
    assert (result.seconds, result.columns, result.bands) == (12.34, 309, 4)
    assert names(tmp_path) == ["x.tokens.npy", "x.wav"]


def test_a_bad_file_is_refused_and_the_rest_go_on(tokenizer, tmp_path):
    files = [tmp_path / name for name in ("a.wav", "empty.wav", "text.wav", "b.flac")]
    record(files[0], seed=1)
    files[1].touch()
    files[2].write_text("no sound")
    record(files[3], seed=2)
    results = tokenize(tokenizer, files, out=tmp_path / "out")
    assert [result.source for result in results] == files
    assert [(result.verdict.status, result.verdict.reason) for result in results] == [
        ("ok", None),
        ("refused", "empty_file"),
        ("refused", "not_audio"),
        ("ok", None),
    ]
    for result in results[1:3]:
        assert (result.outputs, result.columns, result.seconds) == ([], 0, 0)
        assert result.detail
    assert names(tmp_path / "out") == ["a.tokens.npy", "b.tokens.npy"]


def test_a_refused_file_leaves_what_was_there(tokenizer, tmp_path):
    path = record(tmp_path / "x.wav")
    tokenize(tokenizer, [path])
    before = (tmp_path / "x.tokens.npy").read_bytes()
    path.write_bytes(b"")
    tokenize(tokenizer, [path])
    assert (tmp_path / "x.tokens.npy").read_bytes() == before
    assert names(tmp_path) == ["x.tokens.npy", "x.wav"]


def test_a_file_that_fails_at_its_first_frame_is_refused(tokenizer, tmp_path):
    path = record(tmp_path / "x.flac")
    content = path.read_bytes()
    first = content.index(b"\xff\xf8", 42)
    path.write_bytes(content[:first] + bytes(len(content) - first))
    (result,) = tokenize(tokenizer, [path])
    assert (result.verdict.status, result.verdict.reason) == ("refused", "decode_error")
    assert names(tmp_path) == ["x.flac"]


def test_each_channel_has_its_own_file(tokenizer, tmp_path):
    path = record(tmp_path / "x.wav", channels=3)
    (result,) = tokenize(tokenizer, [path], channels="each")
    targets = [tmp_path / f"x.ch{i}.tokens.npy" for i in range(3)]
    assert result.outputs == targets
    for channel, target in enumerate(targets):
        np.testing.assert_array_equal(read_npy(target), tokenizer.encode(path, channel=channel).ids)
    assert names(tmp_path) == [*(target.name for target in targets), "x.wav"]


def test_each_channel_of_one_file_that_is_named(tokenizer, tmp_path):
    path = record(tmp_path / "x.wav", channels=2)
    tokenize(tokenizer, [path], channels="each", out=tmp_path / "out" / "y.npy")
    assert names(tmp_path / "out") == ["y.ch0.npy", "y.ch1.npy"]


def test_each_channel_of_a_mono_file_is_the_file(tokenizer, tmp_path):
    tokenize(tokenizer, [record(tmp_path / "x.wav")], channels="each")
    assert names(tmp_path) == ["x.tokens.npy", "x.wav"]


@pytest.mark.parametrize(("channels", "channel"), [("mix", None), (None, None), ("1", 1)])
def test_one_stream_of_channels_has_one_file(channels, channel, tokenizer, tmp_path):
    path = record(tmp_path / "x.wav", channels=2)
    tokenize(tokenizer, [path], channels=channels)
    assert names(tmp_path) == ["x.tokens.npy", "x.wav"]
    expected = tokenizer.encode(path, channel=channel).ids
    np.testing.assert_array_equal(read_npy(tmp_path / "x.tokens.npy"), expected)


def test_channels_are_by_default_those_of_the_training(make_bundle, tmp_path):
    prep = PREP.model_copy(update={"channels": "each"})
    tokenizer = load_tokenizer(make_bundle(tmp_path / "tokenizer", prep, **PLAN))
    path = record(tmp_path / "audio" / "x.wav", channels=2)
    tokenize(tokenizer, [path], out=tmp_path / "out")
    assert names(tmp_path / "out") == ["x.ch0.tokens.npy", "x.ch1.tokens.npy"]


def test_a_channel_that_is_not_there_is_refused(tokenizer, tmp_path):
    files = [record(tmp_path / "mono.wav"), record(tmp_path / "stereo.wav", channels=2)]
    first, second = tokenize(tokenizer, files, channels="1")
    assert (first.verdict.status, first.verdict.reason) == ("refused", "no_channel")
    assert second.outputs == [tmp_path / "stereo.tokens.npy"]


@pytest.mark.parametrize("channels", ["left", "-1", "1.5", "each "])
def test_channels_that_are_none_are_the_users_mistake(channels, tokenizer, tmp_path):
    with pytest.raises(UserError, match="channels must be mix, each or a number from 0"):
        tokenize(tokenizer, [record(tmp_path / "x.wav")], channels=channels)


def test_a_partial_recording_is_noted(tokenizer, tmp_path):
    path = record(tmp_path / "x.wav")
    path.write_bytes(path.read_bytes()[:-2000])
    (result,) = tokenize(tokenizer, [path])
    assert (result.verdict.status, result.verdict.reason) == ("partial", "truncated")
    assert result.detail == "the file ends 1000 frames before its header says"
    assert (result.seconds, result.columns) == (1.5, 38)  # 3000 samples, 150 frames
    assert read_npy(result.outputs[0]).shape == (38, 4)


def test_a_recording_shorter_than_a_frame_is_a_column(tokenizer, tmp_path):
    path = record(tmp_path / "x.wav", seconds=1 / RATE)
    (result,) = tokenize(tokenizer, [path])
    assert (result.verdict.status, result.columns) == ("ok", 1)
    assert read_npy(result.outputs[0]).shape == (1, 4)


def test_memory_does_not_hold_the_recording(tokenizer, tmp_path, monkeypatch):
    """Columns are written as they come, not gathered."""
    sizes = []
    columns = type(tokenizer).columns

    def watched(self, source):
        for part in columns(self, source):
            sizes.append(len(part.ids))
            yield part

    monkeypatch.setattr(type(tokenizer), "columns", watched)
    path = record(tmp_path / "x.wav", seconds=20)
    (result,) = tokenize(tokenizer, [path])
    assert sum(sizes) == result.columns == 500
    assert max(sizes) <= 64
