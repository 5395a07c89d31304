"""Where a codebook starts: latents of training tiles."""

import numpy as np

from ulmo.arrays import Array, Indices
from ulmo.dataset import batches, shuffled
from ulmo.models.draws import Draws
from ulmo.models.objectives.two_views import Background
from ulmo.models.vqvae import VQVAE
from ulmo.pipelines.train.compared import compared
from ulmo.pipelines.train.feed import Feed

_TILES = 256  # 50 000 vectors at the defaults
_EPOCH = 2**31 - 1  # the shuffle that chooses them is that of no real epoch
_COPIED_TILES = 1024  # 130 000 pairs of vectors in crops of 128 frames, 56 x 4
_COPIED_FIRST = 1 << 42  # number of the first batch of these
# White noise 8 to 25 dB below a sound lies in about this range below its loudest cell.
_NOISE = Background(noise_share=1.0, noise_db=(25.0, 50.0))


def start_codebook(model: VQVAE, feed: Feed, rows: Indices, *, one_in: int) -> None:
    """Start the codebook from latents of training rows, with part of the silence left out.

    A quantizer that compares copies also gets the latents of copies. `one_in`: with n, the codebook
    learns from one tile in n of a batch.
    """
    latents = _latents(model, feed, rows)
    if not len(latents):
        return
    copies = _copied_latents(model, feed, rows) if model.quantizer.compares_copies else None
    settings = feed.settings
    columns = settings.columns_of(feed.loudness.model)
    tokens = settings.batch_size * columns * feed.loudness.model.bands
    model.quantizer.begin(latents, tokens // one_in, copies)


def _latents(model: VQVAE, feed: Feed, rows: Indices) -> Array:
    """(n, EMB): those of sound, and a share of those of silence."""
    settings, store = feed.settings, feed.loudness.store
    rng = np.random.default_rng([settings.seed, 2])
    order = shuffled(rows, seed=settings.seed, epoch=_EPOCH)[:_TILES]
    pooled = []
    for some in batches(order, settings.batch_size):
        tiles, valid = store.read(some), store.valid_frames[some]
        latents = np.asarray(model.encode(tiles, valid))
        sound = feed.loudness.sound(tiles, some)
        kept = sound | (rng.random(sound.shape) < settings.silence_weight)
        inside = np.arange(latents.shape[1]) * feed.loudness.model.time_stride < valid[:, None]
        pooled.append(latents[kept & inside[:, :, None]])
    return np.concatenate(pooled)


def _copied_latents(model: VQVAE, feed: Feed, rows: Indices) -> Array:
    """(2, pairs, EMB): latents of training tiles and of their copies, without silence.

    A tile has two copies: the other view that training compares it with, and itself in noise.
    """
    found = [np.empty((2, 0, feed.loudness.model.embedding_dim), np.float32)]
    for pair in compared(
        *(feed, rows, feed.settings.seed),
        most=_COPIED_TILES,
        first=_COPIED_FIRST,
        time_stride=feed.loudness.model.time_stride,
    ):
        noisy = _NOISE(pair.tiles, Draws(feed.settings.seed, _COPIED_FIRST + len(found)))
        sides = (
            (pair.tiles, pair.valid_frames),
            (pair.copies, pair.copied_frames),
            (noisy, pair.valid_frames),
        )
        here, there, blurred = (np.asarray(model.encode(*side)) for side in sides)
        for copy in (pair.met(there), blurred):
            found.append(np.stack([here[pair.kept], copy[pair.kept]]))
    return np.concatenate(found, axis=1)
