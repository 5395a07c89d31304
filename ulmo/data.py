"""Stored tokens as a dataset, to train a model of one's own in any framework.

a folder of tokens -> documents with <bos> and <eos> -> laid out -> packed to items of one length

NumPy alone is needed. PyTorch's DataLoader takes a TokenDataset as it is, and makes tensors of it.
"""

import copy
import operator
from collections.abc import Iterator
from hashlib import sha256
from numbers import Real
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids, Indices
from ulmo.config import UserError
from ulmo.config.arguments import one_of, whole_number
from ulmo.config.errors import clipped
from ulmo.formats.header import Grid
from ulmo.formats.read import read_corpus
from ulmo.storage.atomic import is_full
from ulmo.tokens import Tokens
from ulmo.vocabulary import Vocabulary

MOST_LENGTH = 1 << 20  # steps of an item
PARTS = ("train", "validation", "all")
_HIGHEST_SEED = (1 << 32) - 1


class Layout:
    """How the columns of one recording become the steps of a sequence, and back.

    A subclass sets `words` and implements `shape`, `_lay` and `columns`; `LAYOUTS` names it.

    bands: tokens in one column. vocabulary: of the tokenizer.
    """

    words: ClassVar[str]  # what the layout is, in one line

    def __init__(self, bands: int, vocabulary: Vocabulary) -> None:
        self.bands = bands
        self.vocabulary = vocabulary

    @property
    def size(self) -> int:
        """Number of ids: the height of an embedding table that holds every id of a step."""
        return self.vocabulary.size

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one step: () for one id, (bands,) for an id of each band."""
        return (self.bands,)

    def document(self, ids: Ids) -> Indices:
        """The steps (n, *shape) of a whole recording (time, band), between `<bos>` and `<eos>`."""
        inner = self._lay(ids.astype(np.int64))
        return np.concatenate([self.filled(1, "<bos>"), inner, self.filled(1, "<eos>")])

    def filled(self, count: int, special: str) -> Indices:
        """As many steps (count, *shape) of one special token."""
        return np.full((count, *self.shape), self.vocabulary.special(special), np.int64)

    def is_between(self, steps: Indices) -> NDArray[np.bool_]:
        """Which of the steps (n, *shape) are `<bos>`, `<eos>` or `<pad>` alone, (n,)."""
        marks = [self.filled(1, special) for special in ("<bos>", "<eos>", "<pad>")]
        axes = tuple(range(1, steps.ndim))
        between: NDArray[np.bool_] = np.any([(steps == mark).all(axes) for mark in marks], axis=0)
        return between

    def _lay(self, ids: Indices) -> Indices:
        """Steps (n, *shape) of columns (time, band)."""
        raise NotImplementedError

    def columns(self, steps: Indices) -> Indices:
        """The whole columns (time, band) in consecutive steps (n, *shape) of one recording.

        Columns of which a part lies outside the steps are left out. ValueError if no recording has
        such steps.
        """
        raise NotImplementedError


class Columns(Layout):
    """A step is a column: (bands,) ids of one moment, the lowest frequencies first."""

    words = "a step is a column of the grid"

    def _lay(self, ids: Indices) -> Indices:
        return ids

    def columns(self, steps: Indices) -> Indices:
        """The steps themselves."""
        return steps


class Flat(Layout):
    """A step is one token: time-major, and within a column the lowest frequencies first.

    Id i of band b becomes b * vocabulary.size + i: an id says which band it is of, as in AudioLM
    (Borsos et al. 2023), wherever a sequence begins. The special tokens between recordings keep
    their ids.
    """

    words = "a step is one token, with an offset for its band"

    @property
    def size(self) -> int:
        """The ids of every band."""
        return self.bands * self.vocabulary.size

    @property
    def shape(self) -> tuple[int, ...]:
        """One id."""
        return ()

    def _lay(self, ids: Indices) -> Indices:
        return (ids + np.arange(self.bands) * self.vocabulary.size).reshape(-1)

    def columns(self, steps: Indices) -> Indices:
        """Tokens before the first whole column and behind the last one are left out."""
        band, ids = np.divmod(steps, self.vocabulary.size)
        first = int(-band[0] % self.bands) if len(steps) else 0
        if (band != (np.arange(len(steps)) - first) % self.bands).any():
            raise ValueError("the bands do not follow each other")
        whole = max(len(steps) - first, 0) // self.bands * self.bands
        return ids[first : first + whole].reshape(-1, self.bands)


class Delay(Layout):
    """A step has an id of each band, band b of the column that is b columns earlier.

    The delay pattern of MusicGen (Copet et al. 2023). A model that guesses the ids of a step
    independently still knows the lower bands of a column when it guesses a higher one. Of 3 columns
    of 2 bands, with `<pad>` as P: a0 P, a1 b0, a2 b1, P b2.
    """

    words = "a step is a column, each band one column later than the band below it"

    def _lay(self, ids: Indices) -> Indices:
        steps = self.filled(len(ids) + self.bands - 1, "<pad>")
        for band in range(self.bands):
            steps[band : band + len(ids), band] = ids[:, band]
        return steps

    def columns(self, steps: Indices) -> Indices:
        """Columns whose highest band lies behind the last step are left out."""
        count = max(len(steps) - self.bands + 1, 0)
        bands = [steps[band : band + count, band] for band in range(self.bands)]
        return np.stack(bands, axis=1)


LAYOUTS: dict[str, type[Layout]] = {"flat": Flat, "delay": Delay, "columns": Columns}


class TokenDataset:
    """Items of one length, packed from the recordings of a folder: a map-style dataset.

    path: a folder that ulmo-tokenize wrote, or a file of tokens, as `ulmo.read_corpus` reads them:
        any format but labels. All tokens must be of one tokenizer and one grid.
    length: steps of an item, 2 to 1,048,576. 1024 by default: 10 seconds of the tokenizer that
        ships, if the layout is `flat`.
    layout: `flat`, `delay` or `columns`; see LAYOUTS.
    part: `train`, `validation`, or `all` recordings.
    fraction: about this share of the recordings is for validation, 0 up to, but not including, 1:
        at least one recording if it is above 0, but never all. All channels of a recording are in
        one part. Which part depends on its name and the seed alone, unless one part would be empty:
        recordings that are added later move no others.
    seed: of the split and of `shuffled`.
    overlap: steps that an item shares with the next, 0 up to, but not including, `length`. With 1,
        the default, `item[:-1]` predicts `item[1:]`, and each step is predicted once.
    partial: as for `ulmo.read_corpus`.

    An item is int64 (length,) in the layout `flat`, (length, bands) in the others, and is yours to
    change. Recordings follow each other, each between `<bos>` and `<eos>`; an item may hold the end
    of one and the beginning of others. The last item is filled up with `<pad>`. `<gap>` and `<unk>`
    stay.

    The folder is read once, and checked. Then the tokens lie in a temporary file without a name
    (2 bytes a token, or 4 for more than 65,536 ids; the environment's TMPDIR chooses the disk), and
    are mapped into memory: only one recording at a time is held, and whatever happens to the folder
    later does no harm. Forked workers share the map, others get a copy of it.

    UserError for what cannot be read, a folder of several grids, and a part without recordings.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        length: int = 1024,
        layout: str = "flat",
        part: str = "train",
        fraction: float = 0.1,
        seed: int = 0,
        overlap: int = 1,
        partial: bool = False,
    ) -> None:
        self.length = whole_number("length", length, least=2, most=MOST_LENGTH)
        self.overlap = whole_number("overlap", overlap, least=0, most=self.length - 1)
        self.seed = whole_number("seed", seed, least=0, most=_HIGHEST_SEED)
        chosen = one_of("part", part, PARTS)
        kind = LAYOUTS[one_of("layout", layout, LAYOUTS)]
        is_number = isinstance(fraction, Real) and not isinstance(fraction, bool)
        if not is_number or not 0 <= fraction < 1:
            raise UserError(f"fraction must be at least 0 and below 1, not {clipped(fraction)}")
        try:
            with TemporaryFile() as file:
                self._read(path, kind, file, partial)
        except OSError as error:
            if not is_full(error):
                raise
            raise UserError(
                "there is no room for a copy of the tokens: set TMPDIR to a folder with more"
            ) from None
        held_out = _held_out(set(self._names), fraction, self.seed)
        sides = {"train": [False], "validation": [True], "all": [False, True]}[chosen]
        places = [place for place, name in enumerate(self._names) if (name in held_out) in sides]
        if not places:
            raise UserError(
                f"{path} has no recordings for the part {chosen}: add recordings, choose a "
                "fraction above 0, or take part='all'"
            )
        self._pack(np.array(places, np.int64))
        self._order = np.arange(self._items)

    @property
    def vocabulary(self) -> Vocabulary:
        """The special tokens between recordings, and the ids of each band: `.pad`, `.bos`, ..."""
        return self.layout.vocabulary

    @property
    def size(self) -> int:
        """Number of ids: the height of a model's embedding table."""
        return self.layout.size

    @property
    def recordings(self) -> list[str]:
        """Names of the recordings of this part, in their order here; one for each channel."""
        return [self._names[place] for place in self._documents]

    def __len__(self) -> int:
        """Number of items."""
        return self._items

    def __getitem__(self, index: int) -> Indices:
        """Item (length,) or (length, bands). A negative index counts from the end."""
        place = operator.index(index)
        if not -self._items <= place < self._items:
            raise IndexError(f"there are {self._items} items, and none has the index {place}")
        first = int(self._order[place]) * (self.length - self.overlap)
        item = self.layout.filled(self.length, "<pad>")
        document, done = int(np.searchsorted(self._ends, first, "right")), 0
        while done < self.length and document < len(self._ends):
            left = int(self._ends[document]) - first - done  # steps of this recording
            begin = int(self._starts[self._documents[document] + 1]) - left
            taken = min(left, self.length - done)
            item[done : done + taken] = self._steps[begin : begin + taken]
            done, document = done + taken, document + 1
        return item

    def __iter__(self) -> Iterator[Indices]:
        """Every item once, in the order of their indices."""
        return (self[index] for index in range(len(self)))

    def shuffled(self, epoch: int = 0) -> "TokenDataset":
        """The same recordings in another order, packed anew, and the items in another order.

        The order depends on the seed and the epoch alone. The tokens are not copied.
        """
        epoch = whole_number("epoch", epoch, least=0, most=_HIGHEST_SEED)
        rng = np.random.default_rng([self.seed, 1, epoch])
        other = copy.copy(self)
        other._pack(rng.permutation(np.sort(self._documents)))
        other._order = rng.permutation(self._items)
        return other

    def to_tokens(self, steps: Any) -> list[Tokens]:
        """The inverse of the layout: Tokens of each recording, or part of one, in some steps.

        steps: whole numbers (n,) or (n, bands), such as an item, or what a model has written.

        A new recording begins at each `<bos>`, and ends at `<eos>` or `<pad>`. Columns that the
        steps cut are left out. The clock of each begins at 0, and distances are NaN:
        `tokenizer.decode` takes them. UserError for steps that no recording has.
        """
        given = np.asarray(steps)
        if given.ndim != 1 + len(self.layout.shape) or given.shape[1:] != self.layout.shape:
            shape = ", ".join(["n", *map(str, self.layout.shape)])
            raise UserError(f"steps must be whole numbers ({shape}), not {given.shape}")
        if given.dtype.kind not in "iu" or (
            given.size and not (given.min() >= 0 and given.max() < self.size)
        ):
            raise UserError(f"steps must be whole numbers from 0 to {self.size - 1}")
        given = given.astype(np.int64)
        between = self.layout.is_between(given)
        borders = np.flatnonzero(between[1:] != between[:-1]) + 1
        runs = zip([0, *borders], [*borders, len(given)], strict=True)
        found = []
        for first, last in runs:
            if first < last and not between[first]:
                try:
                    ids = self.layout.columns(given[first:last])
                    _check_meaning(ids, self.vocabulary)
                except ValueError as error:
                    raise UserError(f"steps {first} to {last - 1} are no tokens: {error}") from None
                if len(ids):
                    found.append(self._tokens(ids.astype(np.int32)))
        return found

    def _tokens(self, ids: Ids) -> Tokens:
        grid = self._grid
        return Tokens(
            ids=ids,
            distances=np.full(ids.shape, np.nan, np.float32),
            sample_rate=grid.sample_rate,
            hop=grid.hop,
            edges_hz=np.array(grid.edges_hz),
            frames=len(ids) * (grid.hop // grid.frame_hop),
            fingerprint=grid.fingerprint,
            unk_quantile=grid.unk_quantile,
        )

    def _read(self, path: str | Path, kind: type[Layout], file: BinaryIO, partial: bool) -> None:
        """Write the steps of all recordings to a file, one behind the other, and map it."""
        self._names: list[str] = []
        lengths: list[int] = []
        dtype: type[np.unsignedinteger[Any]] = np.uint16
        for header, ids in read_corpus(path, partial=partial):
            if not self._names:
                self._grid: Grid = header.grid
                self.layout = kind(header.bands, header.vocabulary)
                dtype = np.uint16 if self.size <= 1 << 16 else np.uint32
            if header.grid != self._grid:
                raise UserError(
                    f"the tokens of {header.recording} are of another tokenizer or grid than those "
                    f"of {self._names[0]}: give tokens of one"
                )
            try:
                _check_meaning(ids, self.vocabulary)
            except ValueError as error:
                raise UserError(f"{header.recording} is no recording's tokens: {error}") from None
            if len(ids):
                steps = self.layout.document(ids)
                file.write(steps.astype(dtype).tobytes())
                self._names.append(header.recording)
                lengths.append(len(steps))
        if not self._names:
            raise UserError(f"{path} holds no tokens to learn from: make them with ulmo-tokenize")
        file.flush()
        self._starts: Indices = np.cumsum([0, *lengths], dtype=np.int64)
        shape = (int(self._starts[-1]), *self.layout.shape)
        self._steps = np.memmap(file, dtype, "r", shape=shape)

    def _pack(self, documents: Indices) -> None:
        """Put recordings, by their places in the file, one behind the other."""
        self._documents = documents
        self._ends: Indices = np.cumsum((self._starts[1:] - self._starts[:-1])[documents])
        left = max(int(self._ends[-1]) - self.length, 0)
        self._items = 1 + -(-left // (self.length - self.overlap))


def _held_out(names: set[str], fraction: float, seed: int) -> set[str]:
    """Names of the recordings for validation: those whose hash is low."""
    if fraction == 0:
        return set()
    draws = {name: _draw(name, seed) for name in sorted(names)}
    below = {name for name, draw in draws.items() if draw < fraction}
    below = below or {min(draws, key=draws.__getitem__)}
    return below if below < names else below - {max(draws, key=draws.__getitem__)}


def _draw(name: str, seed: int) -> float:
    """A number from 0 to 1, evenly distributed, that depends on a name and the seed."""
    digest = sha256(f"{seed} {name}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / (1 << 64)


def _check_meaning(ids: NDArray[Any], vocabulary: Vocabulary) -> None:
    """Raise ValueError unless each id is a code, `<unk>` or `<gap>`."""
    wrong = (ids > vocabulary.unk) & (ids != vocabulary.gap)
    if wrong.any():
        shown = {number: token for token, number in vocabulary.specials().items()}
        number = int(ids[wrong][0])
        raise ValueError(f"{shown.get(number, f'id {number}')} stands for no sound")
