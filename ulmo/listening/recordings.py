"""The recordings of a job, with their stored tokens if there are some, heard one by one."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ulmo.config import UserError
from ulmo.formats.base import MOST_NAME
from ulmo.formats.folder import folder_ledger
from ulmo.formats.places import MANIFEST
from ulmo.formats.read import read_corpus
from ulmo.jobs.inputs import Found, find_sources, sizes_of
from ulmo.jobs.progress import Progress
from ulmo.jobs.spread import BY_FILES, Spread
from ulmo.listening.listen import Given, Job, Listened, Wanted, listen
from ulmo.listening.worker_tokenizer import for_jobs
from ulmo.storage.names import portable
from ulmo.storage.remote_path import source_argument
from ulmo.tokenizer import Tokenizer, TokenizerRef, load_tokenizer

T = TypeVar("T")
Begin = Callable[[int], Progress]  # called with the bytes of all recordings


def path_arguments(name: str, value: Any) -> list[Path]:
    """One path or several, as a Python function is given them."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [source_argument(name, each) for each in value]
    return [source_argument(name, value)]


def tokenizer_of(value: Any, *, unk_quantile: float | None = None) -> Tokenizer:
    """A tokenizer, that in a folder, or the one that ships with ulmo (None)."""
    if isinstance(value, Tokenizer):
        return value
    return load_tokenizer(value, unk_quantile=unk_quantile)


class Sources(NamedTuple):
    """What a job hears, and how."""

    tokenizer: Tokenizer
    found: Sequence[Found]
    wanted: Wanted
    tokens: Path | None = None  # take ids from here
    spread: Spread = BY_FILES

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        paths: Sequence[Path],
        wanted: Wanted,
        *,
        tokens: Path | None = None,
        spread: Spread = BY_FILES,
        left_out: Counter[str] | None = None,
    ) -> "Sources":
        """The recordings at some paths, and below folders. UserError for what cannot be heard."""
        for path in paths:
            if (path / MANIFEST).is_file():
                raise UserError(
                    f"{path} is a folder of tokens: name the recordings, and the tokens with "
                    f"--tokens {path}"
                )
        found = find_sources(paths, left_out=left_out)
        return cls(tokenizer, found, wanted, tokens, spread)

    @property
    def size(self) -> int:
        """Bytes of all recordings."""
        return sum(sizes_of(each.source for each in self.found))

    def jobs(self) -> Iterator[Job]:
        """Each recording, or each of its channels whose tokens are stored.

        UserError for tokens of another tokenizer, or of a timeline.
        """
        if self.tokens is None:
            for each in self.found:
                yield Job(each, refused=_long_name(each))
            return
        named: dict[str, Found] = {}
        for each in self.found:
            other = named.setdefault(portable(each.name), each)
            if other is not each:
                raise UserError(
                    f"{other.source} and {each.source} have one name below their folders: "
                    "name one folder, or one after the other"
                )
        own = self.tokenizer.manifest.fingerprint
        files, left = _files_of(self.tokens), dict(named)
        for stored in read_corpus(self.tokens):
            header = stored.header
            if header.fingerprint != own:
                raise UserError(
                    f"the tokens of {header.recording} are of another tokenizer "
                    f"({header.fingerprint[:8]} there, {own[:8]} here): name theirs with "
                    "--tokenizer"
                )
            if header.time_expansion != self.tokenizer.prep.time_expansion:
                raise UserError(
                    f"the tokens of {header.recording} were made with --time-expansion "
                    f"{header.time_expansion:g}: give it here, too"
                )
            if {each.recording for each in header.segments} - {header.recording}:
                raise UserError(
                    f"{self.tokens} holds a timeline of several recordings: name tokens of each"
                )
            found = named.get(header.recording)
            if found is not None:
                left.pop(header.recording, None)
                given = Given(header, stored.ids, files.get(header.recording))
                yield Job(found, given, _long_name(found))
        for found in left.values():
            detail = f"{self.tokens} has no tokens of it: tokenize it"
            yield Job(found, refused=("no_tokens", detail))

    def each(self, use: Callable[[Listened], T], begin: Begin) -> Iterator[T]:
        """What `use` makes of each recording, in their order; it runs where the recording is read.

        Memory holds one recording for each worker.
        """
        tokenizer, ready = for_jobs(self.tokenizer, self.spread, len(self.found))
        job = partial(_used, tokenizer, self.wanted, use)
        inputs = [each.source for each in self.found]
        with self.spread.open(
            len(inputs), begin(self.size), inputs=inputs, ready=ready
        ) as executor:
            yield from executor.in_order(job, self.jobs())


def _used(
    tokenizer: Tokenizer | TokenizerRef,
    wanted: Wanted,
    use: Callable[[Listened], T],
    job: Job,
) -> T:
    return use(listen(tokenizer, wanted, job))


def _files_of(tokens: Path) -> dict[str, tuple[int, int]]:
    """Size and checksum of each recording when it was tokenized; empty if there is no ledger."""
    if not (tokens / MANIFEST).is_file():
        return {}
    rows = folder_ledger(tokens).rows()
    return {row.path: (row.bytes, row.ends_crc32c) for row in rows}


def _long_name(found: Found) -> tuple[str, str] | None:
    """Why a recording with a very long name is refused: a few MB of it would become gigabytes."""
    if (length := len(portable(found.name))) <= MOST_NAME:
        return None
    detail = f"its name has {length} characters, and the table, which repeats it, takes {MOST_NAME}"
    return "unwritable", f"{detail}: name its folder instead"
