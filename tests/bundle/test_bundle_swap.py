"""A bundle that is replaced while it is read, or between two readings: never half of each."""

import pickle
import shutil

import numpy as np
import pytest

from tests.bundles import ENCODER, FILES, MANIFEST, PREP, WEIGHTS, write_small_bundle
from ulmo.bundle import bundle
from ulmo.bundle.folder import FolderKind
from ulmo.config import JobError, UserError
from ulmo.pipelines.tokenize.job import TokenizeOptions, tokenize_recording
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.tokenizer import load_tokenizer

# The steps of reading, each of which may be the last before the files are swapped.
STEPS = ("check_names", "_read_manifest", "check_length", "check_large", "read_hashed")
SOUND = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)


@pytest.fixture
def two(tmp_path):
    """Two bundles of one kind with other weights."""
    return [write_small_bundle(tmp_path / f"{n}" / "tokenizer", PREP, seed=n) for n in (1, 2)]


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("names", [FILES, (MANIFEST,), (WEIGHTS,), (ENCODER,)])
def test_files_that_are_swapped_while_it_is_read(step, names, is_large, two, monkeypatch):
    """What is read is the one bundle or the other, whole; anything else is refused."""
    own, other = two
    good = [bundle.read_bundle(folder) for folder in two]
    home = FolderKind if step == "check_names" else bundle
    plain = getattr(home, step)
    swapped = []

    def then_swap(*args, **options):
        result = plain(*args, **options)
        if not swapped:
            swapped.append(step)
            for name in names:
                shutil.copy(other / name, own / "new")
                (own / "new").replace(own / name)
        return result

    monkeypatch.setattr(bundle, "LARGE", 0 if is_large else bundle.LARGE)
    monkeypatch.setattr(home, step, then_swap)
    read = refusal = None
    try:
        read = bundle.read_bundle(own)
    except UserError as error:
        refusal = str(error)
    if read is None:
        assert refusal.isprintable()
        assert "copy the bundle again" in refusal
    else:
        found = [read.manifest, read.encoder, read.packed]
        assert found in ([each.manifest, each.encoder, each.packed] for each in good)
    assert bool(swapped) is (is_large or step != "check_large")


def test_what_was_loaded_stays_what_it_was(two):
    """Encoder, decoder and thresholds come from the bytes that were hashed, not from the files."""
    own, other = two
    expected = load_tokenizer(own, unk_quantile=0.9)
    tokens = expected.encode(SOUND, sample_rate=8000)
    tiles = expected.decode(tokens)
    loaded = load_tokenizer(own, unk_quantile=0.9)
    for name in FILES:
        shutil.copy(other / name, own / name)
    again = loaded.encode(SOUND, sample_rate=8000)
    np.testing.assert_array_equal(again.ids, tokens.ids)
    np.testing.assert_array_equal(loaded.decode(again), tiles)
    np.testing.assert_array_equal(loaded.codebook, expected.codebook)


def test_a_worker_that_finds_another_bundle_says_so(two, tmp_path):
    """It opens the folder again, and compares the fingerprint that it was given."""
    own, other = two
    tokenizer = load_tokenizer(own)
    ref = tokenizer.ref
    pickled = pickle.dumps(tokenizer)
    for name in FILES:
        shutil.copy(other / name, own / name)
    planned = Planned(tmp_path / "x.wav", tmp_path / "x.wav", tmp_path / "x.npy", tmp_path)
    for attempt in (
        ref.open,
        lambda: pickle.loads(pickled),
        lambda: tokenize_recording(ref, TokenizeOptions(), planned),
    ):
        with pytest.raises(JobError, match="was replaced meanwhile: load or run the same again"):
            attempt()
    assert not (tmp_path / "x.npy").exists()
