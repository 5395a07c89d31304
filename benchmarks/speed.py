"""Tokenizer.encode beside Mimi, SNAC and EnCodec: a file in, tokens out, two threads each."""

import time
from pathlib import Path
from statistics import median

from benchmarks.material import write_sound
from benchmarks.peers import PACKAGES, RATE, THREADS, EncoderCall, Peers
from benchmarks.report import table
from ulmo.tokenizer import Tokenizer, load_tokenizer

CALLS = 5  # of ulmo in a turn: one takes a tenth of a second
PAUSE = 0.5  # seconds before each turn, in which the threads of the last one stop spinning
TITLES = {"mimi": "Mimi", "snac": "SNAC (24 kHz)", "encodec": "EnCodec (24 kHz, 6 kbit/s)"}
TARGETS = {"mimi": 50, "snac": 150}


def encode(tokenizer: Tokenizer, path: Path) -> EncoderCall:
    """The mean seconds of CALLS calls."""
    begun = time.perf_counter()
    for _ in range(CALLS):
        ids = tokenizer.encode(path).ids
    return EncoderCall((time.perf_counter() - begun) / CALLS, ids.size)


def measure_speed(
    work: Path, bundle: Path, *, seconds: float, peer_seconds: float, turns: int, python: str
) -> str:
    """A table of speeds, in times real time; the interpreter `python` has the peers."""
    ulmo = load_tokenizer(bundle, threads=THREADS)
    lengths = {"long": seconds, "short": peer_seconds, **dict.fromkeys(TITLES, peer_seconds)}
    folder = work / "speed"
    ours = {
        name: write_sound(folder / f"{name}.wav", lengths[name], 16_000)
        for name in ("long", "short")
    }
    theirs = write_sound(folder / "peers.wav", peer_seconds, RATE)
    speeds: dict[str, list[float]] = {name: [] for name in lengths}
    tokens: dict[str, float] = {}
    with Peers(python, theirs) as peers:
        for path in ours.values():
            encode(ulmo, path)
        for _ in range(turns):
            for name in lengths:
                time.sleep(PAUSE)
                made = encode(ulmo, ours[name]) if name in ours else peers.encode(name)
                speeds[name].append(lengths[name] / made.seconds)
                tokens[name] = made.tokens / lengths[name]
    versions = ", ".join(f"{name} {peers.versions[name]}" for name in PACKAGES)
    typical = {name: median(found) for name, found in speeds.items()}
    rows = [
        [
            TITLES.get(name, "**ulmo**"),
            f"{lengths[name]:g} s",
            f"{tokens[name]:.0f}",
            f"{typical[name]:.3g}",
            f"{min(speeds[name]):.3g} to {max(speeds[name]):.3g}",
            f"**{typical['long'] / typical[name]:.3g}x**" if name in TITLES else "",
            f"{TARGETS[name]}x" if name in TARGETS else "",
        ]
        for name in lengths
    ]
    header = ["encoder", "file", "tokens/s", "times real time", "turns", "ulmo : it", "asked"]
    return (
        "**Speed.** From a WAV file to tokens, reading and front end included; `Tokenizer.encode` "
        "at the default settings, the peers at 24 kHz, their own rate, under "
        f"torch.inference_mode. Random weights. In rotation, medians of {turns} turns (of ulmo "
        f"{CALLS} calls a turn); the ratio is to the first row. The peers' Python: {versions}.\n\n"
        + table(header, rows, keys=2, parts=(3, 2))
    )
