"""Boundaries between codes that copies of a sound seldom cross.

Two copies of a latent near a boundary between cells of k-means get different ids, and ids that
differ count as different sounds. So the boundaries are moved to where copies agree, while all codes
stay in use: regularised information maximisation (Krause, Perona and Gomes 2010; with copies as in
Hu et al. 2017, arXiv:1702.08720). With p(x) the softmax of (x kernel + bias) / temperature, this is
minimised over pairs of copies x and y:

    mean of -p(x).log p(y) and -p(y).log p(x)  -  _BALANCE * entropy of the mean of all p
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ulmo.arrays import Array

# Of trials on one encoder (docs/log.md), these had the fewest ABX errors of ids. A balance of 1
# empties codes, of 3 or 4 brings back less of the agreement.
_BALANCE = 2.0
_TEMPERATURE = 0.1  # standard deviations of the scores of a latent
_STEPS = 800
_PAIRS = 4096  # in each step
_LEARNING_RATE = 3e-3
_TINY = 1e-12


def nearest_boundaries(codebook: Any) -> tuple[Any, Any]:
    """Kernel (EMB, CB) and bias (CB,) whose largest score is that of the nearest code."""
    return 2.0 * ops.transpose(codebook), -ops.sum(ops.square(codebook), axis=-1)


def learn_boundaries(
    codebook: Array, first: Array, second: Array, seed: int
) -> tuple[Array, Array]:
    """Kernel (EMB, CB) and bias (CB,): the code of a latent has the largest latent.kernel + bias.

    They start from the cells of a codebook (CB, EMB). `first` and `second` (n, EMB) are latents of
    n > 0 pairs of copies. Scores have no unit: only their order counts.
    """
    kernel, bias = (np.asarray(each) for each in nearest_boundaries(codebook))
    # Some vectors at a time: the scores of all would take a gigabyte.
    parts = (first[begin : begin + _PAIRS] for begin in range(0, len(first), _PAIRS))
    spreads = np.concatenate([np.std(part @ kernel + bias, axis=1) for part in parts])
    spread = float(spreads.mean()) or 1.0
    learned = [tf.Variable(kernel / spread), tf.Variable(bias / spread)]
    optimizer = keras.optimizers.Adam(_LEARNING_RATE)

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = _loss(*((each @ learned[0] + learned[1]) / _TEMPERATURE for each in (x, y)))
        optimizer.apply(tape.gradient(loss, learned), learned)

    rng = np.random.default_rng([seed, 6])
    for _ in range(_STEPS):
        drawn = rng.integers(len(first), size=_PAIRS)
        step(tf.constant(first[drawn]), tf.constant(second[drawn]))
    return learned[0].numpy(), learned[1].numpy()


def _loss(x: Any, y: Any) -> Any:
    """The loss of the scores (n, CB) of copies."""
    p, q = tf.nn.softmax(x), tf.nn.softmax(y)
    crossed = p * tf.nn.log_softmax(y) + q * tf.nn.log_softmax(x)
    mean = (tf.reduce_mean(p, axis=0) + tf.reduce_mean(q, axis=0)) / 2
    entropy = -tf.reduce_sum(mean * tf.math.log(mean + _TINY))
    return -tf.reduce_mean(tf.reduce_sum(crossed, axis=-1)) / 2 - _BALANCE * entropy
