"""What `ulmo prep`, `tokenize` and `show` say about sound: how much comes of it, what is lost."""

import math
from collections.abc import Callable, Mapping

from ulmo.config import ModelSettings, PrepSettings, printable
from ulmo.jobs.outcome import FlagCount

USUAL_EXPANSION = 10  # of bat workers


def flag_lines(counts: Mapping[str, FlagCount], *, time_expansion: float = 1.0) -> list[str]:
    """A line for each flag that costs tokens their worth: how many recordings, and what to do."""
    lines = []
    for flag, advice in _ADVICE.items():
        if flag in counts:
            count = counts[flag]
            plural = "recordings" if count.recordings > 1 else "recording"
            example = f"such as {printable(count.example)}" if count.recordings > 1 else ""
            example = example or printable(count.example)
            text = advice(count, time_expansion)
            lines.append(f"{flag:<10}  {count.recordings} {plural} ({example}): {text}")
    return lines


def _unscaled(count: FlagCount, _: float) -> str:
    peak = 10 ** ((count.peak_db or 0) / 20)
    return (
        f"far beyond full scale (peak {peak:.2g}): if they are in micropascals, give "
        "--full-scale VALUE"
    )


def _above(count: FlagCount, time_expansion: float) -> str:
    heard = count.bandwidth_hz or count.sample_rate / 2
    needed = math.ceil(count.sample_rate / 2 / heard)
    factor = time_expansion * max(min(needed, USUAL_EXPANSION), 2)
    return (
        f"over a third of their power lies above {heard:g} Hz, which is not heard: "
        f"--time-expansion {factor:g}, or a higher sample rate of ulmo-prep"
    )


_ADVICE: dict[str, Callable[[FlagCount, float], str]] = {
    "silent": lambda *_: "they hold silence: all samples of a channel are equal",
    "unscaled": _unscaled,
    "cancelled": lambda *_: "their channels cancel when averaged: --channels 0, or each",
    "below_floor": lambda *_: (
        "fainter than the floor of the settings, so they fade to silence: amplify them, or train "
        "with a lower --level-least-db"
    ),
    "above_bandwidth": _above,
    "time_not_linear": lambda *_: (
        "time was left out in them, and it is not known where: later times are too early"
    ),
    "time_expanded": lambda *_: (
        "slowed down, as their GUANO TE says: times and hertz are those of the slow sound; write "
        "the true sample rate into their headers"
    ),
}


def tiles_line(settings: PrepSettings, *, views: int = 1) -> str:
    """How many tiles come of a channel, how large they are, and how many tokens they become."""
    seconds = settings.tile_hop * settings.frame_s
    size = 4 * settings.tile_size**2 * views * 3600 / seconds
    model = ModelSettings(
        tile_size=settings.tile_size,
        frequency_stride=min(16, settings.tile_size),
        time_stride=min(16, settings.tile_size),
    )
    return (
        f"rate        {_number(60 * views / seconds)} tiles a minute, {_bytes(size)} an hour; "
        "by default "
        f"{_number(tokens_per_second(settings, model))} tokens a second"
        f"{_heard(settings)}"
    )


def tokens_line(settings: PrepSettings, model: ModelSettings) -> str:
    """How many tokens come of a channel, and how large they are as .npy."""
    tokens = tokens_per_second(settings, model)
    size = _bytes(4 * 3600 * tokens)
    return f"rate        {_number(tokens)} tokens a second, {size} an hour{_heard(settings)}"


def tokens_per_second(settings: PrepSettings, model: ModelSettings) -> float:
    """Tokens of a second of one channel."""
    return model.bands / (settings.frame_s * model.time_stride)


def _heard(settings: PrepSettings) -> str:
    expansion = settings.time_expansion
    expanded = f", time expansion {expansion:g}" if expansion != 1 else ""
    return f"; up to {settings.true_rate / 2:g} Hz{expanded}"


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _bytes(size: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor / 10:
            return f"{_number(size / factor)} {unit}"
    return f"{_number(size / 1e3)} kB"
