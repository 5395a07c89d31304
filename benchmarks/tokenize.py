"""Tokenizing beside its peers: speed, start, a day of sound, and streaming. Two threads each.

    python -m benchmarks.tokenize [--only speed,start,day,stream]

Each part rewrites its section of docs/benchmarks.md.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.day import measure_day
from benchmarks.material import write_tokenizer
from benchmarks.peers import THREADS, check_peers
from benchmarks.report import beside, machine, names_of, parser_of
from benchmarks.speed import measure_speed
from benchmarks.start import measure_start
from benchmarks.stream import measure_stream
from benchmarks.summary import add_outputs, publish

Part = Callable[[Path, Path, argparse.Namespace], str]  # working folder, tokenizer's folder

PARTS: dict[str, Part] = {
    "speed": lambda work, bundle, options: measure_speed(
        work,
        bundle,
        seconds=options.seconds,
        peer_seconds=options.peer_seconds,
        turns=options.turns,
        python=options.peers_python,
    ),
    "start": lambda work, bundle, options: measure_start(work, bundle, turns=options.turns),
    "day": lambda work, bundle, options: measure_day(work, bundle, hours=options.hours),
    "stream": lambda work, bundle, options: measure_stream(
        bundle, seconds=options.seconds, live_seconds=options.live_seconds
    ),
}


def main() -> None:
    """Measure, and write the tables."""
    parser = parser_of(__doc__)
    only = names_of(PARTS)
    parser.add_argument("--only", type=only, default=list(PARTS), help="Comma-separated parts.")
    parser.add_argument("--peers-python", default=sys.executable, help="The peers' Python.")
    parser.add_argument("--seconds", type=float, default=60, help="Sound of speed and stream.")
    parser.add_argument("--peer-seconds", type=float, default=10, help="Sound of the peers.")
    parser.add_argument("--live-seconds", type=float, default=20, help="Sound of the live stream.")
    parser.add_argument("--hours", type=float, default=24, help="Sound of the day, 0.115 GB/h.")
    parser.add_argument("--turns", type=int, default=7, help="Turns of speed and start.")
    add_outputs(parser)
    options = parser.parse_args()
    if "speed" in options.only:
        check_peers(options.peers_python)
    head = (
        f"{machine('ulmo', 'onnxruntime', 'numpy', 'scipy', 'soundfile', 'tensorflow')} "
        f"{os.cpu_count()} cores, {THREADS} threads for each; {beside()} when it began."
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        bundle = write_tokenizer(Path(folder) / "tokenizer")
        for name in options.only:
            text = PARTS[name](Path(folder), bundle, options)
            publish(f"tokenize {name}", f"{head}\n\n{text}", options.page)


if __name__ == "__main__":
    main()
