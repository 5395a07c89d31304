"""Kinds of calls and events: each draws a call, which takes then utter with small changes.

A family is a function of a Draw that returns a Call. What it draws is the call's; what a take draws
is new each time. Frequencies are in Hz and follow the take's pitch; instants are in seconds of the
call.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_samples.make import Floats
from recipes.corpora.draw import Draw
from recipes.corpora.synthesis import (
    SAMPLE_RATE,
    VOWELS,
    Take,
    add,
    band,
    damped,
    fade,
    harmonics,
    noise,
    phase_of,
    resonances,
    slope,
    smooth,
)


class Call(NamedTuple):
    """A call, before anyone utters it."""

    seconds: float
    sound: Callable[[Take], Floats]  # (frames,) as long as the take's times, of any level


def whistle(draw: Draw) -> Call:
    """A tone that glides, as of birds and dolphins, with up to two overtones."""
    seconds, low = draw.log_uniform(0.15, 1.2), draw.log_uniform(500, 3500)
    hz = [low * draw.log_uniform(1, 2.2) for _ in range(draw.integer(2, 6))]
    levels = [1.0, draw.uniform(0, 0.4), draw.uniform(0, 0.2)]

    def sound(take: Take) -> Floats:
        u = take.times / seconds
        return fade(u, 0.1, 0.2) * harmonics(
            take.pitch * smooth(u, hz), 3, lambda k, _: levels[k - 1]
        )

    return Call(seconds, sound)


def _voice(draw: Draw) -> Callable[[Take, Floats, Floats], Floats]:
    """A throat: tones on `hz` (frames,) through three formants that move from vowel to vowel."""
    tract = draw.log_uniform(0.6, 1.8)
    first, last = draw.choice(VOWELS), draw.choice(VOWELS)
    breath, tilt = draw.uniform(0.0, 0.25), draw.uniform(0.3, 1.2)

    def throat(take: Take, u: Floats, hz: Floats) -> Floats:
        centres = [take.pitch * tract * smooth(u, pair) for pair in zip(first, last, strict=True)]
        widths = [tract * width for width in (90, 130, 220)]
        count = min(60, int(0.5 * SAMPLE_RATE / hz.min()))
        voiced = harmonics(hz, count, lambda k, at: k**-tilt * resonances(at, centres, widths))
        middle = [float(np.mean(centre)) for centre in centres]
        rough = noise(take.draw, len(u), lambda at: resonances(at, middle, [3 * w for w in widths]))
        return voiced + breath * np.sqrt(np.mean(voiced**2)) * rough

    return throat


def _instants(draw: Draw, count: int, shortest: float, longest: float) -> list[float]:
    """When so many events are, the first at once, with random intervals between."""
    instants = [0.01]
    for _ in range(count - 1):
        instants.append(instants[-1] + draw.uniform(shortest, longest))
    return instants


def howl(draw: Draw) -> Call:
    """A long voice, as of wolves, cows and owls, sometimes with a tremolo."""
    seconds, low = draw.log_uniform(0.4, 1.8), draw.log_uniform(90, 700)
    hz = [low * draw.log_uniform(1, 1.8) for _ in range(draw.integer(2, 5))]
    throat = _voice(draw)
    depth, tremolo = draw.choice((0.0, 0.0, 0.15, 0.3)), draw.uniform(5, 12)

    def sound(take: Take) -> Floats:
        u = take.times / seconds
        swing = 1.0 + depth * np.sin(2.0 * np.pi * tremolo * take.times)
        pitch = take.pitch * smooth(u, hz) * (1.0 + 0.1 * (swing - 1.0))
        return fade(u, 0.15, 0.3) * swing * throat(take, u, pitch)

    return Call(seconds, sound)


def cry(draw: Draw) -> Call:
    """Syllables of one voice, each an arc, as of babies, cats, crows and roosters."""
    count, period = draw.integer(2, 5), draw.uniform(0.18, 0.6)
    lengths = [period * draw.uniform(0.5, 0.95) for _ in range(count)]
    peaks = [draw.uniform(0.5, 1.0) for _ in range(count)]
    base, rise = draw.log_uniform(180, 900), draw.uniform(1.1, 1.7)
    throat = _voice(draw)
    seconds = count * period

    def sound(take: Take) -> Floats:
        number = np.minimum((take.times / period).astype(np.int64), count - 1)
        u = (take.times - number * period) / np.array(lengths)[number]
        hz = take.pitch * base * smooth(u, (1.0, rise, 0.9 * rise, 0.8))
        level = np.where(u < 1.0, fade(np.minimum(u, 1.0), 0.2, 0.4), 0.0)
        return np.array(peaks)[number] * level * throat(take, take.times / seconds, hz)

    return Call(seconds, sound)


def bark(draw: Draw) -> Call:
    """One to four barks: a voice that starts at once, falls, and is half noise."""
    instants = _instants(draw, draw.integer(1, 4), 0.18, 0.5)
    length, base = draw.uniform(0.08, 0.25), draw.log_uniform(120, 650)
    rough = draw.uniform(0.2, 0.8)
    throat = _voice(draw)
    seconds = instants[-1] + length + 0.05

    def sound(take: Take) -> Floats:
        since = np.full(len(take.times), 9.0)
        for instant in instants:
            since = np.where(take.times >= instant, take.times - instant, since)
        level = np.clip(since / 0.008, 0.0, 1.0) * np.exp(-since / (0.4 * length))
        level[since >= length] = 0.0
        hz = take.pitch * base * (1.0 + 0.5 * np.exp(-since / 0.03))
        voiced = throat(take, np.clip(since / length, 0.0, 1.0), hz)
        hiss = noise(take.draw, len(hz), band(1.5 * base, 12 * base, steep=4))
        return level * (voiced + rough * np.sqrt(np.mean(voiced**2)) * hiss)

    return Call(seconds, sound)


def trill(draw: Draw) -> Call:
    """Short sweeps in a row, as of wrens, frogs and flies."""
    count, rate = draw.integer(5, 24), draw.log_uniform(8, 40)
    low, ratio = draw.log_uniform(700, 4500), draw.log_uniform(0.6, 1.7)
    duty, faster = draw.uniform(0.4, 0.9), draw.log_uniform(0.7, 1.4)
    steps = np.array([faster ** (index / count) / rate for index in range(count)])
    begins = np.concatenate([[0.0], np.cumsum(steps)])
    seconds = float(begins[-1])

    def sound(take: Take) -> Floats:
        number = np.clip(np.searchsorted(begins, take.times, side="right") - 1, 0, count - 1)
        u = (take.times - begins[number]) / (duty * steps[number])
        hz = take.pitch * low * ratio ** np.clip(u, 0.0, 1.0)
        level = np.where(u < 1.0, fade(np.minimum(u, 1.0), 0.3, 0.3), 0.0)
        return level * fade(take.times / seconds, 0.3, 0.3) * np.sin(phase_of(hz))

    return Call(seconds, sound)


def _struck(seconds: float, instants: list[float], hits: list[Floats], levels: list[float]) -> Call:
    """Hits at instants; each in turn is one of `hits`, which do not follow the rate of the call."""

    def sound(take: Take) -> Floats:
        total = np.zeros(len(take.times))
        for number, (instant, level) in enumerate(zip(instants, levels, strict=True)):
            hit = hits[number % len(hits)]
            places = np.arange(int(len(hit) / take.pitch)) * take.pitch
            add(total, level * np.interp(places, np.arange(len(hit)), hit), take.frame(instant))
        return total

    return Call(seconds, sound)


def _body(draw: Draw, low: float, high: float, decay: tuple[float, float], modes: int) -> Floats:
    """A hit on a body with so many modes."""
    hz = [draw.log_uniform(low, high) for _ in range(modes)]
    decays = [draw.log_uniform(*decay) * (min(hz) / each) ** 0.5 for each in hz]
    return damped(hz, decays, [draw.uniform(0.2, 1.0) for _ in hz])


def clicks(draw: Draw) -> Call:
    """A train of clicks whose intervals grow or shrink, as of whales and woodpeckers."""
    interval, ratio = draw.log_uniform(0.02, 0.3), draw.log_uniform(0.92, 1.06)
    instants, count = [0.01], draw.integer(4, 60)
    while instants[-1] < 1.8 and len(instants) < count:
        instants.append(instants[-1] + max(0.012, interval * ratio ** len(instants)))
    levels = [draw.uniform(0.6, 1.0) for _ in instants]
    hit = _body(draw, 800, 6500, (0.0003, 0.003), 2)
    return _struck(instants[-1] + 0.03, instants, [hit], levels)


def ticks(draw: Draw) -> Call:
    """A clock: two hits in turn at equal intervals."""
    interval, lag = draw.uniform(0.2, 0.8), draw.uniform(-0.03, 0.03)
    count = max(3, int(draw.uniform(1.5, 3.0) / interval))
    instants = [0.05 + number * interval + lag * (number % 2) for number in range(count)]
    hits = [_body(draw, 600, 6000, (0.002, 0.02), draw.integer(3, 6)) for _ in range(2)]
    return _struck(instants[-1] + 0.15, instants, hits, [1.0] * count)


def knock(draw: Draw) -> Call:
    """One to four hits on wood, metal or glass."""
    instants = _instants(draw, draw.integer(1, 4), 0.1, 0.5)
    decay = draw.log_uniform(0.01, 0.35)
    low = draw.log_uniform(80, 1500)
    hit = _body(draw, low, min(6 * low, 6500), (decay, 2 * decay), draw.integer(3, 8))
    levels = [draw.uniform(0.5, 1.0) for _ in instants]
    return _struck(instants[-1] + 3 * decay + 0.1, instants, [hit], levels)


def burst(draw: Draw) -> Call:
    """One to three bursts of noise through a tract, as of sneezes, coughs, blows and steps."""
    count = draw.integer(1, 3)
    lengths = [draw.log_uniform(0.06, 0.5) for _ in range(count)]
    gaps = [draw.uniform(0.05, 0.4) for _ in range(count)]
    begins = [0.01 + sum(lengths[:each]) + sum(gaps[:each]) for each in range(count)]
    centres = [draw.log_uniform(300, 5000) for _ in range(3)]
    attacks = [draw.log_uniform(0.02, 0.4) for _ in range(count)]
    seconds = begins[-1] + lengths[-1] + 0.02

    def sound(take: Take) -> Floats:
        level = np.zeros(len(take.times))
        for begin, length, attack in zip(begins, lengths, attacks, strict=True):
            u = (take.times - begin) / length
            level += np.where((u > 0) & (u < 1), fade(u, attack, 1.0 - attack) ** 2, 0.0)
        at = [take.pitch * centre for centre in centres]
        return level * noise(take.draw, len(level), lambda hz: resonances(hz, at, (200, 400, 900)))

    return Call(seconds, sound)


def engine(draw: Draw) -> Call:
    """A motor: harmonics of its firing rate, which rises and falls, and noise in their rhythm."""
    seconds, base = draw.uniform(1.5, 3.0), draw.log_uniform(25, 160)
    hz = [base * draw.log_uniform(1, draw.choice((1.05, 1.3, 2.0))) for _ in range(5)]
    weights = [draw.uniform(0.1, 1.0) for _ in range(40)]
    centres, rough = [draw.log_uniform(150, 4000) for _ in range(3)], draw.uniform(0.2, 1.0)

    def sound(take: Take) -> Floats:
        rate = take.pitch * smooth(take.times / seconds, hz)
        widths = (150, 300, 900)
        tones = harmonics(rate, 40, lambda k, at: weights[k - 1] * resonances(at, centres, widths))
        beat = 0.3 + np.maximum(np.cos(phase_of(rate)), 0.0) ** 3
        hiss = noise(take.draw, len(rate), lambda at: resonances(at, centres, widths)) * beat
        return tones + rough * np.sqrt(np.mean(tones**2)) * hiss

    return Call(seconds, sound)


def rotor(draw: Draw) -> Call:
    """A helicopter or a fan: beats of low noise, and the whine of a turbine."""
    seconds, rate = draw.uniform(1.5, 3.0), draw.uniform(7, 24)
    sharp, high = draw.integer(2, 12), draw.log_uniform(300, 2500)
    whine, level = draw.log_uniform(400, 3000), draw.uniform(0.0, 0.3)
    swell = [draw.uniform(0.4, 1.0) for _ in range(4)]

    def sound(take: Take) -> Floats:
        turn = np.pi * rate * take.times
        beat = 0.15 + np.cos(turn) ** (2 * sharp)
        low = noise(take.draw, len(turn), band(40 * take.pitch, high * take.pitch, steep=4))
        hz = np.full(len(turn), take.pitch * whine)
        return smooth(take.times / seconds, swell) * (beat * low + level * np.sin(phase_of(hz)))

    return Call(seconds, sound)


def rain(draw: Draw) -> Call:
    """Hiss, and drops at random instants, new ones in each take."""
    seconds, rate = draw.uniform(1.5, 3.0), draw.log_uniform(10, 250)
    hiss = band(draw.log_uniform(200, 2000), draw.log_uniform(4000, 7500), steep=2)
    low, wet = draw.log_uniform(600, 2500), draw.uniform(0.5, 3.0)
    tilt = slope(draw.uniform(-6.0, 1.0))

    def sound(take: Take) -> Floats:
        total = noise(take.draw, len(take.times), hiss, tilt)
        for _ in range(round(rate * len(total) / SAMPLE_RATE)):
            hz = take.pitch * low * take.draw.log_uniform(0.7, 3.0)
            level = wet * take.draw.log_uniform(0.1, 4.0)
            drop = damped([hz], [take.draw.log_uniform(0.001, 0.006)], [level])
            add(total, drop, take.draw.integer(0, len(total) - 1))
        return total

    return Call(seconds, sound)


def sea(draw: Draw) -> Call:
    """Waves: noise that swells, and hisses where it is loud."""
    seconds = draw.uniform(2.0, 3.5)
    swell = [draw.log_uniform(0.05, 1.0) for _ in range(draw.integer(3, 6))]
    low, high = draw.log_uniform(80, 400), draw.log_uniform(800, 4000)
    tilt = slope(draw.uniform(-5.0, -1.0))

    def sound(take: Take) -> Floats:
        level = smooth(take.times / seconds, swell)
        rumble = noise(take.draw, len(level), band(low * take.pitch, high * take.pitch, steep=2))
        hiss = noise(take.draw, len(level), band(high * take.pitch, 7500, steep=2), tilt)
        return level * rumble + level**2 * hiss

    return Call(seconds, sound)


def crackle(draw: Draw) -> Call:
    """A fire: pops of all sizes at instants of the call, over a low roar."""
    seconds, rate = draw.uniform(1.5, 3.0), draw.log_uniform(6, 60)
    instants = [draw.uniform(0.02, seconds - 0.02) for _ in range(round(rate * seconds))]
    levels = [draw.log_uniform(0.02, 1.0) for _ in instants]
    pops = [_body(draw, 700, 7000, (0.0004, 0.008), 2) for _ in range(12)]
    roar, high = draw.uniform(0.0, 0.08), draw.log_uniform(200, 1200)
    struck = _struck(seconds, instants, pops, levels)

    def sound(take: Take) -> Floats:
        under = noise(take.draw, len(take.times), band(40, high, steep=2))
        return struck.sound(take) + roar * under

    return Call(seconds, sound)


def buzz(draw: Draw) -> Call:
    """An insect: a high tone in pulses, and pulses in chirps."""
    seconds, carrier = draw.uniform(0.8, 2.5), draw.log_uniform(1500, 6500)
    pulses, chirps = draw.log_uniform(20, 160), draw.log_uniform(1.5, 8)
    duty, sharp = draw.uniform(0.3, 1.0), draw.integer(1, 4)
    rough = draw.uniform(0.0, 0.6)

    def sound(take: Take) -> Floats:
        gate = (take.times * chirps) % 1.0 / duty
        level = np.where(gate < 1.0, fade(np.minimum(gate, 1.0), 0.2, 0.3), 0.0)
        level = level * np.sin(np.pi * pulses * take.times) ** (2 * sharp)
        hz = np.full(len(level), take.pitch * carrier)
        hiss = noise(take.draw, len(level), band(0.8 * hz[0], 1.25 * hz[0]))
        return level * ((1.0 - rough) * np.sin(phase_of(hz)) + rough * hiss)

    return Call(seconds, sound)


FAMILIES: dict[str, Callable[[Draw], Call]] = {
    "whistle": whistle,
    "howl": howl,
    "cry": cry,
    "bark": bark,
    "trill": trill,
    "clicks": clicks,
    "ticks": ticks,
    "knock": knock,
    "burst": burst,
    "engine": engine,
    "rotor": rotor,
    "rain": rain,
    "sea": sea,
    "crackle": crackle,
    "buzz": buzz,
}
