"""Trains of impulses: planted ones with exact times, and real labels, beside peers in one run.

    python -m benchmarks.impulses AUDIO_ROOT [--scenes N] [--snr DB ...]

The peers are given more than ulmo: peaks of the envelope take the threshold that is best for each
recording (an oracle), and the autocorrelation of the envelope is told where each train begins and
ends. The tables are put into docs/impulses.md. AUDIO_ROOT has fly_song and esc10 with impulses.csv,
hydrophone_pypam and maad_forest.
"""

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from benchmarks.click_scenes import (
    NOISES,
    RATE,
    Planted,
    Scene,
    joined_rain,
    load,
    plant,
    shaped_noise,
)
from benchmarks.report import ROOT, machine, parser_of, publish, table
from ulmo.arrays import Array
from ulmo.sequence.impulses import Train, find_impulses

PAGE = ROOT / "docs" / "impulses.md"
DROPS = "rain with drops"
SCENE_S = 180
TRAINS = 6  # of a scene
FIRST_SEED = 1000  # the method was made with seeds below: those of the tables are others
CLOSE_S = {"planted": 0.005, "fly": 0.005, "ticks": 0.010}
QUANTILES = np.array([50, 70, 80, 85, 90, 93, 95, 97, 98, 99, 99.5, 99.8, 99.9]) / 100
DENSE = "20190122T132554a-14.wav"  # every pulse of it has a label
SPARSE = "20161207T102314_ch1.wav"  # some have

Real = NDArray[np.float64]


class Tally(NamedTuple):
    """What was found of what is there."""

    hits: int
    found: int
    true: int

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(*(one + more for one, more in zip(self, other, strict=True)))

    @property
    def f(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.hits / max(self.found + self.true, 1)

    @property
    def precision(self) -> float:
        """Share of what was found that is there."""
        return self.hits / max(self.found, 1)

    @property
    def recall(self) -> float:
        """Share of what is there that was found."""
        return self.hits / max(self.true, 1)


def tally(found: Real, true: Real, close_s: float) -> Tally:
    """Pairs one to one, in order of time, at most `close_s` apart."""
    found, true = np.sort(found), np.sort(true)
    hits = one = other = 0
    while one < len(found) and other < len(true):
        apart = found[one] - true[other]
        hits += abs(apart) <= close_s
        one += apart <= close_s
        other += apart >= -close_s
    return Tally(hits, len(found), len(true))


def times_of(trains: Sequence[Train]) -> Real:
    """The moments of all trains, in order."""
    return np.sort(np.concatenate([train.times for train in trains] or [np.zeros(0)]))


def envelope_of(samples: Array, rate: int, low_hz: float) -> Real:
    """The envelope above a frequency, smooth over about 2 ms."""
    high_pass = signal.butter(4, low_hz, "high", fs=rate, output="sos")
    envelope = np.abs(signal.hilbert(signal.sosfiltfilt(high_pass, samples.astype(np.float64))))
    smooth = signal.butter(2, min(200, 0.2 * rate), fs=rate, output="sos")
    smoothed: Real = signal.sosfiltfilt(smooth, envelope)
    return smoothed


def best_peaks(
    samples: Array, rate: int, true: Real, close_s: float, *, low_hz: float, apart_s: float
) -> Tally:
    """Peaks of the envelope over the threshold at which F is best: given the truth."""
    envelope = envelope_of(samples, rate, low_hz)
    at, _ = signal.find_peaks(envelope, distance=max(round(apart_s * rate), 1))
    heights = envelope[at]
    steps = np.unique(np.quantile(envelope, QUANTILES))
    every = [tally(at[heights >= step] / rate, true, close_s) for step in steps]
    return max(every, key=lambda one: one.f)


def autocorrelated_period(samples: Array, train: Planted) -> float:
    """The period of a train of known beginning and end: the highest peak of the envelope's."""
    first, end = (round(moment * RATE) for moment in (train.times[0], train.times[-1] + 0.01))
    envelope = envelope_of(samples[max(first - 100, 0) : end + 100], RATE, 500)[::4]
    width = min(round(0.25 * RATE / 4), len(envelope))
    envelope = envelope - np.convolve(envelope, np.ones(width) / width, "same")
    power = np.abs(np.fft.rfft(envelope, 2 * len(envelope))) ** 2
    similar = np.fft.irfft(power)[: len(envelope) // 2 + 1]
    least = round(0.004 * RATE / 4)
    peaks, _ = signal.find_peaks(similar[least:])
    if not len(peaks):
        return 0.0
    best = peaks[similar[least:][peaks].argmax()] + least
    return float(best * 4 / RATE)


def train_for(planted: Planted, trains: Sequence[Train]) -> Train | None:
    """The found train with most of a planted one's clicks."""
    close = min(CLOSE_S["planted"], planted.period_s / 4)
    hits = [tally(train.times, planted.times, close).hits for train in trains]
    return trains[int(np.argmax(hits))] if max(hits, default=0) > 1 else None


def right(period: float | None, true: float, share: float) -> bool:
    """Whether a period is within a share of the true one."""
    return period is not None and period > 0 and abs(np.log(period / true)) <= np.log1p(share)


class Row(NamedTuple):
    """Scenes of one noise and level."""

    ours: Tally
    peaks: Tally
    exact: list[bool]  # periods within 1 %
    octave: list[bool]  # within a third, so neither doubled nor halved
    given: list[bool]  # of the autocorrelation, within 1 %
    trains: int
    cpu_s: float
    hours: float


def noise_of(kind: str, root: Path, seed: int, seconds: float = SCENE_S) -> Array:
    """Noise of a kind, that never repeats."""
    rng = np.random.default_rng(seed)
    folder, pattern = NOISES["rain" if kind == DROPS else kind]
    files = sorted((root / folder).glob(pattern))
    if kind == DROPS:
        return joined_rain(files, rng)
    return shaped_noise(round(seconds * RATE), files, rng)


def planted_row(kind: str, snr_db: float, root: Path, scenes: int) -> Row:
    """All scenes of a noise and level."""
    row = Row(Tally(0, 0, 0), Tally(0, 0, 0), [], [], [], 0, 0.0, 0.0)
    for seed in range(FIRST_SEED, FIRST_SEED + scenes):
        noise = noise_of(kind, root, seed)
        scene = plant(noise, snr_db, np.random.default_rng(seed), trains=TRAINS)
        row = _with(row, scene)
    return row


def _with(row: Row, scene: Scene) -> Row:
    begun = time.process_time()
    trains = find_impulses(scene.samples, RATE)
    cpu_s = time.process_time() - begun
    true, close = np.concatenate([train.times for train in scene.trains]), CLOSE_S["planted"]
    peaks = best_peaks(scene.samples, RATE, true, close, low_hz=500, apart_s=0.004)
    matches = [(train_for(planted, trains), planted) for planted in scene.trains]
    periods = [(train.period_s if train else None, planted) for train, planted in matches]
    return Row(
        row.ours.plus(tally(times_of(trains), true, close)),
        row.peaks.plus(peaks),
        [*row.exact, *(right(period, planted.period_s, 0.01) for period, planted in periods)],
        [*row.octave, *(right(period, planted.period_s, 1 / 3) for period, planted in periods)],
        [
            *row.given,
            *(
                right(autocorrelated_period(scene.samples, planted), planted.period_s, 0.01)
                for planted in scene.trains
            ),
        ],
        row.trains + len(trains),
        row.cpu_s + cpu_s,
        row.hours + len(scene.samples) / RATE / 3600,
    )


def planted_table(root: Path, scenes: int, levels: Sequence[float]) -> str:
    """Clicks and periods of planted trains, by noise and level."""
    clicks, periods = [], []
    for kind in (*NOISES, DROPS):
        for snr_db in levels:
            row = planted_row(kind, snr_db, root, scenes)
            name = [kind, f"{snr_db:g}"]
            ours = f"**{row.ours.f:.3f}**"
            shares = f"{row.ours.precision:.3f}", f"{row.ours.recall:.3f}"
            clicks.append([*name, ours, *shares, f"{row.peaks.f:.3f}"])
            told = (f"{100 * np.mean(part):.0f} %" for part in (row.exact, row.octave, row.given))
            speed = f"{row.cpu_s / row.hours:.0f}"
            periods.append([*name, *told, speed])
    first = ["noise", "SNR, dB"]
    return "\n\n".join(
        [
            table([*first, "F", "precision", "recall", "F of peaks, best threshold"], clicks),
            table(
                [*first, "within 1 %", "right octave", "autocorrelation, span given", "CPU s / h"],
                periods,
            ),
        ]
    )


def noise_table(root: Path, minutes: float) -> str:
    """Trains found in noise alone, by what was asked for."""
    rows = []
    for kind in (*NOISES, DROPS):
        sounds = [noise_of(kind, root, FIRST_SEED + 50, 60 * minutes)]
        hours = sum(len(sound) for sound in sounds) / RATE / 3600
        found = [
            sum(len(find_impulses(sound, RATE, false_per_hour=asked)) for sound in sounds)
            for asked in (1.0, 10.0)
        ]
        rows.append([kind, f"{60 * hours:.0f}", *(str(count) for count in found)])
    return table(["noise", "minutes", "trains, 1 an hour asked", "10 an hour asked"], rows)


def labels_of(folder: Path) -> dict[str, Real]:
    """Times of each file's labels; those of several people for one pulse count once."""
    times: dict[str, list[float]] = {}
    with (folder / "impulses.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            times.setdefault(line["file"], []).append(float(line["time_s"]))
    merged = {name: np.sort(some) for name, some in times.items()}
    return {
        name: some[np.concatenate([[True], np.diff(some) > 0.003])] for name, some in merged.items()
    }


def real_rows(folder: Path, names: Sequence[str], close_s: float, low_hz: float) -> list[Tally]:
    """ulmo, then the best peaks, over files together; last the best peaks file by file."""
    labels = labels_of(folder)
    ours = peaks = Tally(0, 0, 0)
    for name in names:
        samples, rate = load(folder / name, None)
        ours = ours.plus(tally(times_of(find_impulses(samples, rate)), labels[name], close_s))
        apart = 0.015 if low_hz < 500 else 0.05
        best = best_peaks(samples, rate, labels[name], close_s, low_hz=low_hz, apart_s=apart)
        peaks = peaks.plus(best)
    return [ours, peaks]


def fly_halves(folder: Path) -> list[tuple[str, Tally, Tally | None]]:
    """The dense recording, and its two halves in time by the labels; the sparse one's recall."""
    labels = labels_of(folder)
    samples, rate = load(folder / DENSE, None)
    true, close = labels[DENSE], CLOSE_S["fly"]
    found = times_of(find_impulses(samples, rate))
    middle = float(true[len(true) // 2]) - 0.1
    rows: list[tuple[str, Tally, Tally | None]] = []
    parts = [("whole", 0, 1e9), ("first half of labels", 0, middle), ("second half", middle, 1e9)]
    for name, low, high in parts:
        some = [times[(times >= low) & (times < high)] for times in (found, true)]
        piece = samples[round(low * rate) : round(min(high, len(samples) / rate) * rate)]
        best = best_peaks(piece, rate, some[1] - low, close, low_hz=120, apart_s=0.015)
        rows.append((f"fly, dense, {name}", tally(*some, close), best))
    samples, rate = load(folder / SPARSE, None)
    found, true = times_of(find_impulses(samples, rate)), labels[SPARSE]
    rows.append(("fly, sparse: recall alone", tally(found, true, close), None))
    return rows


def real_table(root: Path) -> str:
    """Real labels: of flies and clocks."""
    rows = fly_halves(root / "fly_song")
    names = sorted(labels_of(root / "esc10"))
    parts: list[tuple[str, Sequence[str]]] = [
        ("half tuned on", names[::2]),
        ("other half", names[1::2]),
    ]
    for name, some in parts:
        ours, peaks = real_rows(root / "esc10", some, CLOSE_S["ticks"], 1000)
        rows.append((f"clock ticks, {name}", ours, peaks))
    lines = []
    for name, ours, best in rows:
        f = f"**{ours.f:.3f}**" if best else "-"
        shares = [f"{ours.precision:.3f}" if best else "-", f"{ours.recall:.3f}"]
        lines.append([name, str(ours.true), f, *shares, f"{best.f:.3f}" if best else "-"])
    header = ["labels", "count", "F", "precision", "recall", "F of peaks, best threshold"]
    return table(header, lines)


def main() -> None:
    """Measure and publish all tables."""
    parser = parser_of(__doc__)
    parser.add_argument("audio_root", type=Path)
    parser.add_argument("--scenes", type=int, default=4, help="of each noise and level")
    parser.add_argument("--snr", type=float, nargs="+", default=[20, 10, 5, 0], metavar="DB")
    parser.add_argument("--minutes", type=float, default=12, help="of noise alone, of each kind")
    options = parser.parse_args()
    parts: dict[str, Callable[[], str]] = {
        "real labels": lambda: real_table(options.audio_root),
        "noise alone": lambda: noise_table(options.audio_root, options.minutes),
        "planted trains": lambda: (
            machine("ulmo", "numpy", "scipy")
            + "\n\n"
            + planted_table(options.audio_root, options.scenes, options.snr)
        ),
    }
    for name, make in parts.items():
        publish(name, make(), PAGE)


if __name__ == "__main__":
    main()
