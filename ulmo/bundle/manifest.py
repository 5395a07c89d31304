"""tokenizer.json: everything that determines the ids, with a fingerprint, and the card."""

import json
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ulmo.bundle.card import Card
from ulmo.bundle.folder import check_hashes, hashes_of
from ulmo.bundle.scores import may_have_scores
from ulmo.bundle.weights import check_size
from ulmo.config import ModelSettings, PrepSettings, Settings
from ulmo.preprocessing.normalize import Normalization
from ulmo.storage.sealed import fingerprint
from ulmo.vocabulary import Vocabulary

# 1 had no thresholds of `<unk>`, and no zeros behind the end of a recording.
SCHEMA_VERSION = 2
MANIFEST, WEIGHTS, ENCODER = "tokenizer.json", "model.safetensors", "encoder.onnx"
SCORES = "substitution.safetensors"
FILES = (MANIFEST, WEIGHTS, ENCODER, SCORES)
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Short = Annotated[str, Field(max_length=64)]
_NOT_IDENTITY = frozenset({"fingerprint", "card", "card_hash"})  # not covered by the fingerprint


class BundleManifest(Settings):
    """tokenizer.json."""

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]
    prep: PrepSettings
    normalization: Normalization | None  # None: constants are measured on each recording or tile
    model: ModelSettings
    vocabulary_size: int
    special_tokens: dict[_Short, int]
    hashes: dict[_Short, _Hash]  # SHA-256 of the other files
    # SHA-256 over all of the above but the hash of the scores, as canonical JSON; goes into tokens
    fingerprint: _Hash
    card: Card
    card_hash: _Hash  # SHA-256 over the card, as canonical JSON

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        vocabulary = Vocabulary(self.model.codebook_size)
        if (self.vocabulary_size, self.special_tokens) != (vocabulary.size, vocabulary.specials()):
            raise ValueError("the vocabulary does not fit the codebook")
        if self.prep.tile_size != self.model.tile_size:
            raise ValueError("front end and model have different tile sizes")
        if (self.normalization is None) == self.prep.learns_constants:
            raise ValueError("the normalisation constants do not fit the mode")
        if set(self.hashes) - {SCORES} != {WEIGHTS, ENCODER}:
            raise ValueError(f"hashes must be of {WEIGHTS}, {ENCODER} and perhaps {SCORES} alone")
        if SCORES in self.hashes and not may_have_scores(self.model):
            raise ValueError(f"there are too many codes for {SCORES}")
        check_size(self.model)
        values = self.model_dump(mode="json")
        check_hashes(values, _identity(values))
        return self

    def text(self) -> bytes:
        """The bytes of tokenizer.json."""
        values = self.model_dump(mode="json")
        return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def build_manifest(
    prep: PrepSettings,
    normalization: Normalization | None,
    model: ModelSettings,
    hashes: dict[str, str],
    card: Card,
) -> BundleManifest:
    """The manifest from the parts of a model, with every setting written out."""
    vocabulary = Vocabulary(model.codebook_size)
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "prep": prep.model_dump(mode="json"),
        "normalization": normalization.model_dump(mode="json") if normalization else None,
        "model": model.model_dump(mode="json"),
        "vocabulary_size": vocabulary.size,
        "special_tokens": vocabulary.specials(),
        "hashes": hashes,
        "card": card.model_dump(mode="json"),
    }
    return BundleManifest.model_validate({**values, **hashes_of(values, _identity(values))})


def _identity(values: dict[str, Any]) -> str:
    """Fingerprint over everything that determines the ids: substitution scores do not."""
    identity = {name: value for name, value in values.items() if name not in _NOT_IDENTITY}
    hashes = {name: value for name, value in values["hashes"].items() if name != SCORES}
    return fingerprint({**identity, "hashes": hashes})
