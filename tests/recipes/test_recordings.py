"""What a corpus takes from packages, and the table of all corpora."""

import re
from functools import partial

import numpy as np
import pytest
import soundfile

from recipes.corpora import recordings
from recipes.corpora.packages import REGISTRIES, Package
from recipes.corpora.recordings import Source, debian_notice, files, label_of, make
from recipes.corpora.table import CORPORA
from tests.test_default_tokenizer import FREE

RATE = 8000
PACKAGE = Package("Debian", "drums", "1-2", "0" * 64)


def noise(seed, frames=RATE, level=3000):
    return (level * np.random.default_rng(seed).uniform(-1, 1, frames)).astype(np.int16)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """The files of a package, which `fetch` brings."""
    folder = tmp_path / "tree"
    kit = folder / "usr/share/kit"
    (kit / "music").mkdir(parents=True)
    stereo = np.stack([noise(1), noise(2)], axis=1)
    for name, samples, suffix in (
        ("36-Kick-1", stereo, "wav"),
        ("36-Kick-2", noise(3, RATE // 2), "flac"),
        ("37-Rim #1 (L)", noise(4), "ogg"),
        ("copy", noise(1), "wav"),
        ("faint", noise(5, level=20), "wav"),
        ("short", noise(6, RATE // 20), "wav"),
        ("empty", noise(7, 0), "wav"),
        ("music/theme", noise(8), "wav"),
    ):
        soundfile.write(kit / f"{name}.{suffix}", samples, RATE)
    (kit / "link.wav").symlink_to("36-Kick-1.wav")
    (kit / "notes.txt").write_text("notes")
    notice = folder / "usr/share/doc/drums/copyright"
    notice.parent.mkdir(parents=True)
    notice.write_text("License: CC0-1.0\n")
    monkeypatch.setattr(recordings, "fetch", lambda package, workshop: folder)
    return folder


def test_recordings_of_a_package(tree, tmp_path):
    sounds = partial(files, base="usr/share/kit", without=("music/*",))
    sources = (Source(PACKAGE, sounds, debian_notice),)
    content = make(sources, r"\d+-", tmp_path / "root" / "drums", 1)
    assert [(label.file, label.label) for label in content.labels] == [
        ("36-Kick-1.flac", "Kick"),
        ("36-Kick-2.flac", "Kick"),
        ("37-Rim_1_L.flac", "Rim"),
    ]
    first, rate = soundfile.read(tmp_path / "root/drums/36-Kick-1.flac", dtype="int16")
    np.testing.assert_array_equal(first, noise(1))  # the left channel
    assert rate == RATE
    (pair,) = content.pairs
    assert pair == ("36-Kick-1.flac", "36-Kick-2.flac", (0.0, 0.5), (0.0, 0.5))
    assert "Debian package drums 1-2:\n\nLicense: CC0-1.0\n" in content.licence
    assert make(sources, r"\d+-", tmp_path / "root" / "drums", 1) == content


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("digits/7", "7"),
        ("animal/chicken_10.ogg", "chicken"),
        ("Banks/P200 Piano F#2(L).wav", "P200_Piano"),
        ("harmnc_e5(R).wav", "harmnc"),
        ("36-Ludwig26Kick-1.wav", "Ludwig26Kick"),
        ("elephant_attack1.ogg", "elephant_attack"),
    ],
)
def test_labels_are_names_without_numbers(path, label):
    assert label_of(path) == label


def test_every_corpus_is_free_and_every_package_known_to_the_byte():
    folders = list(CORPORA)
    assert len(folders) >= 11
    assert folders[-2:] == ["voices", "calls"]
    for folder, corpus in CORPORA.items():
        assert corpus.folder == folder
        assert re.fullmatch(r"[a-z0-9_]{1,64}", folder)
        assert FREE.fullmatch(corpus.licence), corpus.licence
        if not isinstance(corpus.make, partial):
            continue
        for source in corpus.make.args[0]:
            assert source.package.registry in REGISTRIES
            assert re.fullmatch("[0-9a-f]{64}", source.package.sha256)
            assert source.package.version
