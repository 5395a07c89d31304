"""Options of the commands that hear recordings: how, and where their table goes."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from ulmo.cli import options as cli
from ulmo.cli.spread import spread_of
from ulmo.config import ClockSettings, Limits

F = TypeVar("F", bound=Callable[..., Any])


def all_event_formats() -> Mapping[str, Any]:
    """The table of formats of events."""
    from ulmo.formats.events import EVENT_FORMATS

    return EVENT_FORMATS


sources_argument = click.argument(
    "sources", type=cli.SOURCE, nargs=-1, required=True, metavar="FILE|FOLDER..."
)
tokenizer_option = cli.option(
    "--tokenizer",
    type=cli.BUNDLE,
    metavar="BUNDLE",
    group="Tokenizer",
    help="A folder such as RUN_DIR/tokenizer, a zip file, or hf://OWNER/NAME[@REVISION].  "
    "[default: the one that ships with ulmo]",
)
channels_option = cli.option(
    "--channels",
    group="Tokenizer",
    help="mix, each, or a number from 0.  [default: as in training]",
)
time_expansion_option = cli.option(
    "--time-expansion",
    type=float,
    metavar="K",
    group="Tokenizer",
    help="Hear recordings played K times as slowly, but report true times and hertz: 10 for bats, "
    "below 1 for whales, say. Leave it out for files that are slowed already.  "
    "[default: as in training]",
)
full_scale_option = cli.option(
    "--full-scale",
    type=float,
    metavar="VALUE",
    group="Tokenizer",
    help="Divide the samples of floating-point files by this: of files in micropascals, say.  "
    "[default: as in training]",
)
lm_option = cli.option(
    "--lm",
    type=cli.PATH,
    metavar="LM",
    group="Token model",
    help="A folder such as RUN_DIR/lm.  [default: the one that ships with ulmo]",
)
threads_option = cli.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    help="Threads of a process; 0: all cores.  [default: 0]",
)
_EVENTS = (
    cli.option(
        "--out",
        type=cli.PATH,
        required=True,
        metavar="PATH",
        group="Output",
        help="The table to write: .csv, .parquet, .selections.txt (or another .txt) for Raven, or "
        ".labels.txt for Audacity.",
    ),
    cli.option(
        "--format",
        "file_format",
        type=cli.Lazy(all_event_formats),
        group="Output",
        help="Format to write.  [default: as --out ends]",
    ),
)
_LISTENING = (
    cli.option(
        "--tokens",
        type=cli.PATH,
        metavar="FOLDER",
        group="Tokenizer",
        help="Take the tokens of the recordings from here, with their channels, and make none.",
    ),
    tokenizer_option,
    channels_option,
    time_expansion_option,
    full_scale_option,
)
_LAST = (
    cli.settings_options(ClockSettings),
    threads_option,
    cli.settings_options(Limits),
    cli.quiet_option,
    cli.json_option,
)


def events_options(function: F) -> F:
    """Add what comes first in a command that writes a table of events, and its recordings."""
    for each in reversed((sources_argument, *_EVENTS, *_LISTENING)):
        function = each(function)
    return function


def listening_options(function: F) -> F:
    """Add how recordings are heard: by which tokenizer, which channel, at which rate."""
    for each in reversed(_LISTENING):
        function = each(function)
    return function


def hearing_options(function: F) -> F:
    """Add what comes last in it: times, processes, limits, and how the result is shown."""
    for each in reversed(_LAST):
        function = each(function)
    return function


def opened_sources(
    sources: tuple[Any, ...],
    options: dict[str, Any],
    left_out: Any,
    *,
    unk_quantile: float | None = None,
) -> Any:
    """The recordings of a command, from its options, of which those that are used are removed."""
    from ulmo.listening.listen import Wanted
    from ulmo.listening.recordings import Sources
    from ulmo.preprocessing.reading.audio import check_channels
    from ulmo.preprocessing.times.clock import Clock
    from ulmo.tokenizer import load_tokenizer

    spread = spread_of(options)
    clock = ClockSettings.read(cli.given(options, ClockSettings))
    tokenizer = load_tokenizer(
        options.pop("tokenizer"),
        threads=options.pop("threads"),
        unk_quantile=unk_quantile,
        **cli.given(options, Limits),
    ).with_sound(options.pop("time_expansion"), options.pop("full_scale"))
    channels = options.pop("channels") or tokenizer.manifest.prep.channels
    check_channels(channels)
    found = Sources.of(
        *(tokenizer, sources, Wanted(channels, clock=clock)),
        tokens=options.pop("tokens"),
        spread=spread,
        left_out=left_out,
    )
    Clock.of(clock).check(each.source.name for each in found.found)
    return found
