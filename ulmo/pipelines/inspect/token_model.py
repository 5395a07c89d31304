"""ulmo inspect of a token model: its sizes, its card and its files."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.bundle.token_model import (
    LM_MANIFEST,
    LM_NETWORK,
    LM_WEIGHTS,
    TokenModelManifest,
    read_token_model,
)
from ulmo.bundle.token_weights import weight_shapes
from ulmo.storage.names import portable


class TokenModelFacts(NamedTuple):
    """All facts of a token model; `ulmo inspect --json` prints them."""

    folder: str
    weights: int  # numbers of the network
    files: list[dict[str, Any]]
    manifest: TokenModelManifest


def is_token_model(folder: Path) -> bool:
    """Whether a folder holds a token model rather than a tokenizer."""
    return (folder / LM_MANIFEST).is_file()


def inspect_token_model(folder: Path) -> TokenModelFacts:
    """Read and describe a token model; raises UserError if it is refused."""
    bundle = read_token_model(folder)
    manifest = bundle.manifest
    files = [
        {"name": LM_MANIFEST, "bytes": len(bundle.text()), "sha256": None},
        {"name": LM_WEIGHTS, "bytes": len(bundle.packed), "sha256": manifest.weights},
        {"name": LM_NETWORK, "bytes": len(bundle.network), "sha256": manifest.network},
    ]
    weights = sum(math.prod(shape) for shape in weight_shapes(manifest.model).values())
    return TokenModelFacts(portable(folder), weights, files, manifest)


def as_json(facts: TokenModelFacts) -> dict[str, Any]:
    """Facts as JSON takes them, and lm.json as it stands."""
    return {**facts._asdict(), "manifest": facts.manifest.model_dump(mode="json")}
