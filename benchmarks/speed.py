"""Tokenizer.encode beside Mimi, SNAC and EnCodec: a file in, tokens out, two threads each."""

import time
from pathlib import Path
from statistics import median

from benchmarks.asked import ASKED
from benchmarks.material import write_sound
from benchmarks.peers import PACKAGES, RATE, THREADS, EncoderCall, Peers
from benchmarks.report import spread, table
from ulmo.tokenizer import Tokenizer, load_tokenizer

CALLS = 5  # of ulmo in a turn: one takes a tenth of a second
PAUSE = 0.5  # seconds before each turn, in which the threads of the last one stop spinning
TITLES = {"mimi": "Mimi", "snac": "SNAC (24 kHz)", "encodec": "EnCodec (24 kHz, 6 kbit/s)"}
SHIPS = "ships"  # the row of the tokenizer that ships, with which the peers are compared, too


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
    default, ships = (load_tokenizer(path, threads=THREADS) for path in (bundle, None))
    lengths = {
        **{"long": seconds, SHIPS: seconds, "short": peer_seconds},
        **dict.fromkeys(TITLES, peer_seconds),
    }
    folder = work / "speed"
    files = {
        length: write_sound(folder / f"{length:g}.wav", length, 16_000)
        for length in (seconds, peer_seconds)
    }
    ours = {
        "long": (default, files[seconds]),
        SHIPS: (ships, files[seconds]),
        "short": (default, files[peer_seconds]),
    }
    theirs = write_sound(folder / "peers.wav", peer_seconds, RATE)
    speeds: dict[str, list[float]] = {name: [] for name in lengths}
    tokens: dict[str, float] = {}
    with Peers(python, theirs) as peers:
        for tokenizer, path in ours.values():
            encode(tokenizer, path)
        for _ in range(turns):
            for name in lengths:
                time.sleep(PAUSE)
                made = encode(*ours[name]) if name in ours else peers.encode(name)
                speeds[name].append(lengths[name] / made.seconds)
                tokens[name] = made.tokens / lengths[name]
    versions = ", ".join(f"{name} {peers.versions[name]}" for name in PACKAGES)
    typical = {name: median(found) for name, found in speeds.items()}
    rows = [
        [
            TITLES.get(name, "**ulmo, what ships**" if name == SHIPS else "**ulmo**"),
            f"{lengths[name]:g} s",
            f"{tokens[name]:.0f}",
            f"{typical[name]:.3g}",
            spread(speeds[name]),
            f"**{typical['long'] / typical[name]:.3g}x**" if name in TITLES else "",
            f"**{typical[SHIPS] / typical[name]:.3g}x**" if name in TITLES else "",
            f"{ASKED[f'seed {name}']}, {ASKED[f'ships {name}']}" if name in TITLES else "",
        ]
        for name in lengths
    ]
    header = ["encoder", "file", "tokens/s", "times real time", "turns"]
    header += ["ulmo : it", "what ships : it", "asked"]
    return (
        "**Speed.** From a WAV file to tokens, reading and front end included; `Tokenizer.encode` "
        "at the default settings (16 x 16, random weights) and of the tokenizer that ships, the "
        "peers at 24 kHz, their own rate, under torch.inference_mode, random weights. In rotation, "
        f"medians of {turns} turns (of ulmo {CALLS} calls a turn); the ratios are to the first two "
        f"rows. The peers' Python: {versions}.\n\n" + table(header, rows, keys=2, parts=(3, 3))
    )
