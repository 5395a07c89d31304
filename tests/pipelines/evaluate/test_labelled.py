"""Labels from CSV files and from folders, and the samples that they are of."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ulmo.config import UserError
from ulmo.pipelines.evaluate.labelled import Sounds, _Labelled, find_labelled

RATE = 1000


@pytest.fixture
def folder(tmp_path):
    """Ramps of one second, sample n is n / 2000, two in folders; and a file that is no sound."""
    ramp = np.arange(RATE) / 2000
    for name in ("x.wav", "frogs/a.wav", "birds/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, ramp, RATE, subtype="FLOAT")
    (tmp_path / "birds" / "text.wav").write_text("no sound at all " * 9)
    return tmp_path


def labels(folder, text):
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8-sig")  # as spreadsheets write it
    return path


def test_folders_are_labels(folder):
    assert find_labelled(folder) == [
        _Labelled(Path("birds/b.wav"), "birds", None),
        _Labelled(Path("birds/text.wav"), "birds", None),
        _Labelled(Path("frogs/a.wav"), "frogs", None),
        _Labelled(Path("x.wav"), ".", None),
    ]


@pytest.mark.parametrize(
    ("text", "column", "speaker"),
    [
        ("file,label\nx.wav,a b", None, None),
        ('label,file\n"a b",x.wav\n', None, None),
        ("file,label,speaker\nx.wav,a b,Ann\n", None, "Ann"),
        ("file,label,who,speaker\nx.wav,a b,Ann,Bob\n", "who", "Ann"),
        ("file,label,extra\nx.wav,a b,take=0;speaker=Ann\n", "extra:speaker", "Ann"),
        ("file,label,extra\nx.wav,a b,speaker=A=B; take=0\n", "extra:speaker", "A=B"),
        ("file,label,extra\nx.wav,a b,speaker=Ann\n", "extra", "speaker=Ann"),
    ],
)
def test_columns_of_a_csv(text, column, speaker, folder):
    found = find_labelled(folder, labels(folder, text), column)
    assert found == [_Labelled(Path("x.wav"), "a b", speaker)]


@pytest.mark.parametrize(
    ("column", "sources"),
    [
        (None, ["x.wav", "x.wav", "birds/b.wav"]),
        ("place", ["pond", "wood", "pond"]),
        ("extra:tape", ["1", "2", "2"]),
    ],
)
def test_sources_are_told_or_else_the_files(column, sources, folder):
    rows = [
        "file,label,place,extra,start,end",
        "x.wav,a,pond,tape=1,0,0.5",
        "x.wav,b,wood,tape=2,0.5,",
        "birds/b.wav,a,pond,tape=2,,",
    ]
    path = labels(folder, "\n".join(rows))
    found = find_labelled(folder, path, source_column=column)
    read = Sounds.read(folder, found, sample_rate=RATE, max_seconds=1)
    assert read.sources == sources
    assert read.groups == [[path.as_posix() for path, *_ in found], sources]
    assert read.speakers is None


def test_start_and_end_may_be_empty(folder):
    path = labels(folder, "file,label,start,end\nx.wav,a,,\nx.wav,b,0.25,0.5\nx.wav,c,0.5,\n")
    found = find_labelled(folder, path)
    assert [(item.start_s, item.end_s) for item in found] == [(0, None), (0.25, 0.5), (0.5, None)]
    read = Sounds.read(folder, found, sample_rate=RATE, max_seconds=0.4)
    assert [len(sound.samples) for sound in read.sounds] == [400, 250, 400]
    for sound, first in zip(read.sounds, (0, 250, 500), strict=True):
        ramp = np.arange(first, first + len(sound.samples)) / 2000
        np.testing.assert_allclose(sound.samples, ramp, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("file,name\nx.wav,a\n", None, "has no column 'label': it has file, name"),
        ("", None, "has no column 'file': it has none"),
        ("file,label\n", None, "names no recording"),
        ("file,label\nx.wav,a\nnone.wav,b\n", None, "line 3: there is no .*none.wav"),
        ("file,label\nx.wav\n", None, "line 2 has too few columns"),
        ("file,label\n,a\n", None, "line 2 names no file"),
        ("file,label\nx.wav,a\n", "speaker", "has no column 'speaker'"),
        ("file,label,extra\nx.wav,a,take=0\n", "extra:speaker", "line 2 has no speaker in 'ext"),
        ("file,label,start\nx.wav,a,soon\n", None, "line 2: soon is no time in seconds"),
        ("file,label,end\nx.wav,a,-1\n", None, "line 2: -1 is no time in seconds"),
        ("file,label,end\nx.wav,a,inf\n", None, "inf is no time in seconds"),
        ("file,label,start\nx.wav,a,1e308\n", None, "line 2: 1e308 is no time in seconds"),
        ("file,label\n" + "x" * 300 + ".wav,a\n", None, "line 2: there is no .*xxx"),
        ("file,label," + "," * 300, None, "cannot be read as CSV: it has more than 256 columns"),
        ("file,label\nx.wav," + "a" * (1 << 21), None, "cannot be read as CSV: "),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(text, column, words, folder):
    with pytest.raises(UserError, match=words) as caught:
        find_labelled(folder, labels(folder, text), column)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_told(folder):
    with pytest.raises(UserError, match="is not a folder"):
        find_labelled(folder / "x.wav")
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="no recordings below"):
        find_labelled(folder / "empty")
    with pytest.raises(UserError, match="cannot be read as CSV"):
        find_labelled(folder, folder / "none.csv")
    with pytest.raises(UserError, match="--speaker-column names a column of the file given with"):
        find_labelled(folder, None, "speaker")
    with pytest.raises(UserError, match="--source-column names a column of the file given with"):
        find_labelled(folder, None, source_column="place")
    path = labels(folder, "file,label,place\nx.wav,a,\n")
    with pytest.raises(UserError, match="line 2 has no source in 'place'"):
        find_labelled(folder, path, source_column="place")
    with pytest.raises(UserError, match="has no column 'tape'"):
        find_labelled(folder, path, source_column="tape:1")


def test_recordings_that_cannot_be_read_are_refused_one_by_one(folder):
    told = []
    items = [*find_labelled(folder), _Labelled(Path("x.wav"), "late", None, 5.0)]
    read = Sounds.read(folder, items, sample_rate=500, max_seconds=9, progress=told.append)
    assert read.labels == ["birds", "frogs", "."]
    assert {len(sound.samples) for sound in read.sounds} == {500}
    assert [path.as_posix() for path, *_ in read.refused] == ["birds/text.wav", "x.wav"]
    assert read.refused[1].reason == "too_short"
    assert told == [1, 2, 3, 4, 5]
    assert read.speakers is None
    assert Sounds([s._replace(speaker="Ann") for s in read.sounds], []).speakers == ["Ann"] * 3
