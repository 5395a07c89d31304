from functools import partial
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.pipelines.recordings import counting
from tests.storage import trees
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.publish import is_file_name, output_paths, remove_leftovers, stream_paths
from ulmo.pipelines.tokenize import plan as planning
from ulmo.pipelines.tokenize.plan import plan_outputs, plan_parts
from ulmo.storage.packed import Index


@pytest.fixture
def make(tmp_path):
    """A function that makes empty files, and gives their paths."""
    return partial(trees.make, tmp_path)


def targets_of(plan, root):
    return [planned.target.relative_to(root).as_posix() for planned in plan]


def names_of(plan):
    return [planned.name.as_posix() for planned in plan]


class TestFiles:
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
            (["a.tokens.b.wav"], ["a.tokens.b.tokens.npy"]),
            (["x.wav", "x.wav", "./x.wav"], ["x.tokens.npy"]),
        ],
    )
    def test_beside_each_recording(self, files, targets, make, tmp_path):
        plan = plan_outputs(make(*files), None, "npy")
        assert targets_of(plan, tmp_path) == targets
        assert [planned.source for planned in plan] == list(dict.fromkeys(make(*files)))
        assert [planned.name for planned in plan] == [planned.source for planned in plan]

    def test_to_one_file(self, make, tmp_path):
        out = tmp_path / "new" / "y.npy"
        assert targets_of(plan_outputs(make("x.wav"), out, "npy"), tmp_path) == ["new/y.npy"]
        with pytest.raises(UserError, match=r"y\.npy is one file, but 2 recordings were given"):
            plan_outputs(make("x.wav", "z.wav"), out, "npy")

    def test_two_recordings_that_would_be_one_are_refused(self, make, tmp_path):
        out = tmp_path / "out"
        with pytest.raises(UserError, match=r"x\.wav\.tokens\.npy: tokenize them apart"):
            plan_outputs(make("a/x.wav", "b/x.wav"), out, "npy")
        assert not out.exists()

    @pytest.mark.parametrize(
        ("names", "channels", "full"),
        [
            (["x.wav", "x.flac", "x.wav.wav"], "mix", ["x.wav", "x.flac", "x.wav.wav"]),
            (["x.wav", "x.wav.wav", "x.flac", "x.wav.wav.flac"], "mix", None),
            (["x.wav", "x.ch0.wav"], "each", ["x.ch0.wav"]),
            (["x.wav", "x.ch17.flac", "y.wav"], "each", ["x.ch17.flac"]),
            (["x.wav", "x.flac", "x.ch1.wav"], "each", ["x.wav", "x.flac", "x.ch1.wav"]),
            (["x.wav", "x.ch0.wav", "x.chorus.wav"], "mix", []),
        ],
    )
    def test_what_would_be_one_keeps_its_full_name(self, names, channels, full, make):
        """No three names in a folder keep the others from being tokenized."""
        plan = plan_outputs(make(*names), None, "npy", channels)
        targets = {planned.source.name: planned.target.name for planned in plan}
        assert len(set(targets.values())) == len(names)
        if full is not None:
            for name, target in targets.items():
                stem = name if name in full else Path(name).stem
                assert target == f"{stem}.tokens.npy"

    def test_all_targets_are_gathered_once(self, make, monkeypatch):
        """Not once for each name that may be a channel of another."""
        gathered = []
        monkeypatch.setattr(planning, "Index", counting(gathered, Index))
        assert (
            len(plan_outputs(make(*(f"{n}.ch1.wav" for n in range(9))), None, "npy", "each")) == 9
        )
        assert len(gathered) == 1

    def test_what_is_not_there_is_refused(self, make, tmp_path):
        for path in (tmp_path / "missing.wav", tmp_path / "missing"):
            with pytest.raises(UserError, match=r"missing.* is neither a file nor a folder"):
                plan_outputs([*make("x.wav"), path], None, "npy")

    @pytest.mark.parametrize(
        ("out", "file_format", "right"),
        [
            ("y.npy", "parquet", ".tokens.parquet"),
            ("y.tokens.csv", "npy", ".tokens.npy"),
            ("y.txt", "raven", ".tokens.selections.txt"),
            ("y.selections.txt", "audacity", ".tokens.labels.txt"),
        ],
    )
    def test_a_name_of_another_format_is_no_folder(self, out, file_format, right, make, tmp_path):
        with pytest.raises(UserError, match=f"no name for {file_format}: end it with {right}"):
            plan_outputs(make("x.wav"), tmp_path / out, file_format)
        (tmp_path / out).mkdir()
        assert len(plan_outputs(make("x.wav"), tmp_path / out, file_format)) == 1
        assert len(plan_outputs(make("x.wav"), tmp_path / "v1.2", file_format)) == 1

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_each_format_has_its_names(self, file_format, make, tmp_path):
        (planned,) = plan_outputs(make("x.wav"), tmp_path / "out", file_format)
        assert planned.target.name == "x" + FORMATS[file_format].suffixes[0]
        assert is_file_name(planned.target, file_format)
        assert not is_file_name(planned.target.with_name("x.parcel"), file_format)


class TestFolders:
    def test_folders_are_mirrored(self, make, tmp_path):
        make("in/x.wav", "in/a/x.WAV", "in/a/b/y.flac", "in/a/notes.txt", "in/a/x.ogg")
        out = tmp_path / "out"
        plan = plan_outputs([tmp_path / "in"], out, "npy")
        assert names_of(plan) == ["a/b/y.flac", "a/x.WAV", "a/x.ogg", "x.wav"]
        assert targets_of(plan, out / "tokens") == [
            "a/b/y.tokens.npy",
            "a/x.WAV.tokens.npy",
            "a/x.ogg.tokens.npy",
            "x.tokens.npy",
        ]
        beside = plan_outputs([tmp_path / "in"], None, "npy")
        assert targets_of(beside, tmp_path / "in") == targets_of(plan, out / "tokens")

    def test_an_output_among_the_recordings_is_left_out(self, make, tmp_path):
        make("x.wav", "out/stray.wav", "out/a/stray.wav", "outside/y.wav")
        plan = plan_outputs([tmp_path], tmp_path / "out", "npy")
        assert names_of(plan) == ["outside/y.wav", "x.wav"]
        assert len(plan_outputs([tmp_path], tmp_path, "npy")) == 4

    def test_a_folder_without_recordings_is_refused(self, make, tmp_path):
        make("in/notes.txt")
        with pytest.raises(UserError, match=r"no recordings below .*in "):
            plan_outputs([tmp_path / "in"], None, "npy")

    def test_parts_of_a_timeline_may_have_one_name(self, make, tmp_path):
        files = make("a/x.wav", "a/y.wav", "b/x.wav", "c/x.wav")
        sources = [tmp_path / "a", tmp_path / "b", files[0], files[3]]
        plan = plan_parts(sources, tmp_path / "t.npy", "npy")
        assert [planned.source for planned in plan] == files
        assert names_of(plan) == [
            files[0].as_posix(),
            "y.wav",
            files[2].as_posix(),
            files[3].as_posix(),
        ]
        assert len({planned.target for planned in plan}) == 4


NAMES = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "a/", "b/"]),
        st.sampled_from(["x", "y", "x.wav", "x.ch1", "x.tokens"]),
        st.sampled_from([".wav", ".flac", ".WAV"]),
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(names=NAMES, file_format=st.sampled_from(list(FORMATS)), channels=st.sampled_from("me"))
def test_no_two_recordings_share_a_file(names, file_format, channels, tmp_path_factory):
    root = tmp_path_factory.mktemp("plan")
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    channels = {"m": "mix", "e": "each"}[channels]
    refused = False
    try:
        plan = plan_outputs([root], root / "out", file_format, channels)
    except UserError:
        refused = True
    assume(not refused)
    assert sorted(names_of(plan)) == sorted(names)
    files = []
    for planned in plan:
        streams = [[None]] if channels == "mix" else [range(1), range(2), range(3)]
        outputs = {path for chosen in streams for path in stream_paths(planned.target, chosen)}
        for output in outputs:
            paths = output_paths(output, file_format)
            files += [*paths.files, paths.header]
        assert all(path.parent == root / "out" / "tokens" / planned.name.parent for path in outputs)
    assert len(set(files)) == len(files)


@pytest.mark.parametrize(
    ("target", "channels", "expected"),
    [
        ("x.tokens.npy", [None], ["x.tokens.npy"]),
        ("x.tokens.npy", [3], ["x.tokens.npy"]),
        ("x.tokens.npy", [0, 1], ["x.ch0.tokens.npy", "x.ch1.tokens.npy"]),
        (
            "x.tokens.y.tokens.bin",
            [0, 1],
            ["x.tokens.y.ch0.tokens.bin", "x.tokens.y.ch1.tokens.bin"],
        ),
        ("x.tokens.labels.txt", [0, 1], ["x.ch0.tokens.labels.txt", "x.ch1.tokens.labels.txt"]),
        ("y.npy", [0, 1], ["y.ch0.npy", "y.ch1.npy"]),
    ],
)
def test_channels_have_files_of_their_own(target, channels, expected, tmp_path):
    paths = stream_paths(tmp_path / target, channels)
    assert paths == [tmp_path / name for name in expected]


def test_what_a_kill_left_of_ours_is_removed_and_nothing_else(make, tmp_path):
    ours = make(
        *(".x.tokens.bin.17.tmp", ".x.tokens.idx.17.tmp", ".x.tokens.json.3.tmp"),
        *("a/.y.tokens.bin.1.tmp",),
    )
    others = make(
        *(".z.tokens.bin.17.tmp", ".x.tokens.npy.17.tmp", ".x.1.tokens.bin.17.tmp"),
        *("x.tokens.bin", ".x.tokens.bin", ".x.tokens.bin.tmp", "a/.x.tokens.bin.17.tmp"),
    )
    targets = (tmp_path / "x.tokens.bin", tmp_path / "a" / "y.tokens.bin")
    remove_leftovers(targets, "megatron")
    assert [path for path in ours if path.exists()] == []
    assert [path for path in others if not path.exists()] == []


def test_a_file_that_is_given_twice_is_taken_once(tmp_path):
    path = tmp_path / "x" / "s.wav"
    path.parent.mkdir()
    path.touch()
    again = tmp_path / "x" / ".." / "x" / "s.wav"
    (tmp_path / "link").symlink_to(tmp_path / "x")
    sources = [path, again, tmp_path / "link" / "s.wav", tmp_path / "x"]
    assert [planned.source for planned in plan_outputs(sources, tmp_path / "out", "npy")] == [path]
    assert [planned.source for planned in plan_parts(sources, tmp_path / "t.npy", "npy")] == [path]
    other = tmp_path / "x" / "t.wav"
    other.symlink_to(path)
    assert len(plan_outputs([path, other], tmp_path / "out", "npy")) == 2


def test_parts_of_one_name_are_called_by_their_paths(make, tmp_path):
    """Rows of two cards' files are told apart in one table."""
    make("a/x.wav", "a/y.wav", "b/x.wav")
    plan = plan_parts([tmp_path / "a", tmp_path / "b"], tmp_path / "all.csv", "csv")
    assert names_of(plan) == [f"{tmp_path}/a/x.wav", "y.wav", f"{tmp_path}/b/x.wav"]
