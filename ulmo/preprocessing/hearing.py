"""What tiles and tokens hear of a recording, measured as its samples stream by.

    samples of all channels -> pick -> one channel -> resample -> samples -> power -> levels
            what the mean of them loses      what lies above the new rate     the loudest frame

No result depends on where the blocks are cut.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import PrepSettings
from ulmo.preprocessing.frontends import FrontEnd
from ulmo.preprocessing.reading.audio import RESAMPLING, pick_channel, resample
from ulmo.preprocessing.reading.quality import in_order
from ulmo.tokens import band_edges

MUCH_ABOVE = 1 / 3  # share of the power: more is `above_bandwidth`
MUCH_LOST = 0.1  # share of the power: from here on it is `cancelled`
# A window is lost if its mean has less than this share of the power that the mean of uncorrelated
# channels has. 10 dB: the means of real microphones stay far above it.
LOST = 0.1
WINDOW = 4096  # frames: 93 ms at 44.1 kHz
NARROW = 0.9  # of half the rate: the power above a front end that ends lower is measured
ROUNDING = 1e-12  # share of a window's squares: less energy is rounding of a constant
SHARE_DIGITS = 4
_ONES = np.ones(WINDOW, np.float32)
_USUAL_EXPANSION = 10  # of bat workers

# What is lost, for every command and for `encode`. {is_} and {its} name the recordings.
LOSSES = {
    "cancelled": "{its} channels cancel when averaged",
    "below_floor": "{is_} fainter than the floor of the settings, so tokens fade to silence",
    "above_bandwidth": "over a third of {its} power lies above {bandwidth_hz:g} Hz, which is not "
    "heard",
}
TRUE_RATE_FIRST = "write the true sample rate into the header first"


def wider_expansion(rate: int, bandwidth_hz: float, time_expansion: float) -> float:
    """A time expansion with which more of a recording is heard: all of it, or the usual one."""
    needed = math.ceil(min(rate / 2 / bandwidth_hz, _USUAL_EXPANSION))
    return time_expansion * max(needed, 2)


def hear_more(rate: int, bandwidth_hz: float, time_expansion: float, *, slowed: bool) -> str:
    """What the user of a command can do to hear more of a recording, in words.

    slowed: see `Hearing.losses`.
    """
    if slowed:
        return TRUE_RATE_FIRST
    return f"use --time-expansion {wider_expansion(rate, bandwidth_hz, time_expansion):g}"


class Hearing:
    """Measures what becomes tiles or tokens of a recording: all its runs together.

    A run is the sound of one channel, or of their mean, as far as it has no gap in time. `pick`,
    `resample` and `power` pass on what they are given, and measure it.
    """

    def __init__(self, frontend: FrontEnd, settings: PrepSettings) -> None:
        self._settings = settings
        self._rate = settings.true_rate  # of the recording
        self._top = float(band_edges(frontend.frequencies, 1)[-1])
        self._mixed = self._lost = 0.0  # energy of channels that were averaged, and lost of it
        self._before = self._heard = 0.0  # energy at the recording's rate, and what is heard of it
        self._loudest = 0.0  # power of a frame, or with `floor_db` of a cell
        self._frames = 0
        self._squares, self._samples = 0.0, 0  # of the channel that is read, after resampling

    def pick(self, blocks: Iterable[Array], channel: int | None) -> Iterator[Array]:
        """As `pick_channel`; measures how much of the channels their mean loses."""
        self._squares, self._samples = 0.0, 0
        windows, channels = _Windows(), 1
        for block in blocks:
            (picked,) = pick_channel([block], channel)
            channels = block.shape[1]
            if channel is None and channels > 1:
                self._compare(windows.add(block, picked), channels)
            yield picked
        self._compare(windows.rest(), channels)

    def _compare(self, windows: Iterable[tuple[float, float]], channels: int) -> None:
        """Add windows: the energy of all channels, and of their mean."""
        for total, mean in windows:
            self._mixed += total
            if mean * channels**2 < LOST * total:
                self._lost += total

    def resample(self, blocks: Iterable[Array], rate: int, new_rate: int) -> Iterator[Array]:
        """As `resample`; measures the energy before and after."""
        self._rate = rate
        before, after, below = _Energy(rate), _Energy(new_rate), _Energy(2 * self._top)
        narrow = None
        if self._is_narrow and rate > 2 * self._top:
            narrow = soxr.ResampleStream(new_rate, 2 * self._top, 1, **RESAMPLING)
        if rate == new_rate:
            before = after
        for block in resample(blocks if before is after else before.of(blocks), rate, new_rate):
            after.add(block)
            if narrow:
                below.add(narrow.resample_chunk(block))
            yield block
        if narrow:
            below.add(narrow.resample_chunk(np.empty(0, np.float32), last=True))
        self._before += before.value
        self._heard += below.value if narrow else after.value
        self._squares += after.squares
        self._samples += after.samples

    def power(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Blocks (M, n) of power as they are; finds the loudest frame or cell."""
        by_frame = self._settings.normalization == "level"
        for block in blocks:
            if block.size:
                powers = block.sum(axis=0, dtype=np.float64) if by_frame else block
                self._loudest = max(self._loudest, float(powers.max()))
                self._frames += block.shape[1]
            yield block

    @property
    def level(self) -> float:
        """Root mean square of the samples of the last channel, after resampling."""
        return math.sqrt(self._squares / max(self._samples, 1))

    @property
    def _is_narrow(self) -> bool:
        """Whether the front end ends far below half the rate."""
        return self._top < NARROW * self._settings.true_rate / 2

    @property
    def bandwidth_hz(self) -> float:
        """The highest frequency that is heard, in hertz."""
        top = self._top if self._is_narrow else math.inf
        return min(self._rate / 2, self._settings.true_rate / 2, top)

    @property
    def share_above(self) -> float | None:
        """Share of the power above `bandwidth_hz`, without a constant; None for silence."""
        if not self._before:
            return None
        if self.bandwidth_hz == self._rate / 2:
            return 0.0
        return round(max(1 - self._heard / self._before, 0.0), SHARE_DIGITS)

    def losses(self, *, slowed: bool = False) -> dict[str, str]:
        """What `encode` warns of: each flag of a sound that is not silent, and what to pass.

        slowed: the file plays slower than the sound was, so it needs its true rate first.
        """
        factor = wider_expansion(self._rate, self.bandwidth_hz, self._settings.time_expansion)
        expand = TRUE_RATE_FIRST if slowed else f"pass time_expansion={factor:g}"
        advice = {
            "cancelled": "pass channel=0",
            "below_floor": "is its full scale right? Pass 16-bit integers as int16",
            "above_bandwidth": f"{expand}, or train a tokenizer with a higher sample_rate",
        }
        words = {"is_": "the sound is", "its": "the sound's", "bandwidth_hz": self.bandwidth_hz}
        found = [flag for flag in self.flags if flag != "below_floor" or self._loudest > 0]
        return {flag: f"{LOSSES[flag].format(**words)}: {advice[flag]}" for flag in found}

    @property
    def flags(self) -> tuple[str, ...]:
        """What is lost: `cancelled`, `below_floor`, `above_bandwidth`; see quality.FLAGS."""
        settings = self._settings
        in_level = settings.normalization == "level"
        floor = settings.level_least_db if in_level else settings.floor_db
        faint = self._frames > 0 and self._loudest < 10 ** (floor / 10)
        found = {
            "cancelled": self._lost > 0 and self._lost >= MUCH_LOST * self._mixed,
            "below_floor": faint and self._lost <= self._mixed / 2,  # else `cancelled` explains it
            "above_bandwidth": (self.share_above or 0.0) > MUCH_ABOVE,
        }
        return in_order(flag for flag, is_found in found.items() if is_found)

    def facts(self, recording: dict[str, Any]) -> dict[str, Any]:
        """The `facts` of a recording, with what is heard of it."""
        flags = in_order(recording["flags"], self.flags)
        if "silent" in flags:  # which says more
            flags = tuple(flag for flag in flags if flag != "below_floor")
        heard = {"bandwidth_hz": self.bandwidth_hz, "share_above": self.share_above}
        return recording | heard | {"flags": flags}


class _Energy:
    """Energy of samples (power times seconds) without their mean.

    Sums are of differences from a value near the mean, so that float32 resolves faint sound on a
    large constant.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._near: np.float32 | None = None
        self.samples = 0
        self._sum = self._squares = 0.0

    def of(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Pass on blocks (n,), and add them."""
        for block in blocks:
            self.add(block)
            yield block

    def add(self, block: Array) -> None:
        """Add samples (n,)."""
        if not len(block):
            return
        if self._near is None:
            self._near = np.float32(block.mean(dtype=np.float64))
        moved = block - self._near
        self.samples += len(moved)
        whole = len(moved) // WINDOW * WINDOW
        for part in (moved[:whole].reshape(-1, WINDOW), moved[None, whole:]):
            # Products of short vectors are quick, exact enough, and never spread over threads.
            self._sum += float(np.vecdot(part, _ONES[: part.shape[1]]).sum(dtype=np.float64))
            self._squares += float(np.vecdot(part, part).sum(dtype=np.float64))

    @property
    def value(self) -> float:
        """The energy, re a constant of 1 for a second."""
        if not self.samples:
            return 0.0
        return max(self._squares - self._sum**2 / self.samples, 0.0) / self._rate

    @property
    def squares(self) -> float:
        """Sum of the squares, constant included."""
        near = float(self._near or 0)
        return max(self._squares + near * (2 * self._sum + self.samples * near), 0.0)


class _Windows:
    """Cuts channels and their mean into windows, and finds the energy of both in each.

    The energy of channels is the sum of all. Constants are no energy.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._frames = 0  # of the window that is not complete
        self._squares = self._mean_squares = self._mean_sum = 0.0
        self._sums: NDArray[np.float64] = np.zeros(1)  # of each channel

    def add(self, block: Array, mean: Array) -> Iterator[tuple[float, float]]:
        """Add samples (n, channels) and their mean (n,); yield windows that are complete."""
        start = 0
        while start < len(block):
            stop = min(start + WINDOW - self._frames, len(block))
            channels = np.array(block[start:stop].T, np.float64, order="C")
            middle = mean[start:stop].astype(np.float64)
            # One by one, because BLAS would spread more than 10,000 over threads.
            self._squares += sum(float(np.vdot(one, one)) for one in channels)
            self._sums = self._sums + channels.sum(axis=1)
            self._mean_squares += float(np.vdot(middle, middle))
            self._mean_sum += float(middle.sum())
            self._frames += stop - start
            start = stop
            if self._frames == WINDOW:
                yield from self.rest()

    def rest(self) -> Iterator[tuple[float, float]]:
        """Yield the last window, if it has samples."""
        if self._frames:
            constant = float(self._sums @ self._sums) / self._frames
            energy = self._squares - constant
            if energy > ROUNDING * self._squares:
                yield energy, self._mean_squares - self._mean_sum**2 / self._frames
        self._begin()
