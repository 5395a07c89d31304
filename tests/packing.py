"""Tokens to pack: small recordings in one file, and what was packed of them."""

import numpy as np

from tests.formats.streams import header_of, save
from ulmo.vocabulary import Vocabulary

CODES = 16
VOCABULARY = Vocabulary(CODES)
BOS, EOS, PAD, GAP = VOCABULARY.bos, VOCABULARY.eos, VOCABULARY.pad, VOCABULARY.gap


def ids_of(columns, bands=3, *, seed=0):
    """Codes, with some `<unk>` and whole columns of `<gap>`."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, CODES + 1, (columns, bands)).astype(np.int32)
    ids[rng.random(columns) < 0.2] = GAP
    return ids


def corpus(path, lengths, bands=3, name="csv", **values):
    """A file of recordings of these lengths, called 0.wav, 1.wav, ...; their ids."""
    every = [ids_of(length, bands, seed=place) for place, length in enumerate(lengths)]
    recordings = [
        (header_of(ids, recording=f"{place}.wav", **values), ids) for place, ids in enumerate(every)
    ]
    save(path, name, recordings)
    return every


def joined(dataset):
    """The steps of all items, as they were before they were cut, with `<pad>` at the end."""
    first, *others = list(dataset)
    return np.concatenate([first, *(item[dataset.overlap :] for item in others)])
