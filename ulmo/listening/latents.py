"""Latents beside ids: what an encoder makes of sound before it is rounded to codes."""

from functools import lru_cache

from ulmo.arrays import Array
from ulmo.bundle.graph import encoder_graph
from ulmo.bundle.session import Session
from ulmo.bundle.unk import mark_unknown
from ulmo.encoding import Columns
from ulmo.tokenizer import Tokenizer


class LatentTokenizer(Tokenizer):
    """A tokenizer whose columns have latents, too. Its ids are those of the tokenizer.

    The bundle's graph gives ids and distances; the same weights make another one, in memory.
    """

    def _run(self, tiles: Array) -> Columns:
        ids, distances, latents = self._session.run(
            ["ids", "distances", "latents"], {"tiles": tiles}
        )
        if self._thresholds is not None:
            ids = mark_unknown(ids, distances, self._thresholds, self.vocabulary.unk)
        return Columns(ids, distances, latents)


@lru_cache(maxsize=1)
def with_latents(tokenizer: Tokenizer) -> LatentTokenizer:
    """The same tokenizer with latents."""
    graph = encoder_graph(tokenizer.manifest.model, tokenizer.bundle.weights(), latents=True)
    other = object.__new__(LatentTokenizer)
    other.__dict__.update(tokenizer.__dict__)
    other._session = Session(graph.to_bytes(), device=tokenizer._device)
    return other
