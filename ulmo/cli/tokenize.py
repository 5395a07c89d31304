"""The command ulmo-tokenize: parse, then one call."""

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from ulmo.cli import listening
from ulmo.cli import options as cli
from ulmo.cli.exits import AGAIN, SOME_REFUSED, guarded
from ulmo.cli.output import Output
from ulmo.cli.spread import spread_of, spread_options
from ulmo.config import ClockSettings, Limits, UserError


@cli.command(
    short_help="Recordings to tokens.",
    examples=("ulmo-tokenize bird.wav", "ulmo-tokenize recordings/ --out-dir tokens/"),
)
@cli.version_option
@listening.sources_argument
@listening.tokenizer_option
@listening.channels_option
@cli.option(
    "--unk-quantile",
    type=float,
    metavar="Q",
    group="Tokenizer",
    help="Write <unk> for tokens that are further from their code than this share of the training "
    "tokens was: 0.9, 0.95, 0.99 or 0.999.  [default: no <unk>]",
)
@listening.time_expansion_option
@listening.full_scale_option
@cli.option(
    "--out",
    type=cli.OUTPUT,
    group="Output",
    help="A folder, or a file: of one recording, or one table of all, as all.csv.  "
    "[default: beside each recording]",
)
@cli.option(
    "--out-dir", type=cli.OUTPUT, group="Output", help="A folder, whatever its name looks like."
)
@cli.option(
    "--format",
    "file_format",
    type=cli.Lazy(cli.all_formats),
    group="Output",
    help="Format to write.  [default: as --out ends, else npy]",
)
@cli.option(
    "--timeline",
    is_flag=True,
    group="Output",
    help="Join all recordings in the one file --out, with <gap> where there is no sound.",
)
@cli.option(
    "--gaps",
    type=click.Choice(["keep", "one", "omit"]),
    default="keep",
    group="Output",
    help="Time in which nothing was recorded: keep its length in <gap>, write one column, or omit "
    "it. With one and omit, the header says when each part was recorded.  [default: keep]",
)
@cli.ids_option
@cli.min_columns_option
@cli.settings_options(ClockSettings)
@spread_options
@listening.threads_option
@cli.option(
    "--batch-size",
    type=click.IntRange(1, 1024),
    default=1,
    help="Stretches of sound encoded at once.  [default: 1]",
)
@cli.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    help="Where to compute.  [default: cpu]",
)
@cli.settings_options(Limits)
@cli.quiet_option
@cli.json_option
@guarded
def tokenize(
    sources: tuple[Path, ...],
    tokenizer: Path | str | None,
    out: Path | None,
    out_dir: Path | None,
    channels: str | None,
    unk_quantile: float | None,
    time_expansion: float | None,
    full_scale: float | None,
    threads: int,
    device: Literal["cpu", "cuda"],
    timeline: bool,
    ids: frozenset[int] | None,
    min_columns: int,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Write the tokens of each recording: x.wav becomes x.tokens.npy, int32 (time, band).

    All recordings below a FOLDER are taken, which may lie in a store, as s3://bucket/field
    (docs/urls.md). With a folder as output, run the same command again to go on after an
    interruption.
    """
    from ulmo.formats.base import Labelling
    from ulmo.formats.publish import format_of
    from ulmo.pipelines.tokenize.job import TokenizeOptions
    from ulmo.pipelines.tokenize.plan import choose_output
    from ulmo.pipelines.tokenize.tokenize import Listener, tokenize_files, tokenize_timeline
    from ulmo.reports.progress import unread_line, untimed_line
    from ulmo.reports.sound import flag_lines, tokens_line
    from ulmo.reports.tokenize import (
        TokenizeProgress,
        Totals,
        timeline_line,
        tokenize_summary,
        tokenized_line,
    )
    from ulmo.storage.names import path_text
    from ulmo.storage.remote_path import RemotePath
    from ulmo.tokenizer import load_tokenizer

    spread = spread_of(flags)
    flags["file_format"] = flags["file_format"] or format_of(out)
    out = choose_output(out, out_dir)
    clock = ClockSettings.read(cli.given(flags, ClockSettings))
    loaded = load_tokenizer(
        tokenizer,
        threads=threads,
        device=device,
        unk_quantile=unk_quantile,
        **cli.given(flags, Limits),
    ).with_sound(time_expansion, full_scale)
    wanted = TokenizeOptions(
        labelling=Labelling(ids, min_columns),
        channels=channels or loaded.manifest.prep.channels,
        clock=clock,
        **flags,
    )
    if timeline and out is None:
        raise UserError("--timeline makes one file of all: name it with --out")
    many = timeline or any(source.is_dir() for source in sources)
    shown, joined = Output(as_json, quiet), None
    left_out: Counter[str] = Counter()
    with TokenizeProgress(quiet=quiet) as progress:

        def done(result: Any) -> None:
            refused = result.outcome.status == "refused"
            if refused or (shown.in_words and not (many and result.outputs)):
                progress.line(tokenized_line(result), error=refused)

        def begin(size: int) -> Any:
            if many and size and shown.in_words:
                click.echo(tokens_line(loaded.prep, loaded.manifest.model))
            return progress.begin(size)

        listener = Listener(begin, done, left_out, partial(progress.line, error=True))
        try:
            if timeline and out:
                results, joined = tokenize_timeline(
                    loaded, sources, wanted, out=out, spread=spread, listener=listener
                )
            elif isinstance(out, RemotePath):
                from ulmo.pipelines.tokenize.store import tokenize_to_store

                results = tokenize_to_store(
                    loaded, sources, wanted, out=out, spread=spread, listener=listener
                )
            else:
                results = tokenize_files(
                    loaded, sources, wanted, out=out, spread=spread, listener=listener
                )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(AGAIN) from None
    hop = loaded.prep.hop_length * loaded.manifest.model.time_stride
    totals = Totals.of(results, hop if flags["gaps"] == "keep" else None)
    status = SOME_REFUSED if totals.statuses["refused"] else 0
    lost = flag_lines(totals.flags, time_expansion=loaded.prep.time_expansion)

    def words() -> str:
        in_folder = timeline or out is None or out.is_dir()
        output = []
        if not in_folder:
            paths = dict.fromkeys(path_text(path) for result in results for path in result.outputs)
            output = [f"output      {', '.join(paths) or 'none'}"]
        folder = out if in_folder and not timeline else None
        return tokenize_summary(totals, folder, left_out, [*lost, *output], timeline=joined)

    def facts() -> dict[str, Any]:
        from ulmo.reports.as_json import tokenize_json

        return tokenize_json(results, totals, status, out=out, timeline=joined, left_out=left_out)

    if many or as_json:
        shown.show(words, facts)
    elif lost and shown.in_words:
        click.echo("\n".join(lost))
    if joined and shown.in_words:
        click.echo(timeline_line(joined))
    if clock.timestamp_pattern and totals.untimed and not quiet:
        click.echo(untimed_line(totals.untimed, len(results)), err=True)
    if totals.unread and not quiet:
        click.echo(unread_line(totals.unread, len(results)), err=True)
    sys.exit(status)
