"""A trained model becomes a bundle, and the bundle is proved against the model."""

from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.bundle import ENCODER, Bundle, build_bundle, write_bundle
from ulmo.config import JobError, ModelSettings
from ulmo.graph import encoder_graph
from ulmo.pipelines.measure import Model
from ulmo.preprocessing.store import TileStore
from ulmo.tokenizer import Tokenizer

TIE = 1e-4
"""Of the squared distance: what float32 sums in another order may differ by (1e-6 was seen)."""


class Agreement(NamedTuple):
    """Tokens of the bundle beside those of the model, on real tiles."""

    tokens: int
    differing: int
    """All of them ties: both codes are equally near, up to TIE."""


class ExportError(JobError):
    """The bundle does not give the model's tokens."""


def export(
    folder: Path,
    model: Model,
    weights: dict[str, NDArray[np.float32]],
    settings: ModelSettings,
    store: TileStore,
    rows: NDArray[np.int64],
    card: dict[str, str],
) -> Agreement:
    """Build the bundle, compare its tokens of some tiles with the model's, and write it.

    Raises ExportError, and writes nothing, if any token differs that is not a tie.
    """
    built = build_bundle(
        prep=store.manifest.settings,
        normalization=store.manifest.normalization,
        model=settings,
        weights=weights,
        encoder=encoder_graph(settings, weights).SerializeToString(deterministic=True),
        card={**card, "ulmo": version("ulmo")},
    )
    tokenizer = Tokenizer(Bundle(folder, built.manifest, built.files[ENCODER]))
    tiles, valid = store.read(rows), store.valid_frames[rows]
    expected = model(tiles, valid)
    got = tokenizer.encode_tiles(tiles, valid)
    differs = expected.ids != got.ids
    ties = differs & (np.abs(expected.distances - got.distances) < TIE)
    if (differs & ~ties).any():
        raise ExportError(
            f"{folder}: {int((differs & ~ties).sum())} of {differs.size} tokens are not the model's"
        )
    write_bundle(folder, built)
    return Agreement(differs.size, int(differs.sum()))
