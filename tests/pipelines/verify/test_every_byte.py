"""Every byte of every small file that ulmo writes: changed or cut off, it is noticed.

Of the beginning, the middle and the end of a file, SAMPLE bytes each are changed, the same ones at
each run, and some are shown to `ulmo verify`, which calls the same readers. With ULMO_ALL=1,
as `make fuzz-parsers` sets it: two changes of each byte, every length, and all to `ulmo verify`.
"""

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.bounded import ALL
from tests.outputs import PREP, SMALL, make_audio, make_run, make_tiles, make_tokens
from tests.pipelines.tokenizing import tokenize
from ulmo.bundle.bundle import read_bundle
from ulmo.config import NewerError, UserError
from ulmo.formats import FORMATS
from ulmo.formats.folder import folder_ledger
from ulmo.formats.read import read_corpus
from ulmo.jobs.outcome import Prepared
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import AGAIN, TilesManifest, TileStore, read_manifest
from ulmo.storage.checkpoint_files import damaged_files
from ulmo.storage.ledger import Ledger
from ulmo.storage.manifest import LedgerFiles
from ulmo.storage.run_manifest import read_run

STRIDE = 1 if ALL else 97  # of the damages, one in so many is shown to `verify`
SAMPLE, CUTS = 40, 25  # bytes that are changed in each region, and lengths that are cut
EDGE = 128  # bytes of the regions at both ends: a header, a footer, a checksum


def places_in(content):
    """All places, or the same sample of each region at each run."""
    size = len(content)
    if ALL:
        return [*range(size)], [*range(size)]
    draw = random.Random(size)
    edge = min(EDGE, size // 2)
    regions = (range(edge), range(edge, size - edge), range(size - edge, size))
    places = {place for each in regions for place in draw.sample(each, min(SAMPLE, len(each)))}
    lengths = {0, size - 1, *draw.sample(range(size), min(CUTS, size))}
    return sorted({0, size - 1} | places), sorted(lengths)


def damages(content):
    """Bytes with one bit turned over and, if ALL, with all; and shorter lengths."""
    places, lengths = places_in(content)
    for place in places:
        for mask in (1 << place % 8, 0xFF)[: 2 if ALL else 1]:
            changed = bytearray(content)
            changed[place] ^= mask
            yield f"byte {place} ^ {mask}", bytes(changed)
    for length in lengths:
        yield f"cut to {length}", content[:length]


def is_told(place):
    """A fault; or that a newer ulmo wrote it, where it is the version that was changed."""
    try:
        return bool(verify(place).faults)
    except NewerError:
        return True


def assert_all_are_told(path, read, place):
    """`read` raises UserError for each damage of a file; `verify` of the place finds a fault."""
    content = path.read_bytes()
    read()
    assert verify(place).faults == []
    silent = []
    for number, (what, changed) in enumerate(damages(content)):
        path.write_bytes(changed)
        try:
            read()
        except UserError as error:
            if not str(error).isprintable():
                silent.append(f"{what}, in one line")
        else:
            silent.append(what)
        if number % STRIDE == 0 and not is_told(place):
            silent.append(f"{what}, of verify")
    path.write_bytes(content)
    assert silent == [], silent[:9]
    assert number >= (3 * len(content) - 1 if ALL else min(len(content), 2 * SAMPLE))


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """A folder in memory, where there is one: a disk takes a millisecond a file."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path_factory.mktemp("memory")
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def tiles(memory):
    return make_tiles(memory / "tiles" / "tiles")


@pytest.fixture(scope="module")
def run(memory, make_bundle):
    return make_run(memory / "run", make_bundle)


@pytest.fixture(scope="module")
def bundle(memory, make_bundle):
    return make_bundle(memory / "tokenizer", PREP, **SMALL)


@pytest.fixture(scope="module")
def tokens(memory, tokenizer_of):
    audio = make_audio(memory / "recordings", lengths=(900,))
    tokenize(tokenizer_of(), audio, out=memory / "tokens")
    return memory / "tokens"


def read_tiles(tiles):
    store = TileStore(tiles)
    store.read(range(len(store)))


def read_recordings(tiles):
    files = LedgerFiles.inside(tiles, "prep")
    Ledger(files, TilesManifest, Prepared, remedy=AGAIN, anew=AGAIN).check_rows()


def read_checkpoints(run):
    for place in (run / "checkpoints", run / "checkpoints" / "best"):
        if damaged := damaged_files(place, 5):
            raise UserError(str(damaged[0]))


def read_rows(tokens):
    folder_ledger(tokens).check_rows()


READERS = {
    ("tiles", "tiles/000000-0000.npy"): read_tiles,
    ("tiles", "prep.json"): read_manifest,
    ("tiles", "tiles.parquet"): TileStore,
    ("tiles", "recordings.parquet"): read_recordings,
    ("bundle", "tokenizer.json"): read_bundle,
    ("bundle", "model.safetensors"): read_bundle,
    ("bundle", "encoder.onnx"): read_bundle,
    ("tokens", "recordings.parquet"): read_rows,
    ("tokens", "tokenize.json"): read_rows,
    ("run", "train.json"): read_run,
    ("run", "checkpoints/ckpt-5.index"): read_checkpoints,
    ("run", "checkpoints/ckpt-5.data-00000-of-00001"): read_checkpoints,
    ("run", "checkpoints/ckpt-5.json"): read_checkpoints,
    ("run", "checkpoints/best/ckpt-5.json"): read_checkpoints,
}


@pytest.mark.parametrize(("kind", "name"), READERS)
def test_a_file_of_an_output(kind, name, request):
    place = request.getfixturevalue(kind)
    assert_all_are_told(place / name, lambda: READERS[kind, name](place), place)


@pytest.mark.parametrize("name", FORMATS)
def test_tokens_and_their_header(name, memory):
    path = make_tokens(memory / name, name, columns=5 if FORMATS[name].readable else 2)

    def read():
        """Labels are not read back: only verify reads them."""
        if FORMATS[name].readable:
            list(read_corpus(path))
        elif faults := verify(path).faults:
            raise UserError(faults[0].detail)

    for each in sorted(path.parent.iterdir()):
        assert_all_are_told(each, read, path.parent)


def test_the_test_itself(tmp_path, tiles):
    """What is not read at all is not told."""
    copy = shutil.copytree(tiles, tmp_path / "tiles")
    (copy / "notes.txt").write_text("x")
    with pytest.raises(AssertionError, match="byte 0"):
        assert_all_are_told(copy / "notes.txt", lambda: None, copy)
