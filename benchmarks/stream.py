"""Tokenizer.stream on small blocks: computing time from a block to its tokens, and sound needed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.asked import ASKED
from benchmarks.material import sound
from benchmarks.peers import THREADS
from benchmarks.report import table
from ulmo.tokenizer import Tokenizer, load_tokenizer

RATE = 16_000
BLOCK = 320  # samples: 20 ms


class Streamed(NamedTuple):
    """Seconds that a stream took."""

    blocks: NDArray[np.float64]  # computing from each block until the next one is asked for
    calls: NDArray[np.float64]  # computing from a block until its tokens are returned
    sound: NDArray[np.float64]  # of sound, from a column's first sample to the end of its block


class _Stopwatch:
    """Yields blocks, and times the computing on each, without the time of the caller."""

    def __init__(self, samples: NDArray[np.float32], *, live: bool) -> None:
        self._samples, self._live = samples, live
        self._begun = 0.0
        self.spent: list[float] = []
        self.ended = False

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        first = time.perf_counter()
        for start in range(0, len(self._samples), BLOCK):
            if self._live:
                time.sleep(max(first + (start + BLOCK) / RATE - time.perf_counter(), 0))
            self.spent.append(0.0)
            self.go_on()
            yield self._samples[start : start + BLOCK]
            self.stop()
        self.ended = True

    def go_on(self) -> None:
        self._begun = time.perf_counter()

    def stop(self) -> float:
        """Seconds of computing since the block was yielded."""
        self.spent[-1] += time.perf_counter() - self._begun
        return self.spent[-1]


def stream(tokenizer: Tokenizer, samples: NDArray[np.float32], *, live: bool) -> Streamed:
    """Feed samples block by block, at once or, if `live`, in real time.

    Tokens after the last block are left out: at the end no further sound is needed.
    """
    watch = _Stopwatch(samples, live=live)
    calls, needed = [], []
    for tokens in tokenizer.stream(watch.blocks(), sample_rate=RATE):
        if watch.ended:
            break
        calls.append(watch.stop())
        columns = tokens.start + tokens.hop * np.arange(len(tokens.ids))
        needed += list((len(watch.spent) * BLOCK - columns) / RATE)
        watch.go_on()
    return Streamed(np.array(watch.spent), np.array(calls), np.array(needed))


def measure_stream(bundle: Path, *, seconds: float, live_seconds: float) -> str:
    """A table of milliseconds: fed at once, and in real time."""
    tokenizer = load_tokenizer(bundle, threads=THREADS)
    made = sound(max(seconds, live_seconds, 5), RATE, rng=np.random.default_rng(0))
    samples = made.astype(np.float32)
    stream(tokenizer, samples[: 5 * RATE], live=False)
    rows = []
    for title, length, live in (("at once", seconds, False), ("live", live_seconds, True)):
        found = stream(tokenizer, samples[: round(length * RATE)], live=live)
        calls = 1000 * found.calls
        figures = [calls.mean(), np.percentile(calls, 95), calls.max(), 1000 * found.blocks.mean()]
        rows.append(
            [
                f"{title}, {length:g} s",
                f"**{figures[0]:.1f} ms**",
                *(f"{figure:.1f} ms" for figure in figures[1:]),
                f"{found.sound.mean():.3f} s, at most {found.sound.max():.3f}",
            ]
        )
    manifest = tokenizer.manifest
    stride = manifest.prep.hop_length * manifest.model.time_stride / manifest.prep.sample_rate
    header = [
        *("fed", "mean to tokens", "95 %", "worst", "mean of all blocks"),
        "sound needed from a column's first sample on",
    ]
    return (
        "**Stream.** Computing time in `Tokenizer.stream` from a block of 20 ms to its tokens "
        f"(a column every {stride:g} s), and of all blocks, including those without tokens. "
        f"Asked, live: {ASKED['stream']} on average. "
        f"`latency_seconds` is {tokenizer.latency_seconds:.3f} s, of which {stride:g} s are the "
        "column itself.\n\n" + table(header, rows)
    )
