"""ulmo inspect: the contents of a bundle, in figures with units."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.bundle.bundle import DEFAULT, Bundle, read_bundle
from ulmo.bundle.cost import tokenizer_cost
from ulmo.bundle.manifest import ENCODER, MANIFEST, SCORES, WEIGHTS, BundleManifest
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.bundle.weights import codebook_of, weight_shapes
from ulmo.config import LIMITS, Convolution, Limits, ModelSettings, PrepSettings, UserError
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.storage.names import portable
from ulmo.tokens import band_edges

_COMPARED_CODES = 4096  # most codes whose nearest neighbour is sought: 1 s
_CHUNK = 512

Table = dict[str, Any]  # values that JSON takes, by name


class BundleFacts(NamedTuple):
    """All facts of a bundle; `ulmo inspect --json` prints them."""

    folder: str  # or a zip file, or hf://owner/name@commit
    front_end: Table  # from samples to tiles
    model: Table  # encoder and decoder
    grid: Table  # the token grid and its rates
    codebook: Table  # the codes' vectors
    files: list[Table]
    manifest: BundleManifest


def inspect_bundle(place: Path | str | None = None, limits: Limits = LIMITS) -> BundleFacts:
    """Read and describe a bundle, or the one that ships; raises UserError if it is refused."""
    bundle = read_bundle(place or DEFAULT, limits)
    prep, model = bundle.manifest.prep, bundle.manifest.model
    try:
        frontend = build_frontend(prep)
    except (UserError, ArithmeticError) as error:
        raise UserError(f"{bundle.place}: no front end meets its settings: {error}") from None
    codebook = codebook_of(model, bundle.weights())
    return BundleFacts(
        folder=bundle.place if isinstance(bundle.place, str) else portable(bundle.place),
        front_end=_front_end(prep, frontend),
        model=_model(prep, model),
        grid=_grid(prep, model, frontend),
        codebook=describe_codebook(model, codebook, bundle.thresholds()),
        files=_files(bundle),
        manifest=bundle.manifest,
    )


def as_json(facts: BundleFacts) -> Table:
    """Facts as JSON takes them: a table for each part, and tokenizer.json as it stands."""
    return {**facts._asdict(), "manifest": facts.manifest.model_dump(mode="json")}


def describe_codebook(
    model: ModelSettings, codebook: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> Table:
    """Statistics of codes (CB, EMB) and of their thresholds (CB, levels)."""
    size, dimensions = codebook.shape
    rows = np.linspace(0, size - 1, min(size, _COMPARED_CODES)).astype(np.int64)
    return {
        "size": size,
        # None if it is not fixed.
        "latent_norm": None if model.latent_norm == "none" else math.sqrt(dimensions),
        "norm": _spread(np.linalg.norm(codebook.astype(np.float64), axis=1)),
        # Euclidean distance from a code to its nearest neighbour, for `compared` codes.
        "nearest": _spread(_nearest(codebook, rows)),
        "compared": len(rows),
        # Codes equal to an earlier one: they are never chosen.
        "duplicates": size - len(np.unique(codebook + np.float32(0), axis=0)),
        # `median`: squared distance of the median code.
        "unk": [
            {"quantile": quantile, "median": float(np.median(column))}
            for quantile, column in zip(UNK_QUANTILES, thresholds.T, strict=True)
        ],
    }


def _front_end(prep: PrepSettings, frontend: FrontEnd) -> Table:
    return {
        "name": prep.frontend,
        "sample_rate_hz": prep.true_rate,
        "time_expansion": prep.time_expansion,
        "frame_ms": _frame_ms(prep),  # from one frame to the next
        # Sound that a frame depends on, before and after its centre.
        "reach_ms": [1000 * n / prep.true_rate for n in (frontend.left, frontend.right)],
        "bins": prep.tile_size,
        "tile_frames": prep.tile_size,
        "tile_s": prep.tile_size * prep.frame_s,
        # Centres of the lowest and the highest bin.
        "centres_hz": [float(frontend.frequencies[0]), float(frontend.frequencies[-1])],
    }


def _model(prep: PrepSettings, model: ModelSettings) -> Table:
    sizes = {name: math.prod(shape) for name, shape in weight_shapes(model).items()}
    before, after = model.time_context
    cost = tokenizer_cost(prep, model)
    *inner, last = model.decoder
    return {
        "encoder": [_layer(layer, layer.outputs) for layer in model.encoder[:-1]],
        "decoder": [*(_layer(layer, layer.outputs) for layer in inner), _layer(last, 1)],
        "embedding_dim": model.embedding_dim,
        # At once, and for a second of sound: from sound to tokens and back.
        "memory_bytes": round(cost.bytes),
        "operations_per_second": round(cost.operations_per_second),
        "parameters": sum(sizes.values()),
        # Without the codebook.
        "encoder_parameters": sum(n for name, n in sizes.items() if name.startswith("encoder")),
        # Sound that a token depends on beside its own column.
        "context_ms": [before * _frame_ms(prep), after * _frame_ms(prep)],
        "receptive_field_ms": (before + model.time_stride + after) * _frame_ms(prep),
    }


def _layer(layer: Convolution, channels: int) -> Table:
    """Stride (frequency, time), in the decoder the upsampling; and channels of the output."""
    return {"stride": list(layer.strides), "channels": channels}


def _frame_ms(prep: PrepSettings) -> float:
    return 1000 * prep.frame_s


def _grid(prep: PrepSettings, model: ModelSettings, frontend: FrontEnd) -> Table:
    hop = prep.hop_length * model.time_stride
    rate = model.bands * prep.true_rate / hop
    bits = math.log2(model.codebook_size)
    return {
        "bands": model.bands,
        "edges_hz": band_edges(frontend.frequencies, model.frequency_stride).tolist(),  # bands + 1
        "column_ms": 1000 * hop / prep.true_rate,
        "tokens_per_second": rate,
        "bits_per_token": bits,
        "bits_per_second": rate * bits,  # before entropy coding
    }


def _files(bundle: Bundle) -> list[Table]:
    """Name, bytes and hash; the hash is None for tokenizer.json, which holds the other hashes."""
    sizes = {
        MANIFEST: len(bundle.manifest.text()),
        WEIGHTS: len(bundle.packed),
        ENCODER: len(bundle.encoder),
    }
    if bundle.packed_scores is not None:
        sizes[SCORES] = len(bundle.packed_scores)
    hashes = bundle.manifest.hashes
    return [
        {"name": name, "bytes": size, "sha256": hashes.get(name)} for name, size in sizes.items()
    ]


def _nearest(codebook: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of some codes to their nearest neighbours, (n,)."""
    codes = codebook.astype(np.float64)
    norms = np.square(codes).sum(axis=1)
    nearest = np.empty(len(rows))
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        squared = norms[part, None] + norms - 2 * codes[part] @ codes.T
        squared[np.arange(len(part)), part] = np.inf
        found = squared.argmin(axis=1)
        nearest[start : start + _CHUNK] = np.linalg.norm(codes[part] - codes[found], axis=1)
    return nearest


def _spread(values: NDArray[np.float64]) -> Table:
    return {
        "least": float(values.min()),
        "median": float(np.median(values)),
        "most": float(values.max()),
    }
