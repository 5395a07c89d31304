"""ulmo inspect: the contents of a bundle, in figures with units."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.bundle.bundle import DEFAULT, ENCODER, MANIFEST, WEIGHTS, Bundle, read_bundle
from ulmo.bundle.manifest import BundleManifest
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.bundle.weights import codebook_of, weight_shapes
from ulmo.config import ModelSettings, PrepSettings, UserError
from ulmo.preprocessing.frontends import FrontEnd, build_frontend
from ulmo.tokens import band_edges

COMPARED_CODES = 4096  # most codes whose nearest neighbour is sought: 1 s
CHUNK = 512


class FrontEndFacts(NamedTuple):
    """From samples to tiles."""

    name: str
    sample_rate_hz: int
    frame_ms: float  # from one frame to the next
    reach_ms: tuple[float, float]  # sound that a frame depends on, before and after its centre
    bins: int
    tile_frames: int
    tile_s: float
    centres_hz: tuple[float, float]  # centres of the lowest and the highest bin


class Layer(NamedTuple):
    """A layer of the encoder or decoder."""

    stride: tuple[int, int]  # (frequency, time); in the decoder, the upsampling
    channels: int  # of its output


class ModelFacts(NamedTuple):
    """Encoder and decoder."""

    encoder: list[Layer]
    decoder: list[Layer]
    embedding_dim: int
    parameters: int
    encoder_parameters: int  # without the codebook
    context_ms: tuple[float, float]  # sound that a token depends on beside its own column
    receptive_field_ms: float


class GridFacts(NamedTuple):
    """The token grid and its rates."""

    bands: int
    edges_hz: list[float]  # bands + 1
    column_ms: float
    tokens_per_second: float
    bits_per_token: float
    bits_per_second: float  # before entropy coding


class Range(NamedTuple):
    """Smallest, middle and largest of many numbers."""

    least: float
    median: float
    most: float


class UnkLevel(NamedTuple):
    """The thresholds of `<unk>` at one quantile."""

    quantile: float
    median: float  # squared distance of the median code


class CodebookFacts(NamedTuple):
    """The codes' vectors. A latent's norm, if it is fixed, is the root of their dimensions."""

    size: int
    latent_norm: float | None
    norm: Range
    nearest: Range  # Euclidean distance from a code to its nearest neighbour
    compared: int  # number of codes for which it was computed
    duplicates: int  # codes equal to an earlier one: they are never chosen
    unk: list[UnkLevel]


class FileFacts(NamedTuple):
    """A file of the bundle."""

    name: str
    bytes: int
    sha256: str | None  # None for tokenizer.json, which holds the other hashes


class BundleFacts(NamedTuple):
    """All facts of a bundle."""

    folder: str
    manifest: BundleManifest
    front_end: FrontEndFacts
    model: ModelFacts
    grid: GridFacts
    codebook: CodebookFacts
    files: list[FileFacts]


def inspect_bundle(folder: Path | None = None) -> BundleFacts:
    """Read and describe a bundle, or the one that ships; UserError where it is refused."""
    folder = folder or DEFAULT
    bundle = read_bundle(folder)
    prep, model = bundle.manifest.prep, bundle.manifest.model
    try:
        frontend = build_frontend(prep)
    except (UserError, ArithmeticError) as error:
        raise UserError(f"{folder}: no front end meets its settings: {error}") from None
    return BundleFacts(
        folder=str(folder),
        manifest=bundle.manifest,
        front_end=_front_end(prep, frontend),
        model=_model(prep, model),
        grid=_grid(prep, model, frontend),
        codebook=describe_codebook(
            model, codebook_of(model, bundle.weights()), bundle.thresholds()
        ),
        files=_files(bundle),
    )


def as_json(facts: BundleFacts) -> dict[str, Any]:
    """Facts as JSON takes them: a table for each part, and tokenizer.json as it stands."""
    tables = facts._asdict()
    manifest = tables.pop("manifest").model_dump(mode="json")
    return {**{name: _plain(table) for name, table in tables.items()}, "manifest": manifest}


def describe_codebook(
    model: ModelSettings, codebook: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> CodebookFacts:
    """Statistics of codes (CB, EMB) and of their thresholds (CB, levels)."""
    size, dimensions = codebook.shape
    rows = np.linspace(0, size - 1, min(size, COMPARED_CODES)).astype(np.int64)
    return CodebookFacts(
        size=size,
        latent_norm=None if model.latent_norm == "none" else math.sqrt(dimensions),
        norm=_spread(np.linalg.norm(codebook.astype(np.float64), axis=1)),
        nearest=_spread(_nearest(codebook, rows)),
        compared=len(rows),
        duplicates=size - len(np.unique(codebook + np.float32(0), axis=0)),
        unk=[
            UnkLevel(quantile, float(np.median(column)))
            for quantile, column in zip(UNK_QUANTILES, thresholds.T, strict=True)
        ],
    )


def _front_end(prep: PrepSettings, frontend: FrontEnd) -> FrontEndFacts:
    frame_ms = 1000 * prep.hop_length / prep.sample_rate
    reach = (1000 * samples / prep.sample_rate for samples in (frontend.left, frontend.right))
    before, after = reach
    return FrontEndFacts(
        name=prep.frontend,
        sample_rate_hz=prep.sample_rate,
        frame_ms=frame_ms,
        reach_ms=(before, after),
        bins=prep.tile_size,
        tile_frames=prep.tile_size,
        tile_s=prep.tile_size * prep.hop_length / prep.sample_rate,
        centres_hz=(float(frontend.frequencies[0]), float(frontend.frequencies[-1])),
    )


def _model(prep: PrepSettings, model: ModelSettings) -> ModelFacts:
    sizes = {name: math.prod(shape) for name, shape in weight_shapes(model).items()}
    frame_ms = 1000 * prep.hop_length / prep.sample_rate
    before, after = model.time_context
    *inner, last = model.decoder
    decoder = [Layer(layer.strides, layer.outputs) for layer in inner]
    return ModelFacts(
        encoder=[Layer(layer.strides, layer.outputs) for layer in model.encoder[:-1]],
        decoder=[*decoder, Layer(last.strides, 1)],
        embedding_dim=model.embedding_dim,
        parameters=sum(sizes.values()),
        encoder_parameters=sum(n for name, n in sizes.items() if name.startswith("encoder")),
        context_ms=(before * frame_ms, after * frame_ms),
        receptive_field_ms=(before + model.time_stride + after) * frame_ms,
    )


def _grid(prep: PrepSettings, model: ModelSettings, frontend: FrontEnd) -> GridFacts:
    hop = prep.hop_length * model.time_stride
    rate = model.bands * prep.sample_rate / hop
    bits = math.log2(model.codebook_size)
    return GridFacts(
        bands=model.bands,
        edges_hz=band_edges(frontend.frequencies, model.frequency_stride).tolist(),
        column_ms=1000 * hop / prep.sample_rate,
        tokens_per_second=rate,
        bits_per_token=bits,
        bits_per_second=rate * bits,
    )


def _files(bundle: Bundle) -> list[FileFacts]:
    hashes = bundle.manifest.hashes
    sizes = {
        MANIFEST: (bundle.folder / MANIFEST).stat().st_size,
        WEIGHTS: len(bundle.packed),
        ENCODER: len(bundle.encoder),
    }
    return [FileFacts(name, size, hashes.get(name)) for name, size in sizes.items()]


def _nearest(codebook: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of some codes to their nearest neighbours, (n,)."""
    codes = codebook.astype(np.float64)
    norms = np.square(codes).sum(axis=1)
    nearest = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        squared = norms[part, None] + norms - 2 * codes[part] @ codes.T
        squared[np.arange(len(part)), part] = np.inf
        found = squared.argmin(axis=1)
        nearest[start : start + CHUNK] = np.linalg.norm(codes[part] - codes[found], axis=1)
    return nearest


def _spread(values: NDArray[np.float64]) -> Range:
    return Range(float(values.min()), float(np.median(values)), float(values.max()))


def _plain(value: Any) -> Any:
    """The value with named tuples as tables."""
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
