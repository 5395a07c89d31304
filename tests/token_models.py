"""Small token models of random weights, and tokens for them."""

import numpy as np

from ulmo.bundle.token_model import TokenModelCard, build_token_model
from ulmo.bundle.token_weights import tensor_shapes
from ulmo.config.token_model import CHUNK, GATES, GUESSES, TokenModelSettings
from ulmo.sequence.scoring import ScoringParts
from ulmo.token_model import TokenModel
from ulmo.vocabulary import Vocabulary

TINY = TokenModelSettings(
    bands=2, codebook_size=8, embedding_dim=4, width=8, hidden=12, blocks=2, heads=2
)
VOCABULARY = Vocabulary(TINY.codebook_size)
COLUMNS = 3 * CHUNK + 21
TOKENIZER = "ab" * 32


def random_tensors(settings=TINY, seed=0):
    """Tensors of a model that guesses sharply, so that each input can be seen in its output."""
    rng = np.random.default_rng(seed)
    tensors = {
        name: rng.normal(0, 0.7, shape).astype(np.float32)
        for name, shape in tensor_shapes(settings).items()
    }
    for name, values in tensors.items():
        if name.endswith("norm"):
            values[:] = 1 + values / 4
    tensors["usual"] = np.log2(rng.dirichlet(np.ones(settings.codebook_size), settings.bands))
    scores = rng.normal(0, 1, tensors["scores"].shape)
    tensors["scores"] = (scores + scores.transpose(0, 2, 1)) / 2
    tensors["mixture"] = np.tile([0.4, 0.2, 0.1, 0.2, 0.2], (GATES, settings.bands, 1))
    assert tensors["mixture"].shape[2] == GUESSES
    return {name: np.asarray(values, np.float32) for name, values in tensors.items()}


def parts_of(settings=TINY, seed=0):
    return ScoringParts.of(settings, random_tensors(settings, seed))


def bundle_at(folder, settings=TINY, tokenizer=TOKENIZER, seed=0):
    """A token model that is not written yet."""
    tensors = random_tensors(settings, seed)
    return build_token_model(folder, settings, tokenizer, tensors, TokenModelCard(notes="random"))


def model_of(folder, settings=TINY, tokenizer=TOKENIZER):
    return TokenModel(bundle_at(folder, settings, tokenizer))


def tokens(columns=COLUMNS, *, seed=0, bands=2, codes=8, gaps=True):
    """Ids with phrases that come back, and perhaps a gap and an `<unk>`."""
    rng = np.random.default_rng(seed)
    phrase = rng.integers(0, codes, (17, bands))
    rows = [phrase if rng.random() < 0.5 else rng.integers(0, codes, (9, bands)) for _ in range(99)]
    ids = np.concatenate(rows)[:columns].astype(np.int32)
    if gaps and columns > CHUNK:
        ids[CHUNK // 2 : CHUNK // 2 + 3] = Vocabulary(codes).gap
        ids[columns - 10, bands - 1] = Vocabulary(codes).unk
    return ids
