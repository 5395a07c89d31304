"""A plan past this machine: parts of a run are measured, and many workers are simulated.

    python -m benchmarks.scale [--only parts,efficiency,computing]

Rewrites the tables of docs/scale.md; --print only prints them. Prices and misfortunes are settings.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.efficiency import HEADER, computing, efficiency, rows
from benchmarks.fleet import SAMPLE, Fleet, Measured, Simulated, extended, most_workers
from benchmarks.job_times import (
    COMMANDS,
    Following,
    Job,
    Overheads,
    following,
    measure,
    overheads,
)
from benchmarks.material import write_recordings
from benchmarks.report import ROOT, beside, machine, names_of, parser_of, publish, table

PAGE = ROOT / "docs" / "scale.md"
YEAR = 365.25 * 24 * 3600  # seconds
LENGTHS = (60, 600)  # seconds of the recordings
YEARS = {"a year": 1, "1,000 years": 1000}
WORKERS = (1, 10, 100, 1000)
_PARTS = ("driver", "scheduler", "storage")

Key = tuple[str, int]  # a command, and seconds of its recordings


def span(seconds: float) -> str:
    """A time in the unit that fits: `5.2 h`."""
    for unit, size in (("years", YEAR), ("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= (2 if unit == "years" else 1.5) * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def size(bytes_: float) -> str:
    """Bytes in the unit that fits: `12.3 GB`."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= factor:
            return f"{bytes_ / factor:.3g} {unit}"
    return f"{bytes_:.0f} bytes"


def length(seconds: int) -> str:
    """The length of a recording: `10 min`."""
    return f"{seconds // 60} min"


def money(dollars: float) -> str:
    """Dollars: whole ones with commas, few ones with cents."""
    return f"${dollars:,.0f}" if dollars >= 10 else f"${dollars:.2f}"


def measured_table(
    measured: Mapping[Key, Measured],
    jobs: Mapping[Key, Sequence[Job]],
    besides: Mapping[str, Overheads],
    followed: Following,
) -> str:
    """What was measured."""
    lines = []
    for (name, seconds), each in measured.items():
        walls = [job.seconds for job in jobs[name, seconds]]
        tenths = statistics.quantiles(walls, n=10)
        lines.append(
            [
                f"`{name}`",
                length(seconds),
                f"{statistics.median(walls):.3g} s ({tenths[0]:.3g} to {tenths[-1]:.3g})",
                f"{statistics.median(job.processor for job in jobs[name, seconds]):.3g} s",
                size(each.read),
                size(each.written),
            ]
        )
    first = table(["command", "recording", "job", "of it computing", "read", "written"], lines)
    lines = [
        [
            f"`{name}`",
            f"{measured[name, LENGTHS[0]].start:.2g} s",
            f"{each.driver * 1e3:.2g} ms",
            f"{each.scheduler * 1e3:.2g} ms",
        ]
        for name, each in besides.items()
    ]
    header = ["command", "start of a worker", "driver, a recording", "scheduler, a recording"]
    return (
        f"{first}\n\n{table(header, lines)}\n\n"
        "Jobs report their progress. To follow them takes, for each second of a job, "
        f"{followed.driver * 1e3:.2g} ms of the driver and {followed.scheduler * 1e3:.2g} ms of "
        "the scheduler."
    )


def simulations(
    measured: Mapping[Key, Measured], fleet: Fleet, times: Sequence[str]
) -> dict[tuple[Key, str, int], Simulated]:
    """Every command, length, time and number of workers."""
    return {
        (key, words, workers): extended(
            each, fleet._replace(workers=workers), round(YEARS[words] * YEAR / key[1])
        )
        for key, each in measured.items()
        for words in times
        for workers in WORKERS
    }


def cells(
    found: Mapping[tuple[Key, str, int], Simulated],
    keys: Sequence[Key],
    words: str,
    cell: Callable[[Simulated, int], str],
) -> str:
    """A table with a column for each number of workers."""
    header = ["command", "recordings of", *(f"{count:,} workers" for count in WORKERS)]
    header[2] = "1 worker"
    lines = [
        [f"`{key[0]}`", length(key[1]), *(cell(found[key, words, n], n) for n in WORKERS)]
        for key in keys
    ]
    return table(header, lines)


def hours(each: Simulated, _: int) -> str:
    """The time of a run."""
    return span(each.seconds)


def at_work(each: Simulated, _: int) -> str:
    """How much workers compute, and the fullest other part."""
    return f"{each.shares['workers']:.0%}; {each.fullest} {each.shares[each.fullest]:.0%}"


def plan(measured: Mapping[Key, Measured], fleet: Fleet, options: argparse.Namespace) -> str:
    """Hours, what gives way, storage, and money."""
    keys, faster = list(measured), fleet._replace(storage=options.faster_storage)
    last, thousand = LENGTHS[-1], "1,000 years"
    found = simulations(measured, fleet, list(YEARS))
    fast = simulations(measured, faster, [thousand])

    def price(each: Simulated, workers: int) -> str:
        return money(each.seconds / 3600 * workers * options.core_hour)

    lines = []
    for key, each in measured.items():
        most = most_workers(each, fleet)
        first = min(most, key=most.__getitem__)
        counts = [f"{most[part]:,.0f}" for part in _PARTS]
        counts[_PARTS.index(first)] = f"**{counts[_PARTS.index(first)]}**"
        carried = fleet.storage / most["storage"]
        lines.append([f"`{key[0]}`", length(key[1]), *counts, f"{size(carried)}/s"])
    header = ["command", "recordings of", *_PARTS, "storage, a worker"]
    sizes = []
    for what, each in (
        ("recordings", measured["tokenize", last].read),
        ("tiles", measured["prep", last].written),
        ("tokens", measured["tokenize", last].written),
    ):
        year = each * YEAR / last
        monthly = [money(years * year / 1e9 * options.gb_month) for years in YEARS.values()]
        sizes.append([what, size(year), monthly[0], size(1000 * year), monthly[1]])
    parts = [
        f"Assumed, not measured: a worker is one core, and {fleet.slow_share:.0%} of them take "
        f"{fleet.slow_factor:g} times as long; each is lost after {fleet.hours_between_losses:g} "
        f"hours on average, missed after {fleet.away:g} s, and replaced then; "
        f"${options.core_hour:g} a core-hour, ${options.gb_month:g} a GB-month. Storage carries "
        f"{size(fleet.storage)}/s for all workers together, as a file server does, or "
        f"{size(faster.storage)}/s, as a parallel file system does. {SAMPLE:,} recordings of "
        "1,000 years are simulated, and the others go on at the pace of the middle half of them.",
        f"**A year of sound**, storage of {size(fleet.storage)}/s:",
        cells(found, keys, "a year", hours),
        f"**1,000 years of sound**, storage of {size(fleet.storage)}/s:",
        cells(found, keys, thousand, hours),
        f"**The same with storage of {size(faster.storage)}/s:**",
        cells(fast, keys, thousand, hours),
        f"**How much workers compute, and which other part is fullest**, for 1,000 years with "
        f"storage of {size(faster.storage)}/s:",
        cells(fast, keys, thousand, at_work),
        "**What gives way first.** So many workers keep each part busy all the time, and more of "
        f"them gain nothing; storage at {size(fleet.storage)}/s, and what one worker asks of it:",
        table(header, lines),
        "**Money for computing** 1,000 years, whether workers compute or wait, with storage of "
        f"{size(faster.storage)}/s:",
        cells(fast, keys, thousand, price),
        "**Storage:**",
        table(["what", "a year", "a month of it", thousand, "a month of them"], sizes),
    ]
    return "\n\n".join(parts)


def measure_parts(work: Path, options: argparse.Namespace) -> None:
    """Measure the parts of runs, and simulate."""
    load = beside()
    measured: dict[Key, Measured] = {}
    jobs: dict[Key, list[Job]] = {}
    counts = dict(zip(LENGTHS, options.recordings, strict=True))
    folders = {s: write_recordings(work / f"{s}s", count, s) for s, count in counts.items()}
    followed = following(work / "following", options.threads, 5, 20)
    besides = {name: overheads(name, work / name, options.few, options.many) for name in COMMANDS}
    for name in COMMANDS:
        for seconds, folder in folders.items():
            key = name, seconds
            measured[key], jobs[key] = measure(
                *(name, folder, work / name, besides[name], followed), computing=options.computing
            )
    clock = (
        "The simulation takes the time that jobs compute: other work ran on the machine."
        if options.computing
        else "The simulation takes the time of jobs by the clock."
    )
    fleet = Fleet(
        workers=1,
        slow_share=options.slow_share,
        slow_factor=options.slow_factor,
        hours_between_losses=options.hours_between_losses,
        away=options.away,
        storage=options.storage,
    )
    words = ", ".join(f"{count} of {length(s)}" for s, count in counts.items())
    head = (
        f"{machine('ulmo', 'numpy', 'onnxruntime', 'distributed')} {os.cpu_count()} cores; {load} "
        f"when the run began, {beside()} at its end. Recordings of one channel, 16 kHz, 16 bits "
        f"({words}), one worker process. Medians, and in brackets the tenths at both ends. Driver "
        "and scheduler: processor seconds, from the difference of runs with Dask on "
        f"{options.few} and {options.many} recordings of a second; progress, from that of "
        f"{options.threads} jobs of 5 s and of 20 s that do nothing else. {clock}"
    )
    tables = measured_table(measured, jobs, besides, followed)
    publish_if(options, "scale parts", f"{head}\n\n{tables}")
    publish_if(options, "scale plan", plan(measured, fleet, options))


def measure_efficiency(work: Path, options: argparse.Namespace) -> None:
    """Measure workers of their own beside local ones."""
    load = beside()
    audio = write_recordings(work / "audio", options.minutes, 60)
    runs = efficiency("tokenize", audio, work, [1, 2, 4], options.turns)
    head = (
        f"{machine('ulmo', 'numpy', 'onnxruntime', 'distributed')} `ulmo tokenize`, "
        f"{options.minutes} recordings of a minute, whole commands; {os.cpu_count()} cores; {load} "
        f"when the runs began, {beside()} at their end, these runs included. Medians of "
        f"{options.turns} turns, lowest and highest; all in turn. The scheduler and its workers "
        "run already, as they would. All runs wrote the same bytes."
    )
    publish_if(options, "scale efficiency", f"{head}\n\n{table(HEADER, rows(runs))}")


def measure_computing(work: Path, options: argparse.Namespace) -> None:
    """Measure the processor time of workers of their own, and of local ones."""
    load, lines = beside(), []
    for minutes in (options.minutes // 2, options.minutes * 2):
        audio = write_recordings(work / f"{minutes}", minutes, 60)
        lines.append(computing("tokenize", audio, work, 2, options.turns))
    head = (
        f"Processor seconds of all processes, `ulmo tokenize` of recordings of a minute, two "
        f"workers; turns of each after one to warm up: {options.turns}; {load} when the runs "
        f"began, {beside()} at their end. Where all cores are busy with this alone, times have "
        "the same ratio."
    )
    header = ["recordings", "`--workers`, s", "Dask, s", "`--workers` to Dask"]
    publish_if(options, "scale computing", f"{head}\n\n{table(header, lines)}")


def publish_if(options: argparse.Namespace, name: str, text: str) -> None:
    """Put a text into the page, or print it."""
    if options.print:
        print(text, end="\n\n", flush=True)
    else:
        publish(name, text, PAGE)


PARTS = {"parts": measure_parts, "efficiency": measure_efficiency, "computing": measure_computing}


def main() -> None:
    """Measure, simulate, and write the tables."""
    parser = parser_of(__doc__)
    only = names_of(PARTS)
    parser.add_argument("--only", type=only, default=list(PARTS), help="Comma-separated parts.")
    parser.add_argument("--print", action="store_true", help="Print, and leave the page alone.")
    parser.add_argument("--folder", type=Path, default=None, help="Folder for temporary files.")
    parser.add_argument(
        "--computing", action="store_true", help="Processor time of jobs: others work here."
    )
    number = parser.add_argument
    number("--recordings", type=int, nargs=2, default=[160, 24], help="Of each length.")
    number("--few", type=int, default=100, help="Short recordings of a small run.")
    number("--many", type=int, default=3100, help="Short recordings of a large run.")
    number("--threads", type=int, default=16, help="Jobs that only report.")
    number("--minutes", type=int, default=96, help="Recordings of efficiency.")
    number("--turns", type=int, default=3, help="Turns of efficiency.")
    number("--core-hour", type=float, default=0.04, help="Dollars.")
    number("--gb-month", type=float, default=0.02, help="Dollars.")
    defaults = Fleet(workers=1)
    number("--slow-share", type=float, default=defaults.slow_share)
    number("--slow-factor", type=float, default=defaults.slow_factor)
    number("--hours-between-losses", type=float, default=defaults.hours_between_losses)
    number("--away", type=float, default=defaults.away, help="Seconds.")
    number("--storage", type=float, default=defaults.storage, help="Bytes a second.")
    number("--faster-storage", type=float, default=1e10, help="The same.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in options.only:
            (Path(folder) / name).mkdir()
            PARTS[name](Path(folder) / name, options)


if __name__ == "__main__":
    main()
