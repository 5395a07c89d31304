"""k-means: the start of a codebook, and the baseline for all codebooks."""

import numpy as np
from numpy.typing import NDArray

# Noise that separates copies of one vector in the codebook, in standard deviations of the vectors.
_JITTER = 1e-3


def kmeans_start(
    vectors: NDArray[np.float32], codebook_size: int, seed: int = 0, *, tokens_per_batch: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centroids (CB, EMB) and counts (CB,) for `VectorQuantizerEMA.start`, from (n, EMB).

    k-means++ and Lloyd's iterations, in float32, on one thread because threads sum in no fixed
    order. The counts are cluster sizes scaled to `tokens_per_batch`, the sum that the moving
    averages will have, so the first batches weigh as much as later ones. If there are fewer
    distinct vectors than codes, each becomes a code; the other codes are slightly shifted copies,
    which share the count of their vector. ValueError if there is no vector.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) == 0:
        raise ValueError(f"k-means needs vectors (n, EMB) with n at least 1, not {vectors.shape}")
    distinct, sizes = np.unique(vectors, axis=0, return_counts=True)
    if len(distinct) <= codebook_size:
        centroids, counts = _copies(distinct, sizes, codebook_size, seed)
    else:
        centroids, counts = _clusters(vectors, codebook_size, seed)
    return centroids, (counts * (tokens_per_batch / counts.sum())).astype(np.float32)


def _clusters(
    vectors: NDArray[np.float32], codebook_size: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """k-means centroids and cluster sizes; an empty cluster counts as one vector."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        kmeans = KMeans(codebook_size, n_init=1, random_state=seed).fit(vectors)
    sizes = np.bincount(kmeans.labels_, minlength=codebook_size)
    return kmeans.cluster_centers_, np.maximum(sizes, 1).astype(np.float64)


def _copies(
    distinct: NDArray[np.float32], sizes: NDArray[np.intp], codebook_size: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Every distinct vector, then jittered copies in turn, which share their vector's count."""
    source = np.arange(codebook_size) % len(distinct)
    scale = _JITTER * (float(distinct.std()) or 1.0)
    noise = np.random.default_rng(seed).normal(0, scale, (codebook_size, distinct.shape[1]))
    noise[: len(distinct)] = 0
    counts = sizes[source] / np.bincount(source)[source]
    return (distinct[source] + noise).astype(np.float32), counts
