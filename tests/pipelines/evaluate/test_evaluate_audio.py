"""ulmo eval on labelled recordings: what is measured is what the parts measure."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.small_tokenizers import HOP, RATE
from ulmo.config import UserError
from ulmo.evaluation.abx import abx
from ulmo.evaluation.codebook import codebook_health, rate
from ulmo.evaluation.folds import split_folds
from ulmo.evaluation.nearest import nearest
from ulmo.evaluation.pairwise import distance_matrix, vector_distances
from ulmo.evaluation.probe import by_line, histograms, mean_latents, probe
from ulmo.pipelines.evaluate import audio as module
from ulmo.pipelines.evaluate.audio import (
    AudioEvaluation,
    AudioPlan,
    EncoderFigures,
    _mean_frames,
    _spectrogram,
    _spectrogram_step,
)
from ulmo.pipelines.evaluate.encoders import _CHANGES, AudioEncoder, latents_of
from ulmo.pipelines.evaluate.evaluate import Evaluation, evaluate
from ulmo.pipelines.evaluate.labelled import Sounds, _Sound, find_labelled
from ulmo.preprocessing.frontends import build_frontend
from ulmo.reports.evaluate import EvalProgress, evaluation_table

TONES = {"low": 120, "high": 700}


def recording(label, number):
    """A tone in noise, of a length of its own, of one of two speakers, who differ in loudness."""
    rng = np.random.default_rng([TONES[label], number])
    time = np.arange(900 + 70 * number) / RATE
    tone = (0.1 + 0.2 * (number % 2)) * np.sin(2 * np.pi * TONES[label] * time)
    return tone + rng.normal(0, 0.01, len(time))


pytestmark = pytest.mark.usefixtures("no_pixels")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four recordings of either label, and a file that is no sound; with a CSV of speakers."""
    folder = tmp_path_factory.mktemp("audio")
    lines = ["file,label,extra"]
    for label in TONES:
        (folder / label).mkdir()
        for number in range(4):
            soundfile.write(folder / label / f"{number}.wav", recording(label, number), RATE)
            lines.append(f"{label}/{number}.wav,{label},take={number};speaker=S{number % 2}")
    (folder / "low" / "x.wav").write_text("no sound at all " * 9)
    (folder / "labels.csv").write_text("\n".join([*lines, "low/x.wav,low,speaker=S0"]))
    return folder


@pytest.fixture(scope="module")
def plan(folder):
    return AudioPlan(folder, folder / "labels.csv", "extra:speaker")


def sounds_of(plan):
    labelled = find_labelled(plan.folder, plan.labels, plan.speaker_column)
    return Sounds.read(plan.folder, labelled, sample_rate=RATE, max_seconds=plan.max_seconds)


def test_figures_are_those_of_the_parts(tokenizer, plan):
    found = AudioEvaluation.measure(tokenizer, plan)
    sounds = sounds_of(plan)
    labels, speakers = sounds.labels, sounds.speakers
    assert (found.recordings, found.labels, found.speakers) == (8, ["high", "low"], ["S0", "S1"])
    assert found.seconds == sum(len(sound.samples) for sound in sounds.sounds) / RATE
    assert [refused.path.name for refused in found.refused] == ["x.wav"]

    of = AudioEncoder.of(tokenizer)
    grids = [of.encode(sound.samples) for sound in sounds.sounds]
    tokens = found.tokens
    assert tokens.abx == abx(grids, labels, speakers, distance="identical")
    assert tokens.robustness == of.robustness([sound.samples for sound in sounds.sounds])
    model = tokenizer.manifest.model
    per_second = model.bands * RATE / (HOP * model.time_stride)
    assert tokens.rate == rate(grids, codebook_size=16, tokens_per_second=per_second)
    counts = np.bincount(np.concatenate([grid.ravel() for grid in grids]), minlength=16)
    np.testing.assert_array_equal(tokens.counts, counts)
    assert tokens.codebook == codebook_health(counts)
    heard = np.concatenate(
        [grid[of.sound(s.samples, grid)] for grid, s in zip(grids, sounds.sounds, strict=True)]
    )
    np.testing.assert_array_equal(tokens.sound_counts, np.bincount(heard, minlength=16))

    latents = [latents_of(tokenizer)(sound.samples) for sound in sounds.sounds]
    assert found.latents.abx == abx(latents, labels, speakers, distance="cosine")
    masks = [of.sound(s.samples, grid) for grid, s in zip(grids, sounds.sounds, strict=True)]
    folds = split_folds(labels, sounds.sources, speakers)
    assert [len(fold.test) for fold in folds.folds] == [4, 4]
    shares, means = histograms(grids, masks, 16), mean_latents(latents)
    assert tokens.probe == probe(shares, labels, folds, by_line)
    assert found.latents.probe == probe(means, labels, folds, by_line)
    assert found.latents.probe.accuracy == 1  # low from high, whoever speaks

    groups = [sounds.sources, speakers]
    near = tokens.neighbours
    assert (near.missing, near.substitutions) == ("", None)
    assert near.histograms == nearest(vector_distances(shares), labels, groups)
    edits = distance_matrix(grids, "identical", "edit")
    assert near.sequences == nearest(edits, labels, groups)
    assert found.latents.nearest == nearest(vector_distances(means), labels, groups)
    assert found.latents.nearest[:4] == (1, 1, 0.5, 0.5)

    assert found.scores_abx is None
    codes = [tokenizer.codebook[grid] for grid in grids]
    assert found.codes_abx == abx(codes, labels, speakers, distance="cosine")
    frontend = build_frontend(tokenizer.manifest.prep)
    planes = [_spectrogram(tokenizer, frontend, sound.samples) for sound in sounds.sounds]
    assert found.spectrogram_abx == abx(planes, labels, speakers, distance="cosine")
    assert found.spectrogram_abx.within.error < 0.1  # low from high, by their spectra
    assert found.spectrogram_step == 1


def test_scores_of_substitution_are_a_distance_of_ids(tokenizer, plan, monkeypatch):
    """With these, ids of one half of the codes stand for each other."""
    scores = np.full((tokenizer.manifest.model.bands, 16, 16), -5, np.float32)
    scores[:, :8, :8] = scores[:, 8:, 8:] = 3
    of = AudioEncoder.of(tokenizer)._replace(substitution=scores)
    monkeypatch.setattr(AudioEncoder, "of", lambda _: of)
    found = AudioEvaluation.measure(tokenizer, plan)
    sounds = sounds_of(plan)
    halves = [grid // 8 for grid in found.tokens.grids]
    expected = abx(halves, sounds.labels, sounds.speakers, distance="identical")
    assert found.scores_abx == expected
    edits = distance_matrix(halves, "identical", "edit")
    near = nearest(edits, sounds.labels, [sounds.sources, sounds.speakers])
    assert found.tokens.neighbours.substitutions == near
    text = evaluation_table(Evaluation("", None, found, Path("x"), {}), batches=False)
    assert text.count("  tokens, substitution scores") == 2


def test_without_speakers_what_is_of_one_source_is_on_one_side(tokenizer, folder):
    """By default folders are labels, and each file is a source; else two takes are never apart."""
    found = AudioEvaluation.measure(tokenizer, AudioPlan(folder))
    assert (found.speakers, found.tokens.abx.any.cells, found.tokens.abx.within) == (None, 2, None)
    assert (found.tokens.folds.by, len(found.tokens.folds.folds)) == ("source", 5)
    takes = AudioPlan(folder, folder / "labels.csv", source_column="extra:speaker")
    found = AudioEvaluation.measure(tokenizer, takes)
    assert (found.speakers, found.tokens.folds.by) == (None, "source")
    parities = [{item % 2 for item in fold.test} for fold in found.tokens.folds.folds]
    assert sorted(map(tuple, parities)) == [(0,), (1,)]


def test_what_is_left_out_is_ruled_by_the_plan(tokenizer, plan):
    short = AudioEvaluation.measure(tokenizer, plan._replace(max_items=4, max_seconds=0.25, seed=1))
    assert short.recordings + len(short.refused) == 4
    assert short.seconds == 0.25 * short.recordings


def test_unknown_tokens_are_no_codes_and_have_no_vector(tokenizer, plan, monkeypatch):
    """Where all is <unk>, nothing tells the labels apart, and no code was used."""
    unk = tokenizer.vocabulary.unk

    of = AudioEncoder.of(tokenizer)
    lost = of._replace(encode=lambda samples: np.full_like(of.encode(samples), unk))
    monkeypatch.setattr(AudioEncoder, "of", lambda _: lost)
    found = AudioEvaluation.measure(tokenizer, plan)
    assert found.tokens.counts.sum() == 0
    assert found.tokens.abx.within.error == found.codes_abx.within.error == 0.5
    assert found.tokens.rate.entropy_bits_per_second == 0


def test_a_baseline_that_is_no_bundle():
    """Any function of samples is measured: here of the sign of each second sample."""
    of = AudioEncoder(lambda s: (s[::2, None] > 0).astype(np.int32), 100, 2, 2, 20)
    rng = np.random.default_rng(0)
    sounds = [
        _Sound((rng.random(40) + shift).astype(np.float32), label, None, f"{n}", f"{n}{label}")
        for shift, label in ((0, "+"), (-1, "-"))
        for n in range(3)
    ]
    told = []
    found = EncoderFigures.measure(of, Sounds(sounds, []), progress=lambda *now: told.append(now))
    assert found.abx.any.error == 0
    assert found.neighbours.sequences[:3] == (1, 1, 0.5)
    assert found.counts.tolist() == found.sound_counts.tolist() == [60, 60]
    assert found.rate.bits_per_second == 50
    assert list(found.robustness) == list(_CHANGES)
    assert list(dict.fromkeys(name for name, *_ in told)) == [
        "tokens",
        "robustness",
        "ABX of tokens",
        "edit distances of tokens",
    ]
    assert ("ABX of tokens", 36, 36) in told


def test_substitution_scores_are_one_more_distance(tokenizer, plan, monkeypatch):
    """Where every id stands for every other as well as for itself, no neighbour is nearest."""
    of = AudioEncoder.of(tokenizer)
    alike = of._replace(substitution=np.ones((tokenizer.manifest.model.bands, 16, 16)))
    monkeypatch.setattr(AudioEncoder, "of", lambda _: alike)
    sounds = sounds_of(plan)
    same = sounds._replace(sounds=[s._replace(samples=s.samples[:900]) for s in sounds.sounds])
    found = EncoderFigures.measure(alike, same).neighbours
    assert found.substitutions.accuracy == found.substitutions.chance == 0.5
    measured = AudioEvaluation.measure(tokenizer, plan)
    text = evaluation_table(Evaluation("", None, measured, Path("x"), {}), batches=False)
    share = f"{measured.tokens.neighbours.substitutions.accuracy:.1%}"
    lines = [line for line in text.splitlines() if "  tokens, substitution scores" in line]
    assert lines[0].split()[-2:] == ["50.0%", "50.0%"]  # ABX errors
    assert lines[1].split()[-2] == share


def test_a_folder_without_sound_is_refused(tokenizer, tmp_path):
    (tmp_path / "x.wav").write_text("no sound at all " * 9)
    with pytest.raises(UserError, match=r"no recording can be read: x\.wav: "):
        AudioEvaluation.measure(tokenizer, AudioPlan(tmp_path))


def test_spectrograms_are_thinned_until_time_allows():
    assert _spectrogram_step([100, 50]) == 1
    assert _spectrogram_step([500] * 160) == 2
    assert (160 * 250) ** 2 <= module._MAX_CELLS < (160 * 500) ** 2


@pytest.mark.parametrize(
    ("step", "expected"), [(1, [1, 2, 3, 7, 9]), (2, [1.5, 5, 9]), (4, [3.25, 9]), (9, [4.4])]
)
def test_means_of_frames(step, expected):
    plane = np.array([[1], [2], [3], [7], [9]], np.float32) * np.array([1, 10], np.float32)
    np.testing.assert_allclose(_mean_frames(plane, step), np.outer(expected, [1, 10]), rtol=1e-6)


@pytest.fixture(scope="module")
def evaluation(tokenizer, plan, tmp_path_factory):
    report = tmp_path_factory.mktemp("report") / "here.json"
    return evaluate(tokenizer.ref.place, audio=plan, report=report)


def test_the_json_has_names_that_stay(evaluation, plan):
    values = json.loads(evaluation.report.read_text())
    assert values["tiles"] is None
    assert values["pictures"] == {"usage": "here-usage.png", "codes": "here-codes.png"}
    audio = values["audio"]
    settings = "folder labels_file max_items max_seconds seed"
    figures = (
        "refused left_out verdict codebook sound_codebook abx probe neighbours robustness rate"
    )
    assert list(audio) == f"{settings} recordings seconds labels speakers {figures}".split()
    assert audio["refused"][0]["path"] == "low/x.wav"
    names = "missing tokens substitutions latents codes spectrogram spectrogram_step"
    assert list(audio["abx"]) == names.split()
    tokens = evaluation.audio.tokens
    assert audio["abx"]["tokens"] == {
        "any": None,
        "within": tokens.abx.within._asdict(),
        "across": tokens.abx.across._asdict(),
        "items": 8,
    }
    latents = evaluation.audio.latents
    assert audio["probe"] == {
        "folds_by": "speaker",
        "missing": None,
        "latents": latents.probe._asdict(),
        "histograms": tokens.probe._asdict(),
    }
    assert audio["neighbours"] == {
        "by": "speaker",
        "missing": None,
        "latents": latents.nearest._asdict(),
        "histograms": tokens.neighbours.histograms._asdict(),
        "sequences": tokens.neighbours.sequences._asdict(),
        "substitutions": None,
    }
    assert list(audio["robustness"]) == list(_CHANGES)
    gain = tokens.robustness["gain_up_6db"]
    assert audio["robustness"]["gain_up_6db"] == {
        **gain._asdict(),
        "share": gain.share,
        "sound_share": gain.sound_share,
    }
    assert audio["rate"] == tokens.rate._asdict()
    assert audio["codebook"] == tokens.codebook._asdict()


def test_the_table_has_every_figure(evaluation):
    audio = evaluation.audio
    text = evaluation_table(evaluation, batches=False)
    assert "8 recordings" in text
    assert "2 labels, 2 speakers" in text
    assert "refused     low/x.wav: " in text
    rows = {tuple(line.split()[:-2]): line.split()[-2:] for line in text.splitlines()}
    within, across = audio.tokens.abx.within, audio.tokens.abx.across
    assert rows["tokens,", "identical"] == [f"{within.error:.1%}", f"{across.error:.1%}"]
    assert ("spectrogram,", "cosine") in rows
    within, across = audio.latents.abx.within, audio.latents.abx.across
    assert rows["latents,", "cosine"] == [f"{within.error:.1%}", f"{across.error:.1%}"]
    near = audio.tokens.neighbours
    probe, neighbour = text.split("linear probe, right of 8 by speaker")[1].split(
        "nearest neighbour, right of 8 by speaker"
    )
    for part, what, shown in (
        (probe, "latents, mean", audio.latents.probe[:3]),
        (probe, "tokens, histogram", audio.tokens.probe[:3]),
        (neighbour, "latents, mean", audio.latents.nearest[:2]),
        (neighbour, "tokens, histogram", near.histograms[:2]),
        (neighbour, "tokens, edit distance", near.sequences[:2]),
        (neighbour, "chance", near.sequences[2:4]),
    ):
        (line,) = (line for line in part.splitlines() if line.startswith(f"  {what}  "))
        assert line.split()[-len(shown) :] == [f"{value:.1%}" for value in shown]
    assert "substitution scores" not in text
    for name, found in audio.tokens.robustness.items():
        shown = [f"{found.share:.1%}", f"{found.sound_share:.1%}"]
        assert rows[tuple(name.split("_"))] == shown
    health = audio.tokens.codebook, audio.tokens.sound_codebook
    assert rows["usage",] == [f"{of.usage:.1%}" for of in health]
    assert f"{audio.tokens.rate.bits_per_second:.1f}" in text
    assert text.endswith("here.json, with here-usage.png, here-codes.png")


def test_bars_follow_each_other(capsys):
    with EvalProgress() as progress:
        progress.update("reading", 1, 2)
        first = progress.bar
        progress.update("reading", 2, 2)
        assert progress.bar is first
        progress.update("robustness", 1, 1)
        assert (progress.bar.desc, progress.bar.n) == ("robustness", 1)
