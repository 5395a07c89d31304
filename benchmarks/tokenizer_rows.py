"""The rows of the table of tokenizers: what each trains, and how."""

from typing import Any, Literal, NamedTuple

from ulmo.preprocessing.frontends import FRONTENDS

# Bins and frames of a token: 87.5 tokens per second, 100 in the last three.
GRIDS = ((16, 16), (32, 8), (56, 4), (112, 2), (224, 1))
# Settings of all rows: a small model and small batches get furthest in minutes, and one thread
# lets two processes, each with its own OUT, make half of the rows each.
MODEL: dict[str, Any] = {"width": 64}
TRAIN: dict[str, Any] = {"batch_size": 8, "threads": 1}


class TokenizerRow(NamedTuple):
    """One tokenizer."""

    title: str
    group: Literal["quantizer", "front end", "grid"]
    model: dict[str, Any]  # differences from ModelSettings
    train: dict[str, Any]  # differences from TrainSettings
    frontend: str = "mel"
    kind: Literal["ulmo", "patches", "mfcc"] = "ulmo"


def _rows() -> dict[str, TokenizerRow]:
    quantizer, plain = "quantizer", {}
    fsq = {"quantizer": "fsq", "embedding_dim": 3, "fsq_levels": (8, 8, 8)}
    kmeans, gradient = {"quantizer": "kmeans"}, {"quantizer": "gradient"}
    denoising = {"objective": "denoise"}
    rows = {
        "mfcc": TokenizerRow("k-means, MFCC-39, 10 ms", quantizer, {}, {}, kind="mfcc"),
        "patches": TokenizerRow("k-means, patches", quantizer, {}, {}, kind="patches"),
        "kmeans": TokenizerRow("k-means, latents", quantizer, kmeans, plain),
        "gradient": TokenizerRow("gradient codebook (keras.io)", quantizer, gradient, plain),
        "ema": TokenizerRow("ema", quantizer, {}, plain),
        "fsq": TokenizerRow("fsq 8 x 8 x 8", quantizer, fsq, plain),
        "residual": TokenizerRow("residual 32 x 16", quantizer, {"quantizer": "residual"}, plain),
        "denoising": TokenizerRow("labels of a denoiser", quantizer, kmeans, denoising),
    }
    for name in FRONTENDS:
        rows[f"frontend-{name}"] = TokenizerRow(name, "front end", {}, {}, frontend=name)
    for bins, frames in GRIDS:
        title = f"{bins} bins x {frames} frames"
        strides = {"frequency_stride": bins, "time_stride": frames}
        rows[f"grid-{bins}x{frames}"] = TokenizerRow(title, "grid", strides, {})
    return rows


ROWS = _rows()
# Rows equal to another row, as long as the best quantizer is ema.
SAME = {"frontend-mel": "ema", "grid-16x16": "ema"}
