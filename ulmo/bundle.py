"""The tokenizer bundle: a folder of JSON, safetensors and ONNX, and no code.

tokenizer.json       settings, normalisation, vocabulary, card, and the hashes of the others
model.safetensors    all weights
encoder.onnx         (batch, M, frames, 1) -> ids and distances
"""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ulmo.config import ModelSettings, PrepSettings, Settings, UserError, canonical_json, read_json
from ulmo.preprocessing.atomic import publish, sync_folder
from ulmo.preprocessing.normalize import Normalization
from ulmo.vocabulary import Vocabulary

Weights = dict[str, NDArray[np.float32]]

SCHEMA_VERSION = 1
MANIFEST, WEIGHTS, ENCODER = "tokenizer.json", "model.safetensors", "encoder.onnx"
MAX_BYTES = {WEIGHTS: 1 << 30, ENCODER: 1 << 30}
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, Field(max_length=4096)]


class BundleManifest(Settings):
    """tokenizer.json."""

    schema_version: Literal[1] = 1
    prep: PrepSettings
    normalization: Normalization | None
    """The constants of `corpus` and `pcen`; None for the modes that measure the recording."""
    model: ModelSettings
    vocabulary_size: int
    special_tokens: dict[Short, int]
    card: Annotated[dict[Short, Short], Field(max_length=64)]
    hashes: Annotated[dict[Short, Hash], Field(max_length=8)]
    fingerprint: Hash
    """SHA-256 over all the above."""

    @model_validator(mode="after")
    def _agrees(self) -> "BundleManifest":
        vocabulary = Vocabulary(self.model.codebook_size)
        if (self.vocabulary_size, self.special_tokens) != (vocabulary.size, vocabulary.specials()):
            raise ValueError("the vocabulary does not fit the codebook")
        if self.prep.tile_size != self.model.tile_size:
            raise ValueError("front end and model have different tile sizes")
        if (self.normalization is None) == self.prep.learns_constants:
            raise ValueError("the normalisation constants do not fit the mode")
        if self.fingerprint != _fingerprint(self.model_dump(mode="json")):
            raise ValueError("the fingerprint does not fit the contents")
        return self


class Bundle(NamedTuple):
    """A bundle that was read; the weights are read and checked when they are asked for."""

    folder: Path
    manifest: BundleManifest
    encoder: bytes
    """encoder.onnx."""

    def weights(self) -> Weights:
        """All weights by name."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        data = _checked(self.folder, WEIGHTS, self.manifest.hashes)
        try:
            return load(data)
        except SafetensorError as error:
            raise UserError(f"{self.folder / WEIGHTS} is damaged: {error}") from None


class BuiltBundle(NamedTuple):
    """A bundle that is not yet written: its manifest, and its files by name."""

    manifest: BundleManifest
    files: dict[str, bytes]


def build_bundle(
    *,
    prep: PrepSettings,
    normalization: Normalization | None,
    model: ModelSettings,
    weights: Weights,
    encoder: bytes,
    card: dict[str, str],
) -> BuiltBundle:
    """A bundle of a model's parts; the same parts give the same bytes."""
    from safetensors.numpy import save

    files = {WEIGHTS: save(dict(sorted(weights.items()))), ENCODER: encoder}
    vocabulary = Vocabulary(model.codebook_size)
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "prep": prep.model_dump(mode="json"),
        "normalization": normalization.model_dump(mode="json") if normalization else None,
        "model": model.model_dump(mode="json"),
        "vocabulary_size": vocabulary.size,
        "special_tokens": vocabulary.specials(),
        "card": card,
        "hashes": {name: sha256(data).hexdigest() for name, data in files.items()},
    }
    manifest = BundleManifest(**values, fingerprint=_fingerprint(values))
    files[MANIFEST] = (manifest.model_dump_json(indent=2) + "\n").encode()
    return BuiltBundle(manifest, files)


def write_bundle(folder: Path, bundle: BuiltBundle) -> None:
    """Write a bundle beside its place, then move it there; a kill leaves the new or the old one.

    Between the two moves the old one lies in `.NAME.old`, and the next writing puts it back first.
    """
    new = folder.with_name(f".{folder.name}.new")
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir(parents=True)
    for name, data in bundle.files.items():
        with publish(new / name) as file:
            file.write(data)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle, and believe nothing of it; UserError says what is wrong."""
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder} is no tokenizer: it has no {MANIFEST}")
    if (folder / MANIFEST).is_symlink():
        raise UserError(f"{folder / MANIFEST} is no plain file")
    manifest = read_json(
        folder / MANIFEST, BundleManifest, newest=SCHEMA_VERSION, remedy="copy the bundle again"
    )
    return Bundle(folder, manifest, _checked(folder, ENCODER, manifest.hashes))


def _fingerprint(values: dict[str, Any]) -> str:
    rest = {name: value for name, value in values.items() if name != "fingerprint"}
    return sha256(canonical_json(rest).encode()).hexdigest()


def _checked(folder: Path, name: str, hashes: dict[str, str]) -> bytes:
    data = _bounded(folder, name)
    if sha256(data).hexdigest() != hashes.get(name):
        raise UserError(f"{folder / name} is not the file that {MANIFEST} speaks of")
    return data


def _bounded(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise UserError(f"{path} is missing, or no plain file")
    if path.stat().st_size > MAX_BYTES[name]:
        raise UserError(f"{path} is larger than {MAX_BYTES[name]} bytes")
    return path.read_bytes()
