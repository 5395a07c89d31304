"""The rows of the table of tokenizers: what is trained, and how."""

from typing import Any, Literal, NamedTuple

from ulmo.preprocessing.frontends import FRONTENDS

GRIDS = ((16, 16), (32, 8), (56, 4), (112, 2), (224, 1))
"""Bins and frames of a token: 87.5 tokens a second, the last three 100."""
MODEL: dict[str, Any] = {"width": 64}
TRAIN: dict[str, Any] = {"batch_size": 8, "threads": 1}
"""What all rows have: a small model and small batches get furthest in minutes. One thread each, so
that two processes, each with an OUT of its own, can make half of the rows each."""


class Row(NamedTuple):
    """One tokenizer."""

    title: str
    group: Literal["quantizer", "front end", "grid"]
    model: dict[str, Any]
    """What differs from ModelSettings."""
    train: dict[str, Any]
    """What differs from TrainSettings."""
    frontend: str = "mel"
    kind: Literal["ulmo", "patches", "mfcc"] = "ulmo"


def _rows() -> dict[str, Row]:
    quantizer, plain = "quantizer", {}
    fsq = {"quantizer": "fsq", "embedding_dim": 3, "fsq_levels": (8, 8, 8)}
    kmeans, gradient = {"quantizer": "kmeans"}, {"quantizer": "gradient"}
    denoising = {"objective": "denoise"}
    rows = {
        "mfcc": Row("k-means, MFCC-39, 10 ms", quantizer, {}, {}, kind="mfcc"),
        "patches": Row("k-means, patches", quantizer, {}, {}, kind="patches"),
        "kmeans": Row("k-means, latents", quantizer, kmeans, plain),
        "gradient": Row("gradient codebook (keras.io)", quantizer, gradient, plain),
        "ema": Row("ema", quantizer, {}, plain),
        "fsq": Row("fsq 8 x 8 x 8", quantizer, fsq, plain),
        "residual": Row("residual 32 x 16", quantizer, {"quantizer": "residual"}, plain),
        "denoising": Row("labels of a denoiser", quantizer, kmeans, denoising),
    }
    for name in FRONTENDS:
        rows[f"frontend-{name}"] = Row(name, "front end", {}, {}, frontend=name)
    for bins, frames in GRIDS:
        strides = {"frequency_stride": bins, "time_stride": frames}
        rows[f"grid-{bins}x{frames}"] = Row(f"{bins} bins x {frames} frames", "grid", strides, {})
    return rows


ROWS = _rows()
SAME = {"frontend-mel": "ema", "grid-16x16": "ema"}
"""Rows that another row is already, while the best quantizer is ema."""
