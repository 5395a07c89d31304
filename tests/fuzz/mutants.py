"""Mutants of files: the n-th of a seed is the same on every machine with the same seeds."""

import random
from collections.abc import Callable, Sequence

from tests.preprocessing.reading.edited import with_crc

INTERESTING = (0, 1, 2, 7, 8, 36, 43, 44, 45, 255, 256, 1 << 15, (1 << 16) - 1, 1 << 16)
INTERESTING += ((1 << 31) - 1, 1 << 31, (1 << 32) - 8, (1 << 32) - 1)
HEADER = 160
"""Most mutations hit so many first bytes: what lies behind them is samples."""
MOST = 1 << 15
NAMES = [b"RIFF", b"RIFX", b"RF64", b"WAVE", b"fmt ", b"data", b"ds64", b"LIST", b"fact", b"guan"]
NAMES += [b"bext", b"FORM", b"AIFF", b"AIFC", b"COMM", b"SSND", b"caff", b"desc", b".snd"]
NAMES += [b"fLaC", b"OggS", b"ID3\x03"]


def place(rng: random.Random, size: int) -> int:
    """Somewhere in so many bytes, mostly near their beginning."""
    return rng.randrange(min(size, HEADER) if rng.random() < 0.8 else size) if size else 0


def stretch(rng: random.Random, size: int) -> slice:
    start = place(rng, size)
    return slice(start, start + rng.choice((1, 2, 4, 8, 16, 64, 512, 4096)))


def flip(rng: random.Random, content: bytearray, _: bytes) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        if content:
            content[place(rng, len(content))] ^= 1 << rng.randrange(8)


def number(rng: random.Random, content: bytearray, _: bytes) -> None:
    """A size, a rate, a count: 2, 4 or 8 bytes, either way round."""
    width = rng.choice((2, 4, 4, 4, 8))
    value = rng.choice(INTERESTING) if rng.random() < 0.7 else rng.getrandbits(32)
    order = rng.choice(("little", "little", "big"))
    at = place(rng, len(content)) & ~1
    content[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, order)


def name(rng: random.Random, content: bytearray, _: bytes) -> None:
    at = place(rng, len(content)) & ~1
    content[at : at + 4] = rng.choice(NAMES)


def truncate(rng: random.Random, content: bytearray, _: bytes) -> None:
    del content[rng.randrange(len(content) + 1) :]


def extend(rng: random.Random, content: bytearray, _: bytes) -> None:
    size = rng.choice((1, 3, 44, 512, 5000))
    content += bytes(size) if rng.random() < 0.5 else rng.randbytes(size)


def repeat(rng: random.Random, content: bytearray, _: bytes) -> None:
    part = content[stretch(rng, len(content))]
    at = place(rng, len(content))
    content[at:at] = part * rng.choice((1, 1, 2, 50))


def cut(rng: random.Random, content: bytearray, _: bytes) -> None:
    del content[stretch(rng, len(content))]


def exchange(rng: random.Random, content: bytearray, _: bytes) -> None:
    """Two stretches change places: chunks in another order."""
    one, other = stretch(rng, len(content)), stretch(rng, len(content))
    content[one], content[other] = content[other], content[one]


def splice(rng: random.Random, content: bytearray, other: bytes) -> None:
    at = place(rng, len(content))
    content[at:] = other[place(rng, len(other)) :]


def insert(rng: random.Random, content: bytearray, other: bytes) -> None:
    at = place(rng, len(content))
    content[at:at] = other[stretch(rng, len(other))]


TAGS = (b"ID3\x04\0\0\0\0\x01\0" + bytes(128), b"TAG" + bytes(125), bytes(600))


def join(rng: random.Random, content: bytearray, other: bytes) -> None:
    """Two files in one, as cat joins them."""
    content += other


def behead(rng: random.Random, content: bytearray, _: bytes) -> None:
    """The front is gone: a piece of a stream."""
    del content[: rng.randrange(len(content) + 1)]


def tag_before(rng: random.Random, content: bytearray, _: bytes) -> None:
    content[:0] = rng.choice(TAGS)


def tag_behind(rng: random.Random, content: bytearray, _: bytes) -> None:
    content += rng.choice(TAGS)


Mutator = Callable[[random.Random, bytearray, bytes], None]
MUTATORS: tuple[Mutator, ...] = (
    *(flip, number, number, name, truncate),
    *(extend, repeat, cut, exchange, splice, insert),
    *(join, behead, tag_before, tag_behind),
)


def mutant(seeds: Sequence[bytes], seed: int, index: int) -> bytes:
    """The mutant of a number: one to four mutations of one of the seeds."""
    rng = random.Random(f"{seed}/{index}")
    content = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        rng.choice(MUTATORS)(rng, content, rng.choice(seeds))
    found = bytes(content[:MOST])
    return with_checksums(found) if b"OggS" in found and rng.random() < 0.5 else found


def with_checksums(content: bytes) -> bytes:
    """Bytes in which each page of Ogg has its checksum: a decoder sees no other pages."""
    begin, *pages = content.split(b"OggS")
    found = begin
    for page in pages:
        page = b"OggS" + page
        size = 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 27 else len(page) + 1
        found += with_crc(page[:size]) + page[size:] if size <= len(page) else page
    return found
