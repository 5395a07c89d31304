"""Mutants of every file that ulmo parses, but for recordings (tests/fuzz/reader.py).

    python -m tests.fuzz.parsers --count 100000

Each mutant is sealed again every other time, so that what lies behind checksums is reached as
well. Nothing may come out but what is documented: UserError (of clocks: no time at all); and no
mutant may take longer than SLOW seconds of the processor.
"""

import argparse
import gc
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.bundles import ENCODER, MANIFEST, WEIGHTS, sealed, write_small_bundle
from tests.hostile_child import READERS
from tests.oracles import wav_bytes
from tests.outputs import PREP, SMALL, make_run, make_tiles, make_tokens
from tests.sealed import hashes_of, seal_tokens
from ulmo.config import ClockSettings, UserError, to_toml
from ulmo.preprocessing.times.clock import Clock
from ulmo.storage.sealed import seal

SLOW = 0.2
NUMBERS = b"0 -1 2147483648 9007199254740993 1e999 NaN null true 1.5".split()
BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x22, 0x2C, 0x5B, 0x7B, 0x0A)


class Target(NamedTuple):
    """One file of a good output, and what reads it."""

    path: Path
    read: Callable[[], object]
    mend: Callable[[], object]
    """Makes checksums fit the mutant; it may fail, where the mutant is no JSON."""


class Slow(NamedTuple):
    """The slowest mutant."""

    seconds: float = 0.0
    name: str = ""


def mutate(content: bytes, rng: random.Random) -> bytes:
    """One to four changes: bytes, pieces, numbers, or an end that is cut."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        length = rng.choice((1, 2, 4, 8, 64))
        match rng.randrange(7):
            case 0 if changed:
                changed[place % len(changed)] ^= 1 << rng.randrange(8)
            case 1 if changed:
                changed[place % len(changed)] = rng.choice(BYTES)
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = changed[place : place + length] * rng.choice((1, 2, 50))
            case 4:
                changed[place:place] = rng.randbytes(length)
            case 5:
                digits = [n for n, byte in enumerate(changed) if 48 <= byte <= 57]
                if digits:
                    at = rng.choice(digits)
                    changed[at : at + 1] = rng.choice(NUMBERS)
            case _:
                del changed[place:]
    return bytes(changed)


def targets(folder: Path, make_bundle: Callable[..., Path]) -> dict[str, Target]:
    """Every parser, with a good file of its own."""
    found = {}
    bundle = make_bundle(folder / "bundle", PREP, **SMALL)
    for name in (MANIFEST, WEIGHTS, ENCODER):
        found[f"bundle {name}"] = _target("bundle", bundle, bundle / name, _seal_bundle)
    tiles = make_tiles(folder / "tiles" / "tiles")
    for name in ("prep.json", "tiles.parquet", "recordings.parquet", "tiles/000000-0000.npy"):
        found[f"tiles {name}"] = _target("tiles", tiles, tiles / name, _seal_tiles)
    for name in ("npy", "parquet", "jsonl", "csv", "bin", "megatron"):
        path = make_tokens(folder / name, name)
        for each in (path, path.with_suffix(".json")):
            found[f"tokens {name} {each.suffix}"] = _target("tokens", path, each, seal_tokens)
    run = make_run(folder / "run", make_bundle)
    for name in ("train.json", "checkpoints/ckpt-5.json"):
        found[f"run {name}"] = _target("run", run, run / name, partial(_reseal, run / name))
    toml = folder / "x.toml"
    toml.write_text(to_toml({"prep": PREP}))
    found["settings"] = _target("toml", toml, toml)
    labels = folder / "tiles" / "audio" / "labels.csv"
    labels.write_text("file,label,start,end,speaker\na.wav,x,0,1,s\nb.wav,y,,,t\n")
    found["labels"] = _target("labels", labels, labels)
    wav = folder / "S_20230501_020304.wav"
    wav.write_bytes(_with_metadata())
    clock = Clock.of(ClockSettings())
    found["clock"] = Target(wav, lambda: clock.timing(wav), lambda: None)
    return found


def fuzz(found: dict[str, Target], count: int, seed: int) -> tuple[Counter[str], Slow]:
    """So many mutants, spread over all; what became of them, and the slowest. Raises on a crash."""
    rng = random.Random(seed)
    became: Counter[str] = Counter()
    slowest = Slow()
    names = list(found)
    goods = {path: path.read_bytes() for target in found.values() for path in _files(target)}
    gc.disable()
    for number in range(count):
        name = names[number % len(names)]
        target = found[name]
        mutant = mutate(goods[target.path], rng)
        target.path.write_bytes(mutant)
        if rng.random() < 0.5:
            try:
                target.mend()
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                became["not sealed again"] += 1
        began = time.process_time()
        try:
            target.read()
            became["read"] += 1
        except UserError as error:
            if not str(error).isprintable():
                raise AssertionError(f"{name}, seed {seed}, mutant {number}: {error!r}") from error
            became["refused"] += 1
        except Exception as error:
            Path(tempfile.gettempdir(), "mutant").write_bytes(mutant)
            raise AssertionError(f"{name}, seed {seed}, mutant {number}: {error!r}") from error
        slowest = max(slowest, Slow(time.process_time() - began, name))
        for path in _files(target):
            path.write_bytes(goods[path])
        if number % 1000 == 0:
            gc.collect()
    gc.enable()
    return became, slowest


def _files(target: Target) -> list[Path]:
    """The file, and those beside it that sealing changes."""
    beside = {target.path, target.path.with_suffix(".json")}
    root = target.path.parent if target.path.parent.name != "tiles" else target.path.parent.parent
    beside |= {root / name for name in (MANIFEST, "prep.json")}
    return sorted(path for path in beside if path.is_file())


def _target(
    kind: str, place: Path, path: Path, mend: Callable[[Path], object] = lambda _: None
) -> Target:
    return Target(path, lambda: READERS[kind](place), lambda: mend(place))


def _reseal(path: Path, _: Path) -> None:
    start, found, _ = path.read_bytes().decode().rpartition(',\n  "checksum"')
    if found:
        path.write_bytes(seal(start + "\n}"))


def _seal_bundle(folder: Path) -> None:
    from hashlib import sha256

    values = json.loads((folder / MANIFEST).read_bytes())
    for name in (WEIGHTS, ENCODER):
        values["hashes"][name] = sha256((folder / name).read_bytes()).hexdigest()
    text = json.dumps(sealed(values), indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_bytes(text.encode())


def _seal_tiles(folder: Path) -> None:
    values = json.loads((folder / "prep.json").read_bytes())
    rest = {name: value for name, value in values.items() if name != "checksum"}
    rest["hashes"] = hashes_of(folder)
    (folder / "prep.json").write_bytes(seal(json.dumps(rest, indent=2)))


def _with_metadata() -> bytes:
    """A WAV file with GUANO and bext chunks."""
    content = bytearray(wav_bytes(bytes(200), sample_rate=8000))
    guano = b"GUANO|Version: 1.0\nTimestamp: 2023-05-01T02:03:04+02:00\nLoc Position: 1 2\n"
    bext = bytes(320) + b"2023-05-0102:03:04" + bytes(264)
    for name, chunk in ((b"guan", guano), (b"bext", bext)):
        content += name + len(chunk).to_bytes(4, "little") + chunk + bytes(len(chunk) % 2)
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    return bytes(content)


def main() -> None:
    """Fuzz until so many mutants were read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        found = targets(Path(folder), write_small_bundle)
        began = time.monotonic()
        became, slowest = fuzz(found, arguments.count, arguments.seed)
    seconds = time.monotonic() - began
    print(f"{arguments.count} mutants of {len(found)} files in {seconds:.0f} s: {dict(became)}")
    print(f"slowest {1000 * slowest.seconds:.0f} ms, {slowest.name}")
    sys.exit(slowest.seconds > SLOW)


if __name__ == "__main__":
    main()
