"""What a job over a folder has made so far; rows are in its journal, and few of them in memory."""

from collections.abc import Iterable, Iterator, Sequence

from ulmo.formats.folder import TokensLedger
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.tokenize.earlier import Earlier
from ulmo.pipelines.tokenize.job import Result
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.storage.names import path_of
from ulmo.storage.packed import Anew, Index, Packed


class Made:
    """Results of the recordings of a plan, as they come, and then in the order of the plan."""

    def __init__(self, ledger: TokensLedger, plan: Sequence[Planned]) -> None:
        self._ledger = ledger
        self._plan = plan
        self.keys = Index()  # of recordings that an earlier job had done
        self._reused = Packed[Result]()
        # By the key of the plan: results of which the row with that key does not say all.
        self._others: dict[str, Result] = {}

    def reuse(self, planned: Planned, result: Result) -> None:
        """Note what an earlier job made; to be called in the order of the plan."""
        self.keys[planned.key] = 0
        self._reused.append(result)

    def add(self, planned: Planned, result: Result) -> None:
        """Note what this job made, once the ledger has its row."""
        if result.earlier or result.outcome.key != planned.key:
            self._others[planned.key] = result

    def reused(self) -> Iterator[tuple[Planned, Result]]:
        """What earlier jobs made."""
        kept = (planned for planned in self._plan if planned.key in self.keys)
        return zip(kept, self._reused, strict=True)

    def kept_keys(self) -> Iterator[str]:
        """The keys of recordings that an earlier job had done, in the order of the plan."""
        return (planned.key for planned in self._plan if planned.key in self.keys)

    def finish(self, earlier: Earlier) -> Sequence[Result]:
        """Complete the ledger, once all recordings are done; returns the result of each."""
        results = Packed(self._in_order())
        unnamed = earlier.unnamed(Anew(lambda: _rows(results)))
        rows = Anew(lambda: _rows(results, unnamed))
        earlier.remove_replaced(rows)
        self._ledger.finish(rows)
        return results

    def _in_order(self) -> Iterator[Result]:
        reused = iter(self._reused)
        for planned in self._plan:
            if planned.key in self.keys:
                yield next(reused)
            elif (other := self._others.get(planned.key)) is not None:
                yield other
            else:
                (row,) = self._ledger.done(planned.key)
                outputs = [planned.folder / path_of(name) for name in row.outputs]
                yield Result(planned.source, outputs, row)


def _rows(results: Iterable[Result], more: Iterable[Tokenized] = ()) -> Iterator[Tokenized]:
    """The rows of results, or those of an earlier job that stay in their place, and some more."""
    keys = Index()
    for result in results:
        for row in result.earlier or (result.outcome,):
            if row.key not in keys:
                keys[row.key] = 0
                yield row
    yield from (row for row in more if row.key not in keys)
