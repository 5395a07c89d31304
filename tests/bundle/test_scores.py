"""substitution.safetensors in a bundle: read as written, and refused where it does not fit."""

import numpy as np
import pytest

from tests.bundles import MANIFEST, PREP, SCORES, refusal, replace, rewrite, write_small_bundle
from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.scores import may_have_scores, scores_size
from ulmo.config import ModelSettings
from ulmo.pipelines.evaluate.encoders import AudioEncoder
from ulmo.pipelines.inspect.inspect import inspect_bundle
from ulmo.tokenizer import load_tokenizer

VALUES = np.linspace(-6, 8, 2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16)


@pytest.fixture
def folder(tmp_path):
    return write_small_bundle(tmp_path / "tokenizer", PREP, contents={"scores": VALUES})


def test_scores_come_back_to_a_hundredth_of_a_bit(folder):
    bundle = read_bundle(folder)
    np.testing.assert_allclose(bundle.scores(), VALUES, atol=0.01)
    assert bundle.scores().dtype == np.float32
    assert (folder / SCORES).stat().st_size == scores_size(bundle.manifest.model)
    files = {one["name"]: one for one in inspect_bundle(folder).files}
    assert files[SCORES]["sha256"] == bundle.manifest.hashes[SCORES]
    encoder = AudioEncoder.of(load_tokenizer(folder))
    np.testing.assert_array_equal(encoder.substitution, bundle.scores())


def test_scores_are_no_part_of_the_identity_of_a_tokenizer(folder, tmp_path):
    without = write_small_bundle(tmp_path / "without", PREP)
    assert read_bundle(without).scores() is None
    manifests = read_bundle(folder).manifest, read_bundle(without).manifest
    assert manifests[0].fingerprint == manifests[1].fingerprint
    assert AudioEncoder.of(load_tokenizer(without)).substitution is None


def test_scores_that_do_not_fit_are_refused(folder, tmp_path):
    content = (folder / SCORES).read_bytes()
    for changed, words in {
        content[:-2]: "bytes",
        content.replace(b"F16", b"I16", 1): "header is not the one that the settings give",
        **{
            content[:-2] + np.float16(value).tobytes(): "scores is not finite"
            for value in (np.nan, np.inf, -np.inf)
        },
    }.items():
        replace(folder, SCORES, changed)
        assert words in refusal(folder)
    (folder / SCORES).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "copy the bundle again" in refusal(folder)
    (folder / SCORES).unlink()
    assert "missing" in refusal(folder)
    with pytest.raises(ValueError, match=r"shape \(1, 16, 16\), not \(2, 16, 16\)"):
        write_small_bundle(tmp_path / "other", PREP, contents={"scores": VALUES[:1]})


def test_every_finite_score_is_taken(folder, tmp_path):
    """Also the largest of float16 and those so small that their exponent is 0."""
    least, largest = np.finfo(np.float16).smallest_subnormal, np.finfo(np.float16).max
    ends = np.resize(np.array([least, largest, -largest, -0.0], np.float32), VALUES.shape)
    bundle = read_bundle(write_small_bundle(tmp_path / "ends", PREP, contents={"scores": ends}))
    np.testing.assert_array_equal(bundle.scores(), ends)


def test_scores_that_the_manifest_does_not_name_are_refused(folder):
    rewrite(folder, lambda values: values["hashes"].pop(SCORES))
    assert f"{SCORES} is not named in {MANIFEST}: move it away" in refusal(folder)


def test_a_vocabulary_may_be_too_large_for_scores():
    assert may_have_scores(ModelSettings(codebook_size=1024))
    assert not may_have_scores(ModelSettings(codebook_size=8192))
