"""What a linear classifier can read off representations.

The representation stays fixed. A linear classifier learns from it: classes that it separates are
linearly separable (Alain and Bengio 2017, "Understanding intermediate layers using linear
classifier probes").
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ulmo.arrays import Array, Ids, Mask
from ulmo.evaluation.folds import Folds

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]

_INVERSE_PENALTY = 1.0  # C of scikit-learn's LogisticRegression, its default: the same for all
_ITERATIONS = 1000  # of L-BFGS; the default of 100 is too few for some hundred dimensions


def mean_latents(latents: Sequence[Array]) -> Array:
    """Means over time (n, bands * EMB) of latents (time, bands, EMB), band after band.

    The mean alone, silent columns included, as is usual for frame-wise representations (Turian et
    al. 2022, "HEAR"). Bands stay separate: the same sound at another pitch is another sound.
    """
    return np.array([grid.reshape(len(grid), -1).mean(axis=0) for grid in latents], np.float32)


def histograms(ids: Sequence[Ids], sound: Sequence[Mask], codebook_size: int) -> Array:
    """Shares (n, bands * CB) of each code of each band among the sound tokens of a recording.

    `ids` are (time, bands), and so is `sound`, whether a token is not silent. Special tokens are
    left out. There is one histogram a band, all of which sum to 1 together: this separated digits
    better than one histogram over all bands (docs/evaluating.md). A recording without sound tokens
    has zeros.
    """
    return np.array(
        [_histogram(grid, loud, codebook_size) for grid, loud in zip(ids, sound, strict=True)],
        np.float32,
    )


def _histogram(ids: Ids, sound: Mask, codebook_size: int) -> Floats:
    bands = ids.shape[1]
    places = ids + codebook_size * np.arange(bands)
    kept = places[sound & (ids < codebook_size)]
    return np.bincount(kept, minlength=bands * codebook_size) / max(len(kept), 1)


class Probe(NamedTuple):
    """How often a classifier was right on items of groups that it was not trained on."""

    accuracy: float  # mean over the folds, from 0 to 1; NaN without folds
    spread: float  # sample standard deviation over the folds; NaN for fewer than two
    chance: float  # mean over the folds of the share of the commonest test label; NaN without folds
    folds: int
    items: int  # test items of all folds


# Training vectors (n, d), their labels (n,), and test vectors (m, d) to labels (m,).
Classify = Callable[[Array, Labels, Array], Labels]


def probe(vectors: Array, labels: Sequence[str], folds: Folds, classify: Classify) -> Probe:
    """Cross-validated accuracy of a classifier on vectors (n, d) with n labels, else ValueError."""
    if len(vectors) != len(labels):
        raise ValueError("each vector needs one label")
    names = np.array(labels)
    accuracies, chances = [], []
    for train, test in folds.folds:
        with threadpool_limits(1, user_api="blas"):  # its products are small: threads would wait
            found = classify(vectors[train], names[train], vectors[test])
        accuracies.append(float((found == names[test]).mean()))
        chances.append(float(np.unique(names[test], return_counts=True)[1].max() / len(test)))
    return Probe(
        accuracy=_mean(accuracies),
        spread=float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else float("nan"),
        chance=_mean(chances),
        folds=len(accuracies),
        items=sum(len(fold.test) for fold in folds.folds),
    )


def by_line(train: Array, labels: Labels, test: Array) -> Labels:
    """Multinomial logistic regression on dimensions standardised by the training vectors."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_ITERATIONS)
    model = make_pipeline(StandardScaler(), regression).fit(train.astype(np.float64), labels)
    found: Labels = model.predict(test.astype(np.float64))
    return found


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
