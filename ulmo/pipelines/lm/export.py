"""From a trained network to a token model: usual ids, the first mixture, and its figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids
from ulmo.bundle.card import Corpus
from ulmo.bundle.token_model import (
    TokenFigures,
    TokenModelBundle,
    TokenModelCard,
    TokenTraining,
    build_token_model,
)
from ulmo.config import JobError, UserError
from ulmo.config.token_model import GATES
from ulmo.pipelines.lm.run_settings import TokenRun
from ulmo.pipelines.lm.streams import TokenCorpus, TokenSplit
from ulmo.preprocessing.threads import one_thread
from ulmo.sequence.mixture import Mixture
from ulmo.sequence.scoring import Scorer, ScoringParts
from ulmo.tokenizer import Tokenizer

_MOST_TOKENS = 100_000  # of held-out recordings that the mixture is fitted to and measured on
_FIRST = (0.8, 0.05, 0.05, 0.05, 0.05)  # weights of the guesses before they are fitted


class Trained(NamedTuple):
    """A network that was trained, and on what."""

    run: TokenRun
    corpus: TokenCorpus
    split: TokenSplit
    weights: dict[str, Array]
    steps: int
    epochs: int


def export_token_model(folder: Path, tokenizer: Tokenizer, trained: Trained) -> TokenModelBundle:
    """Write the token model of a run, and return it.

    The weights of the mixture are those that held-out recordings lead to, one after the other; the
    figures are measured with them on the same recordings, in another half each. Without held-out
    recordings, training ones are taken, and the card has no figures.
    """
    run = trained.run
    codes = run.model.codebook_size
    tensors = {
        **trained.weights,
        "usual": _usual(trained, codes),
        "scores": scores_of(tokenizer),
        "mixture": np.tile(np.array(_FIRST, np.float32), (GATES, run.model.bands, 1)),
    }
    first = _built(folder, run, tensors, TokenModelCard())
    places = trained.split.validation or trained.split.train
    some = _some([trained.corpus.ids[place] for place in places])
    fitted = _fit_mixture(ScoringParts.of(run.model, first.tensors()), some[::2] or some)
    tensors["mixture"] = fitted.astype(np.float32)
    parts = ScoringParts.of(run.model, _built(folder, run, tensors, TokenModelCard()).tensors())
    figures = None
    if trained.split.validation and len(some) > 1:
        figures = _figures(parts, some[1::2])
    bundle = _built(folder, run, tensors, _card(trained, figures))
    bundle.write()
    return bundle


def scores_of(tokenizer: Tokenizer) -> Array:
    """The substitution scores of a tokenizer; UserError if it has none."""
    scores = tokenizer.bundle.scores()
    if scores is None:
        raise UserError(
            f"{tokenizer.bundle.place} has no substitution scores, by which copies are weighed: "
            "train a tokenizer anew"
        )
    return scores


def _built(
    folder: Path, run: TokenRun, tensors: dict[str, Array], card: TokenModelCard
) -> TokenModelBundle:
    try:
        return build_token_model(folder, run.model, run.tokenizer, tensors, card)
    except ValueError as error:
        raise JobError(f"{folder}: {error}") from None


def _usual(trained: Trained, codes: int) -> Array:
    """(bands, CB): log2 of how often each id is in the training tokens, one more of each."""
    counts = np.ones((trained.run.model.bands, codes + 1))
    for place in trained.split.train:
        known = np.minimum(trained.corpus.ids[place], codes)
        for band in range(len(counts)):
            counts[band] += np.bincount(known[:, band], minlength=codes + 1)
    counts = counts[:, :codes]
    usual: Array = np.log2(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
    return usual


def _some(recordings: Sequence[NDArray[np.uint16]]) -> list[Ids]:
    """Recordings, evenly spread, of at most _MOST_TOKENS tokens or a little more."""
    total = sum(each.size for each in recordings)
    step = max(-(-total // _MOST_TOKENS), 1)
    return [each.astype(np.int32) for each in recordings[::step]]


def _fit_mixture(parts: ScoringParts, recordings: Sequence[Ids]) -> NDArray[np.float64]:
    """Mean of the weights after each recording of the second half, (GATES, bands, guesses)."""
    mixture, found = Mixture(parts.weights), []
    for _ in _scored(parts, recordings, mixture):
        found.append(mixture.weights.copy())
    mean: NDArray[np.float64] = np.mean(found[len(found) // 2 :], axis=0)
    return mean


def _scored(
    parts: ScoringParts, recordings: Sequence[Ids], mixture: Mixture | None = None
) -> Iterator[tuple[float, float, int]]:
    """Bits, bits of the network alone and number of tokens of each recording."""
    for ids in recordings:
        scorer = Scorer(parts, short=False, mixture=mixture)
        with one_thread():
            scores = [scorer.push(ids), scorer.finish()]
        bits = sum(float(np.nansum(each.bits)) for each in scores)
        yield bits, scorer.network_bits, scorer.tokens


def _figures(parts: ScoringParts, recordings: Sequence[Ids]) -> TokenFigures:
    found = [*_scored(parts, recordings)]
    bits, network, tokens = (sum(each) for each in zip(*found, strict=True))
    counted = max(int(tokens), 1)
    return TokenFigures(
        recordings=len(found),
        tokens=int(tokens),
        bits=round(bits / counted, 4),
        bits_network=round(network / counted, 4),
    )


def _card(trained: Trained, figures: TokenFigures | None) -> TokenModelCard:
    """The card of a run; names and licences of its corpora are unknown here."""
    run, corpus = trained.run, trained.corpus
    return TokenModelCard(
        corpora=(corpus_of(corpus, trained.split.train),),
        training=TokenTraining(
            steps=trained.steps,
            epochs=trained.epochs,
            tokens=sum(corpus.ids[place].size for place in trained.split.train),
            tokens_fingerprint=run.tokens_fingerprint,
            seed=run.train.seed,
        ),
        figures=figures,
        versions=run.versions,
    )


def corpus_of(corpus: TokenCorpus, places: Sequence[int]) -> Corpus:
    """Number of recordings at some places of a corpus, and their hours over all channels."""
    columns = sum(len(corpus.ids[place]) for place in places)
    hours = float(f"{columns * corpus.hop_seconds / 3600:.4g}")
    names = {corpus.recordings[place] for place in places}
    return Corpus(name=None, licence=None, recordings=len(names), hours=hours)
