"""The table of objectives: what it trains, what it measures, and how it shows it."""

import json
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from benchmarks import corpus_probe, objectives
from benchmarks import objective_tables as tables
from benchmarks.corpus_probe import corpus_probes, folds_testing
from benchmarks.heldout import divide
from benchmarks.objective_figures import spread
from benchmarks.objective_rows import ROWS
from benchmarks.objective_tables import as_tables, own_task, shown
from benchmarks.objectives import Work, read_rows, run_rows, train_command
from recipes.recipe import read_recipe
from tests.commands import run
from tests.oracles import cosine
from ulmo.cli.train import train
from ulmo.config import OBJECTIVE_TRAITS, TrainSettings, UserError
from ulmo.evaluation.folds import Fold, Folds
from ulmo.evaluation.probe import probe
from ulmo.pipelines.evaluate.encoders import AudioEncoder
from ulmo.preprocessing.frontends import FRONTENDS
from ulmo.storage.names import portable

RATE = 2000
RECIPE = """
prep = { tile_size = 16, sample_rate = 2000, hop_length = 10 }
train = { batch_size = 8, validation_fraction = 0.3 }
holdout = { recordings = ["fsdd/*_c_*", "fsdd/*_d_*", "esc10/*_3-*"] }
[model]
tile_size = 16
encoder_layers = 1
decoder_layers = 1
embedding_dim = 4
codebook_size = 16
width = 8
frequency_stride = 8
time_stride = 4
balance = 0.5
"""
CORPUS = (
    '\n[[corpora]]\nname = "{0}"\nfolder = "{0}"\nlicence = "CC0-1.0"\nurl = "https://x.org/{0}"'
)
RECIPE += CORPUS.format("fsdd") + CORPUS.format("esc10")


def write(path, hertz, seed):
    time = np.arange(800) / RATE
    noise = np.random.default_rng(seed).normal(0, 0.01, len(time))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time) + noise, RATE)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two digits of four speakers, and two kinds of clips in two folds."""
    root = tmp_path_factory.mktemp("audio")
    tables = {"fsdd": ["file,label,extra"], "esc10": ["file,label,extra"]}
    for corpus in tables:
        (root / corpus).mkdir()
    for number in range(32):
        digit, speaker = number % 2, "abcd"[number // 2 % 4]
        name = f"{digit}_{speaker}_{number}.wav"
        write(root / "fsdd" / name, 200 + 500 * digit, number)
        tables["fsdd"].append(f"{name},{digit},speaker={speaker}")
    for number in range(16):
        kind, fold = ("dog", "rain")[number % 2], 1 + 2 * (number // 2 % 2)
        name = f"{kind}_{fold}-{number}.wav"
        write(root / "esc10" / name, 300 + 400 * (number % 2), number)
        tables["esc10"].append(f"{name},{kind},freesound={number}")
    for corpus, lines in tables.items():
        (root / corpus / "labels.csv").write_text("\n".join(lines))
    return root


@pytest.fixture
def work(root, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    out = tmp_path / "out"
    (out / "rows").mkdir(parents=True)
    return Work(root, out, read_recipe(path), minutes=4, threads=1)


def parsed(arguments):
    """The settings that ulmo-train makes of a command."""
    context = train.make_context("train", arguments)
    names = [name for name in TrainSettings.model_fields if context.params.get(name) is not None]
    values = {name: context.params[name] for name in names}
    if "beside" in values:
        values["beside"] = tuple(map(portable, values["beside"]))
    return TrainSettings.read(values), context.params


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.kind == "ulmo"])
def test_the_command_of_each_row_is_one_of_ulmo_train(name, work):
    work = work._replace(flags=("--learning-rate", "0.002", "--width", "32"))
    command = train_command(ROWS[name], 2, work)
    assert command[1:4] == ["-m", "ulmo", "train"]
    settings, params = parsed([*command[4:], "tiles", "run"])
    assert settings.objective == TrainSettings.read({"objective": ROWS[name].objective}).objective
    assert (settings.seed, settings.threads, params["width"]) == (2, 1, 32)
    untrained = name == "untrained"
    assert settings.max_minutes == (1e-6 if untrained else 4)
    assert settings.learning_rate == (1e-12 if untrained else 0.002)
    table = params["config"].read_text()
    assert ("frequency_stride = 8" in table, "balance = 0.5" in table) == (True, True)
    assert {row.objective for row in ROWS.values()} >= set(OBJECTIVE_TRAITS)


@pytest.mark.parametrize(("name", "others"), [("simclr", 0), ("abx_choice", len(FRONTENDS) - 1)])
def test_front_ends_are_given_where_they_are_compared(name, others, work, monkeypatch):
    made, commands = [], []

    def tiles(work, frontend, part, views=1):
        made.append((frontend, part, views))
        return work.out / frontend / part

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(Work, "tiles", tiles)
    monkeypatch.setattr(objectives.subprocess, "run", run)
    objectives.train(ROWS[name], 0, work.out / "runs" / "x", work)
    _, params = parsed(commands[0][4:])
    assert params["tiles_dir"] == work.out / "mel" / "train"
    beside = [str(work.out / frontend / "train") for frontend in FRONTENDS if frontend != "mel"]
    assert list(map(str, params["beside"])) == beside[:others]
    assert made[0] == ("mel", "train", 3)
    assert not params["resume"]


def test_a_run_that_fails_is_told(work, monkeypatch):
    monkeypatch.setattr(Work, "tiles", lambda work, *_: work.out / "none")
    with pytest.raises(UserError, match=r"x: ulmo-train ended with 2: see .*x\.log"):
        objectives.train(ROWS["reconstruct"], 0, work.out / "runs" / "x", work)
    assert "none" in (work.out / "runs" / "x.log").read_text()


def test_from_recordings_to_the_table(work, monkeypatch, no_pixels):
    """One row of one tiny step, trained here; made once, and shown with all its figures."""

    def here(command, **_):
        done = run(train, *command[4:])
        return subprocess.CompletedProcess(command, done.exit_code)

    monkeypatch.setattr(objectives, "subprocess", SimpleNamespace(run=here, STDOUT=None))
    work = work._replace(threads=0)  # those of TensorFlow, which is loaded already
    run_rows(["untrained"], [0], work)
    target = work.out / "rows" / "untrained-0.json"
    (row,) = read_rows(work.out)["untrained"]
    assert row["figures"]["steps"] == 1
    assert row["figures"]["fsdd_latents_linear_chance"] == 0.5
    assert list(row["own"]) == ["reconstruct"]
    columns = (*tables.ABX, *tables.PROBES, *tables.CORPUS_PROBES, *tables.TOKENS)
    for column in (tables.STEPS, *columns):
        assert column.values([row]), column.title
    lines = as_tables({"untrained": [row]}).splitlines()
    assert sum("chance 50.0 of digits, " in line for line in lines) == 2
    assert sum(line.startswith("| untrained encoder, k-means |") for line in lines) == 10
    held = {line.split(",")[0] for line in (work.out / "fsdd.csv").read_text().splitlines()[1:]}
    assert len(held) == 16
    parts = [
        {path.name for path in (work.out / "links" / part).rglob("*.wav")}
        for part in ("train", "held")
    ]
    assert not parts[0] & (parts[1] | held)
    assert len(parts[0] | parts[1]) == 48
    before = target.read_bytes(), target.stat().st_mtime_ns
    run_rows(["untrained"], [0], work)
    assert (target.read_bytes(), target.stat().st_mtime_ns) == before


def test_a_probe_of_a_corpus_learns_from_all_groups_but_the_one_that_is_judged(work, monkeypatch):
    divide(work.recipe, work.root, work.out)
    seen = []

    def look(vectors, labels, folds, classify):
        seen.append(folds)
        return probe(vectors, labels, folds, classify)

    def spectrum(samples):
        return np.abs(np.fft.rfft(samples, 64))[None, :, None].astype(np.float32)

    monkeypatch.setattr(corpus_probe, "probe", look)
    encoder = AudioEncoder(lambda samples: np.zeros((4, 2), np.int32), RATE, 10, 16, 160)
    found = corpus_probes(encoder, spectrum, work.root, work.out, "fsdd")
    assert found["latents"].linear[:2] == (1.0, 0.0)
    assert found["tokens"].linear.accuracy == 0.5  # one code only
    assert found["latents"].neighbours[:2] == (1.0, 1.0)
    assert {
        number for of in found.values() for number in (of.linear.items, of.neighbours.items)
    } == {16}
    speakers = np.array(["abcd"[number // 2 % 4] for number in range(32)])
    for fold, judged in zip(seen[0].folds, "cd", strict=True):
        assert set(speakers[fold.test]) == {judged}
        assert set(speakers[fold.train]) == set("abcd") - {judged}


def test_folds_without_a_held_out_item_are_not_judged():
    halves = np.array([0, 1]), np.array([2, 3])
    folds = Folds([Fold(*halves[::-1]), Fold(*halves)], "", "")
    (fold,) = folds_testing(folds, np.array([3])).folds
    assert (list(fold.train), list(fold.test)) == ([0, 1], [3])


@pytest.mark.parametrize(
    ("values", "text"),
    [([], "-"), ([float("nan")], "-"), ([2.0], "2.0"), ([1, 2, 3], "2.0 ± 1.0")],
)
def test_means_and_deviations(values, text):
    assert shown(values, 1) == text


def row_of(seed, score, *, pairs=None):
    told = {"mean": score, "error": 0.01, "chance": 0.5, **({"pairs": pairs} if pairs else {})}
    figures = {"steps": 10, "kept_rate_up_10": 0.2, "kept_rate_down_10": 0.4}
    own = {"abx_choice": told}
    return {"minutes": 4, "flags": [], "seed": seed, "figures": figures, "own": own}


def test_seeds_are_averaged_and_pairs_shown():
    rows = [row_of(0, 0.6, pairs={"mel cqt": 0.7}), row_of(1, 0.8, pairs={"mel cqt": 0.9})]
    text = as_tables({"abx_choice": rows})
    assert "| abx_choice, 2 seeds | abx_choice | 0.700 ± 0.141 | 0.500 | 10 ± 0 |" in text
    assert "| 30.0 ± 0.0 |" in text  # kept, of the two rates
    assert "| X | mel | cqt |" in text
    assert "| mel | - | 80.0 ± 14.1 |" in text
    assert own_task(rows[:1]) == [["abx_choice", "0.600 ± 0.010", "0.500"]]


def test_rows_that_cannot_be_compared_are_refused():
    with pytest.raises(UserError, match="differ in minutes or flags"):
        as_tables({"abx_choice": [row_of(0, 0.6), {**row_of(1, 0.6), "minutes": 3}]})
    with pytest.raises(UserError, match="no rows to show"):
        as_tables({})


def test_names_that_begin_alike_are_not_mixed_up(tmp_path):
    (tmp_path / "rows").mkdir()
    for name in ("reconstruct", "reconstruct-simclr"):
        (tmp_path / "rows" / f"{name}-0.json").write_text(json.dumps({"name": name}))
    found = read_rows(tmp_path)
    assert [len(found[name]) for name in ("reconstruct", "reconstruct-simclr")] == [1, 1]


def test_spread_is_that_of_loops():
    latents = np.random.default_rng(0).normal(1, 1, (20, 3)).astype(np.float32)
    found = spread(latents)
    cosines = [cosine(a, b) for i, a in enumerate(latents) for b in latents[:i]]
    assert found["pair_similarity"] == pytest.approx(np.mean(cosines), abs=1e-5)
    mean = latents.mean(axis=0)
    power = np.mean([a @ a for a in latents])
    assert found["latent_variance"] == pytest.approx(1 - mean @ mean / power, abs=1e-5)
