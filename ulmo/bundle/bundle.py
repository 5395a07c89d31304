"""The tokenizer bundle: a few files of JSON, safetensors and ONNX, and no code.

tokenizer.json       settings, normalisation, vocabulary, card, and the hashes of the other files
model.safetensors    all weights, and the thresholds of <unk>
encoder.onnx         (batch, M, frames, 1) -> ids and distances
substitution.safetensors   log-odds of one id standing for another; a bundle may lack it

A bundle is checked as if an attacker had made it. The settings are strict JSON of bounded size.
They determine the lengths of the other files, and every byte of the two safetensors but the
numbers. Settings and weights determine every byte of encoder.onnx, which is built again and
compared. So ulmo parses no ONNX or safetensors that it would not have written itself: external
data, custom operators, subgraphs, other names or types are impossible. Building and comparing takes
5 ms with the defaults. A list of allowed operators would take as long, and would not show that the
encoder has the weights of the bundle. (Importing the onnx package takes 0.2 s and 14 MB.)
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.bundle.bounds import check_bounds
from ulmo.bundle.card import Card
from ulmo.bundle.cost import check_tokenizer
from ulmo.bundle.folder import FolderKind
from ulmo.bundle.graph import encoder_graph, encoder_size
from ulmo.bundle.large_bundle import LARGE, check_large
from ulmo.bundle.manifest import (
    ENCODER,
    FILES,
    MANIFEST,
    SCHEMA_VERSION,
    SCORES,
    WEIGHTS,
    BundleManifest,
    build_manifest,
)
from ulmo.bundle.place import COPY, Place
from ulmo.bundle.places import opened_place
from ulmo.bundle.scores import check_scores, pack_scores, scores_size, unpack_scores
from ulmo.bundle.weights import (
    Weights,
    check_weights,
    pack_weights,
    unpack_thresholds,
    unpack_weights,
    weights_size,
)
from ulmo.config import LIMITS, Limits, ModelSettings, PrepSettings, UserError
from ulmo.preprocessing.normalize import Normalization, largest_value
from ulmo.storage.plain_file import check_length, read_bounded, read_hashed
from ulmo.storage.sealed import read_json

DEFAULT = Path(__file__).parents[1] / "default_tokenizer"  # ships with ulmo: recipes/large.toml
_MAX_MANIFEST_BYTES = 1 << 16  # a manifest has 3 kB; the card may be long, the lists may not
REMEDY = COPY
TOKENIZER_FOLDER = FolderKind("bundle", "a tokenizer", MANIFEST, FILES, "tokenizer")


class Bundle(NamedTuple):
    """A bundle that was read and checked."""

    place: Path | str  # a folder, a zip file, or hf://owner/name@commit
    manifest: BundleManifest
    encoder: bytes  # encoder.onnx
    packed: bytes  # model.safetensors
    packed_scores: bytes | None = None  # substitution.safetensors

    def weights(self) -> Weights:
        """A copy of all weights, by name."""
        return unpack_weights(self.manifest.model, self.packed)

    def thresholds(self) -> NDArray[np.float32]:
        """Squared distances (CB, levels of UNK_QUANTILES); a vector farther away is `<unk>`."""
        return unpack_thresholds(self.manifest.model, self.packed)

    def scores(self) -> Array | None:
        """Log-odds in bits (bands, CB, CB) that one id stands for another; None if it has none."""
        packed = self.packed_scores
        return None if packed is None else unpack_scores(self.manifest.model, packed)


class BuiltBundle(NamedTuple):
    """A bundle that is not written yet: its manifest, and its files by name."""

    manifest: BundleManifest
    files: dict[str, bytes]

    def at(self, place: Path | str) -> Bundle:
        """The bundle as it will be read from a place."""
        files = self.files
        return Bundle(place, self.manifest, files[ENCODER], files[WEIGHTS], files.get(SCORES))


def build_bundle(
    *,
    prep: PrepSettings,
    normalization: Normalization | None,
    model: ModelSettings,
    weights: Weights,
    thresholds: NDArray[np.float32],
    card: Card,
    scores: Array | None = None,
) -> BuiltBundle:
    """A bundle from the parts of a model. The same parts give the same bytes.

    scores: log-odds (bands, CB, CB) that one id stands for another, in bits.

    ValueError for weights, thresholds or scores of another shape or type, or not finite, and for
    weights with which a distance might not be finite.
    """
    check_weights(model, weights)
    check_bounds(model, weights, largest_value(prep, normalization))
    files = {
        WEIGHTS: pack_weights(model, weights, thresholds),
        ENCODER: encoder_graph(model, weights).to_bytes(),
    }
    if scores is not None:
        files[SCORES] = pack_scores(model, scores)
    hashes = {name: sha256(data).hexdigest() for name, data in files.items()}
    manifest = build_manifest(prep, normalization, model, hashes, card)
    files[MANIFEST] = manifest.text()
    return BuiltBundle(manifest, files)


def rebuilt(bundle: Bundle, *, card: Card, scores: Array | None) -> BuiltBundle:
    """A bundle with this card and these scores; its ids and its fingerprint stay."""
    return build_bundle(
        prep=bundle.manifest.prep,
        normalization=bundle.manifest.normalization,
        model=bundle.manifest.model,
        weights=bundle.weights(),
        thresholds=bundle.thresholds(),
        card=card,
        scores=scores,
    )


def write_bundle(folder: Path, bundle: BuiltBundle) -> None:
    """Write a bundle beside `folder`, then move it there (see `FolderKind.write`)."""
    TOKENIZER_FOLDER.write(folder, bundle.files)


def read_bundle(place: str | Path, limits: Limits = LIMITS) -> Bundle:
    """Read and check a bundle. UserError says what is wrong and what to do.

    place: a folder; a zip file with a bundle's files; or hf://owner/name[@revision], a repository
        of the Hugging Face hub. Only a text that begins so, and no pathlib.Path, is taken for one.
    limits: what its settings may cost; checked before its weights are read or fetched.

    The bytes that are hashed are the bytes that are returned: files replaced meanwhile are refused.
    A folder may be a symbolic link, because the user named it; nothing inside may be one.
    """
    with opened_place(place, TOKENIZER_FOLDER) as source:
        return _read(source, limits)


def _read(source: Place, limits: Limits) -> Bundle:
    place, remedy = source.place, source.remedy
    manifest = _read_manifest(source.file(MANIFEST, _MAX_MANIFEST_BYTES), remedy)
    try:
        check_tokenizer(manifest.prep, manifest.model, limits)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    sizes = {ENCODER: encoder_size(manifest.model), WEIGHTS: weights_size(manifest.model)}
    if SCORES in manifest.hashes:
        sizes[SCORES] = scores_size(manifest.model)
    elif source.has(SCORES):
        raise UserError(f"{place}/{SCORES} is not named in {MANIFEST}: move it away")
    paths = {name: source.file(name, size) for name, size in sizes.items()}
    for name, size in sizes.items():
        check_length(paths[name], size, remedy=remedy)
    if sizes[WEIGHTS] > LARGE:
        try:
            check_large(manifest.model, paths[WEIGHTS], paths[ENCODER], remedy=remedy)
        except ValueError as error:
            raise UserError(f"{place} does not fit its settings ({error}): {remedy}") from None
    files = {
        name: read_hashed(paths[name], size, manifest.hashes[name], remedy=remedy)
        for name, size in sizes.items()
    }
    bundle = BuiltBundle(manifest, files).at(place)
    _check_contents(bundle, remedy)
    return bundle


def _read_manifest(path: Path, remedy: str) -> BundleManifest:
    content = read_bounded(path, _MAX_MANIFEST_BYTES, remedy=remedy)
    manifest = read_json(
        path,
        BundleManifest,
        content=content,
        newest=SCHEMA_VERSION,
        oldest=SCHEMA_VERSION,
        remedy=remedy,
    )
    if json.loads(content) != manifest.model_dump(mode="json"):
        raise UserError(f"{path} is damaged (settings are missing): {remedy}")
    if content != manifest.text():
        raise UserError(f"{path} is damaged (its layout is not that of ulmo): {remedy}")
    return manifest


def _check_contents(bundle: Bundle, remedy: str) -> None:
    """Weights and scores fit the settings, and the encoder is built from settings and weights."""
    name = SCORES
    try:
        if bundle.packed_scores is not None:
            check_scores(bundle.manifest.model, bundle.packed_scores)
        name = WEIGHTS
        weights = bundle.weights()
        largest = largest_value(bundle.manifest.prep, bundle.manifest.normalization)
        check_bounds(bundle.manifest.model, weights, largest)
    except ValueError as error:
        raise UserError(
            f"{bundle.place}/{name} does not fit its settings ({error}): {remedy}"
        ) from None
    try:
        encoder_graph(bundle.manifest.model, weights).check(bundle.encoder)
    except ValueError as error:
        raise UserError(
            f"{bundle.place}/{ENCODER} does not fit its settings and weights ({error}): {remedy}"
        ) from None
