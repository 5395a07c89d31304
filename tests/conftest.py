import os
import shutil
import signal
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from tests.bundles import PREP, write_small_bundle
from tests.pipelines.training import PIXEL
from tests.small_tokenizers import HOP, PLANS, RATE
from ulmo.config import PrepSettings
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.reading.decoder import Decoder
from ulmo.tokenizer import load_tokenizer

hypothesis.settings.register_profile("search", deadline=None, max_examples=1000)
hypothesis.settings.register_profile("ulmo", deadline=None, derandomize=True, max_examples=20)
hypothesis.settings.load_profile("ulmo")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # under nohup, or behind `&`
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests of Ctrl-C inherit

SAMPLES = Path(__file__).parent.parent / "data_samples"
LONGEST = (
    *("test_train", "test_crash", "test_contract", "test_lm_train", "test_look_browser"),
    *("test_devices", "test_hostile", "test_prep", "test_surroundings", "test_find_repeats"),
    *("test_benchmark", "test_evaluate", "test_vqvae", "test_kept_tokens", "test_show"),
    *("test_extras", "test_without_posix", "test_stores"),
)
# Long tests of lines that others reach: without coverage they take two thirds of the time, as it
# counts each line of TensorFlow and Matplotlib, too.
WITHOUT_COVERAGE = (
    *("test_benchmark", "test_chaos", "test_contract", "test_crash", "test_every_byte"),
    *("test_frontends_oracles", "test_hostile", "test_imports", "test_openings", "test_parsers"),
    *("test_parts", "test_planted_links", "test_reader", "test_stream", "test_surroundings"),
    *("test_train", "test_two_jobs", "test_two_writers", "test_devices"),
    *("test_bounded_work", "test_byol", "test_deep", "test_foreign_files", "test_infill"),
    *("test_long_metadata", "test_names_in_formats", "test_next_frame", "test_recipes"),
    *("test_verify_names", "test_vqvae", "test_wav2vec2", "test_abx_choice"),
    *("test_bad_reads", "test_extras", "test_failing_reads", "test_planning_work"),
    *("test_prep_again", "test_processes", "test_short_reads", "test_simclr", "test_timeline_file"),
    *("test_tokenize", "test_unwritable", "test_verify_tables", "test_worker"),
    *("test_denoise", "test_kept_tokens", "test_earlier", "test_prep_changes", "test_prep_views"),
    *("test_failing_outputs", "test_without_posix", "test_whole", "test_sidecars"),
    *("test_verify_tokens", "test_odd_disks", "test_restless", "test_evaluate_unlabelled"),
    *("test_odd_names", "test_file_objects", "test_each_channel", "test_prep_expanded"),
    *("test_look_browser", "test_wavelets", "test_many_rows", "test_calls", "test_voices"),
    *("test_harness", "test_real_readers", "test_docs", "test_patterns", "test_cost"),
    *("test_look_page", "test_pictures", "test_axes", "test_dask.py"),
)
UNCOVERED = pytest.StashKey[bool]()


def _coverage(config):
    """What starts and stops coverage; None if there is none."""
    plugin = config.pluginmanager.getplugin("_cov")
    return plugin and plugin.cov_controller


def pytest_configure(config):
    """In a worker of xdist pytest-cov starts coverage here, and once more where a session begins.

    With the first, what is paused would go on. TensorFlow is imported in between, as coverage makes
    that slower.
    """
    if hasattr(config, "workerinput") and (coverage := _coverage(config)):
        coverage.cov.stop()
        import_module("tensorflow")


def pytest_collection_modifyitems(config, items):
    """The files that take longest come first, so that no worker is left alone with one."""
    items.sort(key=lambda item: not item.path.name.startswith(LONGEST))
    for item in items:
        item.stash[UNCOVERED] = bool(
            item.path.name.startswith(WITHOUT_COVERAGE)
            or item.get_closest_marker("kills")
            or hypothesis.is_hypothesis_test(item.obj)
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    """A test without coverage has none in its fixtures either.

    Processes that tests start are never measured: each would take twice as long to start.
    """
    coverage = _coverage(item.config)
    if coverage is None or not item.stash[UNCOVERED]:
        return (yield)
    coverage.pause()
    try:
        return (yield)
    finally:
        coverage.resume()


@pytest.fixture(scope="module", autouse=True)
def without_waiting_for_the_disk():
    """Files are written, but not waited for. What is synced, and in which order: tests/crash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def tiny_tiles(tmp_path_factory):
    """data_samples as tiles of 32 x 32: 8 kHz, 8 ms a frame."""
    folder = tmp_path_factory.mktemp("tiny") / "tiles"
    prepare(SAMPLES, folder, PREP)
    return folder


@pytest.fixture(scope="session")
def few_recordings(tmp_path_factory):
    """Three recordings, whose tiles are whole batches of 8: a step is traced for one shape."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("harmonic_calls.wav", "noise_bursts.wav", "whistles.wav"):
        (folder / name).symlink_to(SAMPLES / name)
    return folder


@pytest.fixture(scope="session")
def few_tiles(few_recordings, tmp_path_factory):
    """Tiles as `tiny_tiles`, of three recordings: what a training needs that must not learn."""
    folder = tmp_path_factory.mktemp("few") / "tiles"
    prepare(few_recordings, folder, PREP)
    return folder


@pytest.fixture(scope="session")
def make_bundle():
    """A function that writes a bundle of random weights, and returns its folder."""
    return write_small_bundle


@pytest.fixture(scope="session")
def tokenizer_of(make_bundle, tmp_path_factory):
    """A function that gives the tokenizer of a front end, a mode and a plan."""
    made = {}

    def make(frontend="stft", mode="corpus", plan="divides", threads=1):
        key = (frontend, mode, plan, threads)
        if key not in made:
            tile_size, options = PLANS[plan]
            prep = PrepSettings(
                frontend=frontend,
                normalization=mode,
                tile_size=tile_size,
                sample_rate=RATE,
                hop_length=HOP,
                wavelet="db4",
                wavelet_level=8 if frontend == "wpt" else None,
            )
            folder = tmp_path_factory.mktemp("bundle") / "tokenizer"
            made[key] = load_tokenizer(make_bundle(folder, prep, **options), threads=threads)
        return made[key]

    return make


@pytest.fixture
def no_pixels(monkeypatch):
    """Figures are made but not painted: painting takes longer than a tiny training."""
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: file.write(PIXEL))


@pytest.fixture
def decoded(monkeypatch):
    """Frames of each call of the decoder, in a list that grows."""
    calls, read = [], Decoder.read

    def counting(decoder, frames):
        block, failed = read(decoder, frames)
        calls.append(len(block))
        return block, failed

    monkeypatch.setattr(Decoder, "read", counting)
    return calls


@pytest.fixture
def troubled(tmp_path):
    """A folder with two good recordings of one name, and five that are in trouble."""
    folder = tmp_path / "field"
    for place in ("a", "b"):
        (folder / place).mkdir(parents=True)
        shutil.copy(SAMPLES / "noise_bursts.wav", folder / place / "same.wav")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("dear diary")
    whole = (SAMPLES / "click_train.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    soundfile.write(folder / "zero.wav", np.zeros(8000), 8000)
    soundfile.write(folder / "nan.wav", np.full(8000, np.nan), 8000, subtype="FLOAT")
    return folder
