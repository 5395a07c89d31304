"""What vectors know of labels: a linear probe, and nearest neighbours.

The representation is held fixed, and the simplest classifiers are fitted on top of it: a linear
one (Alain and Bengio 2017, "Understanding intermediate layers using linear classifier probes")
tells what can be read off along straight lines, neighbours (Wu et al. 2018, "Unsupervised feature
learning via non-parametric instance discrimination") what lies near what, with nothing fitted.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.evaluation.folds import Folds

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]

NEIGHBOURS = 5
"""k, scikit-learn's default. Few: a label may have no more items than that to learn from (6 or 7 of
ESC-10's held-out clips), and of more neighbours most would have to be others."""
INVERSE_PENALTY = 1.0
"""C of scikit-learn's LogisticRegression, its default. It is the same for all that are compared."""
ITERATIONS = 1000
"""At most, of L-BFGS: its default of 100 is too few for some hundred standardised dimensions."""


class Probe(NamedTuple):
    """How often a classifier was right on items of groups that it never saw."""

    accuracy: float
    """Mean over the folds, from 0 to 1; NaN where nothing was measured, as the next two."""
    spread: float
    """Sample standard deviation over the folds; NaN of one fold."""
    chance: float
    """Mean over the folds of the share of the commonest label among the test items."""
    folds: int
    items: int
    """Test items, of all folds."""


class Probes(NamedTuple):
    """Both classifiers on the same vectors and folds."""

    linear: Probe
    neighbours: Probe


Classify = Callable[[Vectors, NDArray[np.str_], Vectors], NDArray[np.str_]]
"""Training vectors (n, d), their labels (n,), and test vectors (m, d) to labels (m,)."""


def probes(vectors: Vectors, labels: Sequence[str], folds: Folds) -> Probes:
    """The linear probe and the nearest neighbours of vectors (n, d) with labels."""
    return Probes(
        linear=probe(vectors, labels, folds, by_line),
        neighbours=probe(vectors, labels, folds, by_neighbours),
    )


def probe(vectors: Vectors, labels: Sequence[str], folds: Folds, classify: Classify) -> Probe:
    """Accuracy of a classifier on vectors (n, d), cross-validated. ValueError for other lengths."""
    if len(vectors) != len(labels):
        raise ValueError("each vector needs one label")
    told = np.array(labels)
    accuracies, chances = [], []
    for train, test in folds.folds:
        found = classify(vectors[train], told[train], vectors[test])
        accuracies.append(float((found == told[test]).mean()))
        chances.append(float(np.unique(told[test], return_counts=True)[1].max() / len(test)))
    return Probe(
        accuracy=_mean(accuracies),
        spread=float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else float("nan"),
        chance=_mean(chances),
        folds=len(accuracies),
        items=sum(len(fold.test) for fold in folds.folds),
    )


def by_line(train: Vectors, labels: NDArray[np.str_], test: Vectors) -> NDArray[np.str_]:
    """Multinomial logistic regression on dimensions standardised by the training vectors."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train.astype(np.float64))
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=ITERATIONS)
    model.fit(scaler.transform(train.astype(np.float64)), labels)
    found: NDArray[np.str_] = model.predict(scaler.transform(test.astype(np.float64)))
    return found


def by_neighbours(train: Vectors, labels: NDArray[np.str_], test: Vectors) -> NDArray[np.str_]:
    """The commonest label among the NEIGHBOURS of the highest cosine; of equally common, the one
    whose neighbours are nearer."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(
        min(NEIGHBOURS, len(train)), weights=_votes, metric="cosine", algorithm="brute"
    )
    model.fit(train.astype(np.float64), labels)
    found: NDArray[np.str_] = model.predict(test.astype(np.float64))
    return found


def _votes(distances: Floats) -> Floats:
    """One vote a neighbour, and a share of one by its cosine: never as much as a vote in all."""
    return 1 + (1 - distances) / (2 * NEIGHBOURS + 1)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
