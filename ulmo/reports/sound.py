"""What `ulmo prep`, `tokenize` and `show` say about sound: how much comes of it, what is lost."""

from collections.abc import Callable, Mapping

from ulmo.config import ModelSettings, PrepSettings, printable
from ulmo.jobs.outcome import FlagCount
from ulmo.preprocessing.hearing import LOSSES, hear_more
from ulmo.reports.progress import counted


def flag_lines(counts: Mapping[str, FlagCount], *, time_expansion: float) -> list[str]:
    """A line for each flag that costs tokens their worth: which recordings, and what to do.

    time_expansion: with which they were heard; advice multiplies it.
    """
    lines = []
    for flag, advice in _ADVICE.items():
        if flag in counts:
            count = counts[flag]
            name, one = printable(count.example), count.recordings == 1
            who = name if one else f"{counted(count.recordings, 'recording')} (such as {name})"
            text = f"{LOSSES.get(flag, '')}{advice(count, time_expansion)}".format(
                is_="it is" if one else "they are",
                its="its" if one else "their",
                it="it" if one else "them",
                bandwidth_hz=count.bandwidth_hz or count.sample_rate / 2,
            )
            lines.append(f"{flag:<10}  {who}: {text}")
    return lines


def _unscaled(count: FlagCount, _: float) -> str:
    peak = 10 ** ((count.peak_db or 0) / 20)
    return (
        f"far beyond full scale (peak {peak:.2g}): if {{is_}} in micropascals, give "
        "--full-scale VALUE"
    )


def _above(count: FlagCount, time_expansion: float) -> str:
    heard = count.bandwidth_hz or count.sample_rate / 2
    slowed = count.slowed == count.recordings
    expand = hear_more(count.sample_rate, heard, time_expansion, slowed=slowed)
    return f": {expand}, or train a tokenizer with a higher --sample-rate (ulmo-prep)"


# What follows the words of LOSSES, if the flag has some.
_ADVICE: dict[str, Callable[[FlagCount, float], str]] = {
    "silent": lambda *_: "silence: all samples of a channel are equal",
    "unscaled": _unscaled,
    "cancelled": lambda *_: ": use --channels 0 or --channels each",
    "below_floor": lambda *_: (
        ": amplify {it}, or train a tokenizer with a lower --level-least-db (ulmo-prep)"
    ),
    "above_bandwidth": _above,
    "time_not_linear": lambda *_: (
        "time was or may have been left out in {it}, and it is not known where: later times may "
        "be too early"
    ),
    "time_expanded": lambda *_: (
        "slowed down, as GUANO TE says: times and hertz are those of the slow sound; write the "
        "true sample rate into the header"
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
