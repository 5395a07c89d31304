"""The table of labels beyond the digits: what it judges, what it leaves out, and what it shows."""

import argparse
import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import neighbours, tokenizer_baselines
from benchmarks.coarser import STEPS, Variant, coarser, merged, variants
from benchmarks.heldout import divide
from benchmarks.label_sets import EXCERPTS, STROKES, _stroke, find_sets, trim
from benchmarks.neighbour_tables import as_tables, best_within, fewest_bits
from benchmarks.neighbours import Plan, Row, make_rows, named_bundles, plans
from benchmarks.tokenizer_baselines import Mfcc
from recipes.recipe import read_recipe
from ulmo.bundle.bundle import DEFAULT
from ulmo.config import UserError
from ulmo.pipelines.evaluate.encoders import AudioEncoder

RATE = 2000
RECIPE = """
holdout = { recordings = ["fsdd/*_c_*", "fsdd/*_d_*", "esc10/*_3-*"] }
"""
CORPUS = (
    '\n[[corpora]]\nname = "{0}"\nfolder = "{0}"\nlicence = "CC0-1.0"\nurl = "https://x.org/{0}"'
)
RECIPE += "".join(CORPUS.format(name) for name in ("fsdd", "esc10", "fly"))
HERTZ = {"0": 150, "1": 700, "dog": 150, "rain": 700, "A": 150, "B": 700}


def write(root, corpus, rows, licence=""):
    """A tone a label, between silences; `rows` are (file, label, extra)."""
    (root / corpus).mkdir(parents=True)
    lines = ["file,label,extra,start,end", *(f"{','.join(row)},," for row in rows)]
    (root / corpus / "labels.csv").write_text("\n".join(lines))
    (root / corpus / "LICENSE.txt").write_text(licence)
    for seed, (name, label, _) in enumerate(rows):
        time = np.arange(800) / RATE
        tone = 0.3 * np.sin(2 * np.pi * HERTZ.get(label, 400) * time)
        noise = np.random.default_rng(seed).normal(0, 0.01, len(time))
        silence = np.zeros(200 + 100 * (seed % 3))
        soundfile.write(root / corpus / name, np.concatenate([silence, tone + noise]), RATE)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("audio")
    digits = [(f"{n % 2}_{'abcd'[n // 2 % 4]}_{n}", n) for n in range(48)]
    rows = [(f"{name}.wav", str(n % 2), f"speaker={name[2]}") for name, n in digits]
    write(root, "fsdd", rows)
    clips = [f"{('dog', 'rain')[n % 2]}_{1 + 2 * (n // 2 % 2)}-{n}-A.ogg" for n in range(16)]
    people = "\n".join(
        f"- **[{name.split('_')[1]}](x)**: [a](http://www.freesound.org/people/{n % 5}/sounds/1)"
        for n, name in enumerate(clips)
    )
    write(root, "esc10", [(name, name.split("_")[0], "") for name in clips], people)
    letters = [
        (f"{lang}_alpha_{letter}.wav", letter, f"lang={lang}")
        for lang in ("en", "de", "he", *(f"x{n}" for n in range(8)))
        for letter in "AB"
    ]
    write(root, "klettres", [*letters, ("he_alpha_1.wav", "א", "lang=he")])
    calls = [(f"{name}.wav", name[3:6], "kind=clip") for name in EXCERPTS]
    write(root, "srkw_calls", [*calls, ("S_33.wav", "S33", "kind=context")])
    write(root, "fly", [("a.wav", "song", ""), ("b.wav", "song", "")])
    write(root, "bats", [(f"{n}.wav", "bat:mixed", "") for n in range(3)])
    write(root, "hermits", [(f"{n}.wav", "hermit", "") for n in range(3)])
    write(root, "frogs", [(f"{n}.wav", "AB"[n % 2], "") for n in range(24)])
    return root


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return read_recipe(path)


@pytest.fixture
def found(root, recipe, tmp_path):
    divide(recipe, root, tmp_path)
    return find_sets(recipe, root, tmp_path)


def test_each_corpus_is_judged_or_left_out(found):
    assert list(found.shares) == ["digits", "takes", "letters", "frogs"]
    assert list(found.counts) == ["esc10", "calls"]
    assert found.left_out == {
        "fly": "since the tokenizer that ships learned from it",
        "syllables": "since no label at all has two recordings",
        "bats": "since no label at all has two recordings",
        "hermits": "since no label but hermit has two recordings",
    }


def test_items_are_of_the_source_that_is_left_out(found):
    digits, takes = found.shares["digits"], found.shares["takes"]
    assert {item.source for item in digits.items} == {"c", "d"}  # of speakers held out
    assert len({item.source for item in takes.items}) == len(takes.items) == 24
    assert {item.source for item in found.counts["esc10"].items} <= set("01234")
    assert found.shares["letters"].labels() == {"A": 11, "B": 11}
    assert "א" not in {item.label for item in found.shares["letters"].items}
    calls = found.counts["calls"]
    assert {item.path.name for item in calls.items} == {f"{name}.wav" for name in EXCERPTS}
    assert calls.labels() == {"S33": 5, "S40": 2}
    assert len({item.source for item in calls.items}) == 6


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ColomboAcousticDrumkit_hihat-open-1.flac", "open hi-hat"),
        ("ColomboAcousticDrumkit_hihat-semi-open-2.flac", None),
        ("ColomboAcousticDrumkit_crash16i__crash1.flac", "crash"),
        ("ColomboAcousticDrumkit_crash16i__ride2.flac", "ride"),
        ("ColomboAcousticDrumkit_crash16i__ride_cup4.flac", None),
        ("ColomboAcousticDrumkit_snare-opaque-normal-mic-rimshot7.flac", "snare"),
        ("Millo_MultiLayered3_t1_02.flac", "tom"),
        ("Millo_MultiLayered3_hh_p.flac", "pedal hi-hat"),
        ("Millo_MultiLayered3_hh_03.flac", "closed hi-hat"),
        ("Millo_MultiLayered3_sr_01.flac", "roll"),
        ("sonicpi_drum_heavy_kick.flac", "kick"),
        ("sonicpi_drum_cymbal_hard.flac", None),
        ("sonicpi_tabla_te1.flac", None),
    ],
)
def test_strokes_follow_from_names(name, kind):
    assert _stroke(name, "Closed HH") == kind
    assert sum(bool(re.search(names, name)) for names in STROKES.values()) == (kind is not None)


def test_silence_around_a_sound_is_cut_off():
    tone = np.sin(np.arange(700)).astype(np.float32)
    quiet = np.full(335, 0.01, np.float32)
    np.testing.assert_array_equal(trim(np.concatenate([quiet[:300], tone, quiet]), 1000), tone)
    assert len(trim(np.zeros(95, np.float32), 1000)) == 100 - 5  # all of it is as loud


def test_codes_are_merged_with_those_near_them():
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(16)
    codebook = np.repeat(centres, 2, axis=0) + rng.normal(0, 0.1, (32, 16))
    ids = merged(codebook, 16)
    assert (ids[::2] == ids[1::2]).all()
    assert sorted(ids[::2]) == list(range(16))
    assert merged(codebook, 32).tolist() == list(range(32))
    grid = np.array([[0, 1], [2, 31], [32, 33], [3, 3]], np.int32)
    coarse = coarser(grid, ids, Variant(16, 2))
    assert coarse.tolist() == [[ids[0], ids[1]], [16, 16]]  # special tokens are of no code
    assert Variant(16, 2).bits_per_second(100) == 200
    assert variants(64)[0] == (64, 1)
    assert len(variants(512)) == 5 * len(STEPS)


def test_k_means_is_the_same_again_and_takes_means_of_frames(monkeypatch, tmp_path):
    monkeypatch.setattr(tokenizer_baselines, "CODES", 4)
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "x.wav", samples, 16_000)
    plain = Mfcc([tmp_path / "x.wav"], epochs=2)
    wide, again = (Mfcc([tmp_path / "x.wav"], epochs=2, frames=4) for _ in range(2))
    np.testing.assert_array_equal(wide.codebook, again.codebook)
    assert wide.codebook.shape == (4, 39)
    assert wide.encoder().hop == 4 * plain.encoder().hop == 640
    heard = samples[:1700].astype(np.float32)
    assert (len(plain.encoder().encode(heard)), len(wide.encoder().encode(heard))) == (11, 3)
    mfcc = tokenizer_baselines._mfcc(heard)
    np.testing.assert_allclose(wide._means(heard)[2], mfcc[8:].mean(axis=0), rtol=1e-5)


def test_a_row_for_each_bundle_and_k_means_at_its_columns(tmp_path):
    made = plans({"shipped": DEFAULT, "mine": DEFAULT}, tmp_path)
    columns = "k-means, MFCC-39, 10 ms", "k-means, MFCC-39, 40 ms"
    assert [plan.title for plan in made] == [*columns, "shipped", "mine"]
    row = made[2].build()
    assert (row.title, len(row.codebook)) == ("shipped", 512)
    assert named_bundles(["mine=a/b=c"]) == {"mine": Path("a/b=c")}
    with pytest.raises(UserError, match="NAME=PATH"):
        named_bundles(["a/b"])


def pitch(samples):
    """One id a block of 100 samples: the crossings of zero, which tell the tones apart."""
    blocks = samples[: len(samples) // 100 * 100].reshape(-1, 100) > 0
    crossings = (blocks[:, 1:] != blocks[:, :-1]).sum(axis=1)
    return np.minimum(crossings // 4, 15).astype(np.int32)[:, None]


def test_from_recordings_to_the_tables(root, found, tmp_path, monkeypatch):
    built = []

    def row():
        built.append("pitch")
        encoder = AudioEncoder(pitch, RATE, 100, 16, 1000, substitution=np.eye(16)[None])
        return Row("pitch", encoder, np.arange(16.0)[:, None].astype(np.float32))

    one = [Plan("pitch", "1", row)]
    monkeypatch.setattr(neighbours, "plans", lambda bundles, links: one)
    options = argparse.Namespace(audio_root=root, out=tmp_path, bundle={}, table=False)
    rows = make_rows(options, found)
    assert make_rows(options, found) == rows
    assert built == ["pitch"]
    assert rows[0]["bits"] == {"16/1": 80.0, "16/2": 40.0, "16/4": 20.0}
    assert rows[0]["sets"]["letters"]["16/1"]["sequences"]["accuracy"] == 1
    assert rows[0]["sets"]["letters"]["16/2"]["substitutions"] is None
    text = as_tables(rows, found)
    assert "| letters' names | 22 | 22 | 2 | another language | 50.0, 50.0 |" in text
    assert "Left out, since no label at all has two recordings: syllables, bats." in text
    assert text.count("| letters' names | 100.0, 100.0 |") == 3  # by each kind of neighbour
    assert "| ESC-10, of 8 | 8, 8 |" in text
    assert "| letters' names, 100.0 % | 20 |" in text
    assert "| 20 | " not in text
    assert "| 50 | 100.0 |" in text
    one[:] = [Plan("pitch", "2", row)]
    assert make_rows(options, found)[0]["fingerprint"] == "2"
    assert len(built) == 2
    (tmp_path / "neighbours" / "pitch.json").unlink()
    options.table = True
    with pytest.raises(UserError, match="no rows to show"):
        as_tables(make_rows(options, found), found)
    with pytest.raises(UserError, match="judged on other sets"):
        as_tables([{"sets": {}}], found)


def test_bits_are_those_of_the_coarsest_that_is_right_enough():
    def of(histogram, sequence):
        return {"histograms": {"accuracy": histogram}, "sequences": {"accuracy": sequence}}

    row = {
        "bits": {"512/1": 900.0, "16/1": 400.0, "16/2": 200.0},
        "sets": {
            "a": {"512/1": of(0.9, 0.5), "16/1": of(0.6, 0.8), "16/2": of(0.3, 0.2)},
            "b": {"512/1": of(0.5, 0.5), "16/1": of(0.4, 0.4), "16/2": of(0.9, 0.9)},
        },
    }
    assert fewest_bits(row, "a", 0.8) == 400
    assert fewest_bits(row, "a", 0.2) == 200
    assert fewest_bits(row, "a", 0.95) is None
    assert best_within(row, ["a", "b"], 900) == pytest.approx(0.7)
    assert best_within(row, ["a"], 399) == pytest.approx(0.3)
    assert best_within(row, ["a"], 100) is None
    assert math.isclose(best_within(row, ["b"], 200), 0.9)
