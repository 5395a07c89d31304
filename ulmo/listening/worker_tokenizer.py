"""The tokenizer of a job: the object itself, or a reference for each worker to open once."""

from collections.abc import Callable
from functools import lru_cache, partial

from ulmo.jobs.spread import Spread
from ulmo.tokenizer import Tokenizer, TokenizerRef


@lru_cache(maxsize=1)
def _opened(ref: TokenizerRef) -> Tokenizer:
    return ref.open()


def opened(tokenizer: Tokenizer | TokenizerRef) -> Tokenizer:
    """The tokenizer that a job was given; a worker keeps it between recordings."""
    return _opened(tokenizer) if isinstance(tokenizer, TokenizerRef) else tokenizer


def for_jobs(
    tokenizer: Tokenizer, spread: Spread, recordings: int
) -> tuple[Tokenizer | TokenizerRef, Callable[[], object] | None]:
    """What jobs are given of a tokenizer, and what makes a worker ready for them, if it must be.

    A worker opens the bundle by its fingerprint. JobError if it finds another bundle there.
    """
    if (threads := spread.threads(recordings)) is None:
        return tokenizer, None
    ref = tokenizer.ref._replace(threads=tokenizer.ref.threads or threads)
    return ref, partial(_opened, ref)
