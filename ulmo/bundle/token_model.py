"""The token model's folder: JSON, safetensors and an ONNX graph; it has no code.

lm.json              sizes, the tokenizer that it belongs to, card, hashes of the other files
model.safetensors    float16: the network, substitution scores, usual ids, and the first mixture
network.onnx         the network, for programs that know ONNX and not ulmo

It is checked as a tokenizer's bundle is: the settings are strict JSON of bounded size, and they
determine every byte of the safetensors but the numbers, and these the graph.
"""

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import safetensors.numpy
from pydantic import Field, model_validator

from ulmo.arrays import Array
from ulmo.bundle.card import Corpus, Text
from ulmo.bundle.folder import FolderKind, check_hashes, hashes_of
from ulmo.bundle.token_graph import network_graph, network_size
from ulmo.bundle.token_weights import tensor_shapes
from ulmo.bundle.weights import tensors_header
from ulmo.config import Settings, UserError
from ulmo.config.token_model import TokenModelSettings
from ulmo.storage.plain_file import check_length, read_bounded, read_hashed
from ulmo.storage.sealed import fingerprint, read_json

SCHEMA_VERSION = 2
LM_MANIFEST, LM_WEIGHTS, LM_NETWORK = "lm.json", "model.safetensors", "network.onnx"
_FILES = (LM_MANIFEST, LM_WEIGHTS, LM_NETWORK)
LM_FOLDER = FolderKind("token model", "a token model", LM_MANIFEST, _FILES, "lm")
DEFAULT_LM = Path(__file__).parents[1] / "default_token_model"  # recipes/token_model.toml
_MAX_BYTES = 1 << 26  # of the weights: 8 times `base`
_MAX_MANIFEST_BYTES = 1 << 16
# Logarithms whose powers of 2 must be numbers: of probabilities, and of ratios of these.
_RANGES = {"usual": (-64, 0), "scores": (-64, 64)}
_REMEDY = "copy the token model again from an undamaged source"
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0, le=2**53)]
_Figure = Annotated[float, Field(ge=0, le=1e12)]


class TokenTraining(Settings):
    """How a token model was trained."""

    steps: _Count
    epochs: _Count  # finished ones
    tokens: _Count  # of the recordings that it was trained on
    tokens_fingerprint: _Hash
    seed: _Count


class TokenFigures(Settings):
    """Bits a token on recordings that were held out, each scored alone."""

    recordings: _Count
    tokens: _Count
    bits: _Figure  # of the whole model
    bits_network: _Figure  # of the network alone


class TokenModelCard(Settings):
    """Information for people in lm.json. No date: the same training gives the same bytes."""

    corpora: Annotated[tuple[Corpus, ...], Field(max_length=64)] = ()
    training: TokenTraining | None = None
    figures: TokenFigures | None = None  # None: no recordings were held out
    versions: Annotated[dict[Text, Text], Field(max_length=16)] = Field(default_factory=dict)
    notes: Text = ""


class TokenModelManifest(Settings):
    """lm.json."""

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]
    model: TokenModelSettings
    tokenizer: _Hash  # fingerprint of the tokenizer whose tokens it scores
    weights: _Hash  # SHA-256 of model.safetensors
    network: _Hash  # SHA-256 of network.onnx
    fingerprint: _Hash  # SHA-256 over all of the above, as canonical JSON
    card: TokenModelCard
    card_hash: _Hash  # SHA-256 over the card, as canonical JSON

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        check_tensors_size(self.model)
        values = self.model_dump(mode="json")
        check_hashes(values, _identity(values))
        return self


class TokenModelBundle(NamedTuple):
    """A token model as it is read or written."""

    folder: Path
    manifest: TokenModelManifest
    packed: bytes  # model.safetensors
    network: bytes  # network.onnx

    def tensors(self) -> dict[str, Array]:
        """All tensors by name, float32."""
        return _unpacked(self.manifest.model, self.packed)

    def text(self) -> bytes:
        """The bytes of lm.json."""
        return _text(self.manifest)

    def write(self) -> None:
        """Write the folder; an older one is replaced whole (see `FolderKind.write`)."""
        files = {LM_WEIGHTS: self.packed, LM_NETWORK: self.network, LM_MANIFEST: self.text()}
        LM_FOLDER.write(self.folder, files)


def build_token_model(
    folder: Path,
    model: TokenModelSettings,
    tokenizer: str,
    tensors: Mapping[str, Array],
    card: TokenModelCard,
) -> TokenModelBundle:
    """A token model from its parts. The same parts give the same bytes.

    ValueError for tensors of other names or shapes than `tensor_shapes` says, or not finite when
    they are float16.
    """
    shapes = tensor_shapes(model)
    if {name: tensors[name].shape for name in sorted(tensors)} != shapes:
        raise ValueError("tensors are not those that the settings give")
    with np.errstate(over="ignore"):
        halves = {name: np.ascontiguousarray(each, np.float16) for name, each in tensors.items()}
    packed = safetensors.numpy.save(halves)
    network = network_graph(model, _unpacked(model, packed)).to_bytes()
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "model": model.model_dump(mode="json"),
        "tokenizer": tokenizer,
        "weights": sha256(packed).hexdigest(),
        "network": sha256(network).hexdigest(),
        "card": card.model_dump(mode="json"),
    }
    manifest = TokenModelManifest.model_validate({**values, **hashes_of(values, _identity(values))})
    return TokenModelBundle(folder, manifest, packed, network)


def read_token_model(folder: Path) -> TokenModelBundle:
    """Read and check a token model. UserError says what is wrong and what to do.

    The folder may be a symbolic link, because the user named it; nothing inside may be one.
    """
    folder = LM_FOLDER.present(folder)
    LM_FOLDER.check_names(folder)
    path = folder / LM_MANIFEST
    content = read_bounded(path, _MAX_MANIFEST_BYTES, remedy=_REMEDY)
    manifest = read_json(
        path,
        TokenModelManifest,
        content=content,
        newest=SCHEMA_VERSION,
        oldest=SCHEMA_VERSION,
        remedy=_REMEDY,
    )
    if content != _text(manifest):
        raise UserError(f"{path} is damaged (its layout is not that of ulmo): {_REMEDY}")
    sizes = {LM_WEIGHTS: tensors_size(manifest.model), LM_NETWORK: network_size(manifest.model)}
    for name, size in sizes.items():
        check_length(folder / name, size, remedy=_REMEDY)
    hashes = {LM_WEIGHTS: manifest.weights, LM_NETWORK: manifest.network}
    packed, network = (
        read_hashed(folder / name, size, hashes[name], remedy=_REMEDY)
        for name, size in sizes.items()
    )
    name = LM_WEIGHTS
    try:
        tensors = _unpacked(manifest.model, packed)
        name = LM_NETWORK
        network_graph(manifest.model, tensors).check(network)
    except ValueError as error:
        raise UserError(f"{folder / name} does not fit its settings ({error}): {_REMEDY}") from None
    return TokenModelBundle(folder, manifest, packed, network)


def tensors_size(model: TokenModelSettings) -> int:
    """Bytes of model.safetensors."""
    numbers = sum(math.prod(shape) for shape in tensor_shapes(model).values())
    return len(tensors_header(tensor_shapes(model), "F16")) + 2 * numbers


def check_tensors_size(model: TokenModelSettings) -> None:
    """Raise ValueError, with a remedy, if the model is larger than a folder may hold."""
    if (size := tensors_size(model)) > _MAX_BYTES:
        raise ValueError(
            f"the model has {size >> 20} MiB of tensors, over the limit of {_MAX_BYTES >> 20} MiB: "
            "set a smaller width, or fewer blocks"
        )


def _unpacked(model: TokenModelSettings, packed: bytes) -> dict[str, Array]:
    """The tensors; ValueError for another header, or numbers that are not finite."""
    if not packed.startswith(tensors_header(tensor_shapes(model), "F16")):
        raise ValueError("its header is not the one that the settings give")
    halves = safetensors.numpy.load(packed)
    for name, each in halves.items():
        if not np.isfinite(each).all():
            raise ValueError(f"{name} is not finite")
    for name, (least, most) in _RANGES.items():
        if halves[name].min() < least or halves[name].max() > most:
            raise ValueError(f"{name} is not from {least} to {most}")
    return {name: each.astype(np.float32) for name, each in halves.items()}


def _identity(values: dict[str, Any]) -> str:
    names = ("schema_version", "model", "tokenizer", "weights", "network")
    return fingerprint({name: values[name] for name in names})


def _text(manifest: TokenModelManifest) -> bytes:
    values = manifest.model_dump(mode="json")
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
