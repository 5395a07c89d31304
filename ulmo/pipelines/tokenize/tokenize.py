"""ulmo-tokenize: recordings become files of tokens.

files and folders -> plan -> recordings, in this process or in several -> files of tokens
                                              with --timeline: -> one file, gaps between them
"""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ulmo.config import NewerError, UserError
from ulmo.formats import FORMATS
from ulmo.formats.base import PLAIN
from ulmo.formats.checked import copy_npy
from ulmo.formats.folder import (
    TokenizeManifest,
    TokensLedger,
    folder_ledger,
    timeline_ledger,
    write_readme,
)
from ulmo.formats.header import TokensHeader
from ulmo.formats.places import HEADERS, TOKENS
from ulmo.formats.publish import (
    check_options,
    check_outputs,
    endings_of,
    is_file_name,
    output_paths,
    publish_tokens,
    read_whole,
    refuse_spoiling,
    remove_leftovers,
    remove_tokens,
    stream_paths,
    tokens_hash,
)
from ulmo.jobs.executor import Pool, worker_count
from ulmo.jobs.progress import Progress
from ulmo.pipelines.tokenize.job import Result, TokenizeOptions, tokenize_recording
from ulmo.pipelines.tokenize.plan import Planned, keep_apart, plan_outputs, plan_parts
from ulmo.pipelines.tokenize.timeline_file import Timeline, TimelineOutput, made_of, survey
from ulmo.preprocessing.reading.audio import check_channels
from ulmo.preprocessing.times.clock import Clock
from ulmo.storage.atomic import check_places, is_of_one_file, is_temporary, make_folder, staying
from ulmo.storage.faults import remove_any
from ulmo.storage.lock import LOCK, lock_path, locked, locked_name
from ulmo.storage.names import portable
from ulmo.storage.probe import is_probe
from ulmo.storage.walk import paths_in
from ulmo.tokenizer import Tokenizer


class Listener(NamedTuple):
    """Callbacks that report how a job goes."""

    begin: Callable[[int], Progress]  # called with the bytes of all inputs
    done: Callable[[Result], None]
    left_out: Counter[str] | None = None  # gets the files of sound that is not read, by kind


def tokenize_files(
    tokenizer: Tokenizer,
    sources: Sequence[Path],
    options: TokenizeOptions,
    *,
    out: Path | None = None,
    workers: int | None = None,
    listener: Listener,
) -> list[Result]:
    """Write the tokens of every recording. One that is refused has no outputs; the rest go on.

    `sources` are files and folders. `out` is a folder, or the file to write; None writes beside
    each recording. A folder gets a ledger as well (formats/folder.py), and
    recordings that it has already are not tokenized again.
    """
    _check(tokenizer, options)
    plan = plan_outputs(sources, out, options.file_format, options.channels, listener.left_out)
    _check_names(options, plan)
    if out is not None and len(plan) > 1 and is_file_name(out, options.file_format):
        return _tokenize_corpus(tokenizer, options, plan, out, workers, listener)
    if out is None or is_file_name(out, options.file_format):
        if out is None:
            plan = keep_apart(plan)
        with _tidying(plan, options.file_format):
            made = dict(_tokenize(tokenizer, options, plan, workers, listener))
        return [made[planned] for planned in plan]
    manifest = _manifest(tokenizer, options)
    plan = [planned.keyed(manifest.deciding()) for planned in plan]
    ledger = folder_ledger(out).resume(manifest, out)
    if (finished := _finished(ledger, options, plan)) is not None:
        return _report(finished, listener)
    make_folder(out)
    with locked(out / LOCK, out):
        ledger = folder_ledger(out).resume(manifest, out)
        write_readme(out, options.file_format)
        return _tokenize_missing(tokenizer, options, plan, ledger, workers, listener)


def _tokenize_corpus(
    tokenizer: Tokenizer,
    options: TokenizeOptions,
    plan: Sequence[Planned],
    out: Path,
    workers: int | None,
    listener: Listener,
) -> list[Result]:
    """Write the tokens of all recordings to one file, in their order.

    Each is tokenized by itself, as for a timeline. If all are refused, nothing is written, and an
    older file is removed.
    """
    alone = options._replace(file_format="npy")
    settings = _manifest(tokenizer, alone)
    plan = [planned.keyed(settings.deciding()) for planned in plan]
    outputs = output_paths(out, options.file_format)
    _check_places(out, (*outputs.files, outputs.header, outputs.vocabulary))
    check_outputs(outputs)
    names = {portable(planned.name) for planned in plan}

    def is_same(stored: Sequence[TokensHeader]) -> bool:
        others = {header.recording for header in stored} - names
        return not others and stored[0].fingerprint == tokenizer.manifest.fingerprint

    refuse_spoiling(outputs, is_same)

    def joined(result: Result) -> Result:
        return result._replace(outputs=[out] * len(result.outputs))

    def done(result: Result) -> None:
        listener.done(joined(result))

    hearing = listener._replace(done=done)
    make_folder(out.parent)
    with locked(lock_path(out), out):
        ledger = _parts_ledger(plan[0].folder, settings)
        make_folder(plan[0].folder, below=out.parent)
        results = _tokenize_missing(tokenizer, alone, plan, ledger, workers, hearing)
        if any(result.outputs for result in results):
            with publish_tokens(out, options.file_format, corpus=True) as writer:
                for result in results:
                    for path, stored in made_of(result):
                        copy_npy(path, stored, writer)
        else:
            remove_tokens(outputs)
        remove_any(plan[0].folder)
        remove_leftovers([out], options.file_format)
    return [joined(result) for result in results]


def tokenize_timeline(
    tokenizer: Tokenizer,
    sources: Sequence[Path],
    options: TokenizeOptions,
    *,
    out: Path,
    workers: int | None = None,
    listener: Listener,
) -> tuple[list[Result], Timeline | None]:
    """Write the tokens of consecutive recordings to one file, with `<gap>` between them.

    Each recording is tokenized by itself, into a hidden folder beside `out` that a job started
    again finds. Refused recordings become gaps; if all are refused, nothing is written. A ledger
    lies beside `out`; if it has the same recordings, nothing is done. Raises UserError, before any
    is tokenized, if the time of one is not known, or if they overlap.
    """
    _check(tokenizer, options)
    if options.channels == "each":
        raise UserError("a timeline has one channel: set --channels to mix, or to a number")
    if not is_file_name(out, options.file_format):
        raise UserError(
            f"--timeline makes one file, and {out} is no name for one: "
            f"set --out to NAME{FORMATS[options.file_format].suffixes[0]}"
        )
    alone = options._replace(file_format="npy", options=PLAIN, gaps="omit")
    settings = _manifest(tokenizer, alone)
    parts = plan_parts(sources, out, listener.left_out)
    plan = [planned.keyed(settings.deciding()) for planned in parts]
    _check_names(options, plan)

    def opened() -> TimelineOutput:
        ledger = timeline_ledger(out)
        outputs = output_paths(out, options.file_format)
        _check_places(out, (*outputs.files, outputs.header, *ledger.files))
        check_outputs(outputs)
        ledger.resume(_manifest(tokenizer, options), out)
        return TimelineOutput(out, options, ledger, plan)

    joined = opened()
    if joined.is_finished:
        return _report(joined.results, listener), joined.timeline
    survey(tokenizer, options, [planned.source for planned in plan])
    make_folder(out.parent)
    with locked(lock_path(out), out):
        joined = opened()
        if joined.timeline is not None:
            results = _report(joined.results, listener)
        else:
            ledger = _parts_ledger(plan[0].folder, settings)
            make_folder(plan[0].folder, below=out.parent)
            results = _tokenize_missing(tokenizer, alone, plan, ledger, workers, listener)
            joined.write(results)
        joined.tidy()
    return results, joined.timeline


def _check_places(out: Path, paths: Sequence[Path]) -> None:
    """Raise UserError if a timeline, or what lies beside it, cannot have its name."""
    try:
        check_places(paths)
    except OSError as error:
        if not is_of_one_file(error):
            raise
        raise UserError(
            f"{out} cannot be written ({error.strerror}): choose another --out"
        ) from None


def _parts_ledger(parts: Path, manifest: TokenizeManifest) -> TokensLedger:
    """The ledger of a timeline's parts; parts of other settings, or damaged, are removed."""
    try:
        return folder_ledger(parts).resume(manifest, parts)
    except NewerError:
        raise
    except UserError:
        remove_any(parts)
        return folder_ledger(parts).resume(manifest, parts)


def _check(tokenizer: Tokenizer, options: TokenizeOptions) -> None:
    """Raise UserError for options that cannot be met, before any recording is opened."""
    Clock.of(options.clock)
    check_channels(options.channels)
    tokenizer.check_batch(options.batch_size)
    check_options(options.options, options.file_format, tokenizer.vocabulary.size)


def _check_names(options: TokenizeOptions, plan: Sequence[Planned]) -> None:
    """Raise UserError if the user's pattern fits none of the recordings' names."""
    Clock.of(options.clock).check(planned.source.name for planned in plan)


def _manifest(tokenizer: Tokenizer, options: TokenizeOptions) -> TokenizeManifest:
    ids = options.options.ids
    return TokenizeManifest(
        tokenizer=tokenizer.manifest.fingerprint,
        unk_quantile=tokenizer.unk_quantile,
        time_expansion=tokenizer.prep.time_expansion,
        full_scale=tokenizer.prep.full_scale,
        file_format=options.file_format,
        channels=options.channels,
        clock=options.clock,
        gaps=options.gaps,
        ids=None if ids is None else tuple(sorted(ids)),
        min_columns=options.options.min_columns,
    )


def _finished(
    ledger: TokensLedger, options: TokenizeOptions, plan: Sequence[Planned]
) -> list[Result] | None:
    """The results of an earlier job, if they are all that is wanted and nothing is left over."""
    if not ledger.is_finished(planned.key for planned in plan):
        return None
    targets = [output_paths(planned.target, options.file_format) for planned in plan]
    folders = {path.parent for each in targets for path in (*each.files, each.header)}
    folders.add(ledger.files.manifest.parent)
    found = [_earlier(ledger, options, planned) for planned in plan]
    results = [result for result in found if result is not None]
    names = (path for folder in folders for path in paths_in(folder))
    is_left = any(is_temporary(p) or is_probe(p) or locked_name(p) is not None for p in names)
    return results if len(results) == len(plan) and not is_left else None


def _earlier(ledger: TokensLedger, options: TokenizeOptions, planned: Planned) -> Result | None:
    """What an earlier job made of a recording, if its files are as they were written."""
    rows = ledger.done(planned.key)
    if not rows or rows[0].status == "refused" or planned.blocked:
        return None
    row = rows[0]
    if not (row.stretches or row.outputs):  # nothing triggered it
        return Result(planned.source, [], row, reused=True)
    if not row.channels:
        return None
    channels = range(row.channels) if options.channels == "each" else [None]
    outputs = stream_paths(planned.target, channels)
    names = tuple(portable(path.relative_to(planned.folder)) for path in outputs)
    there = []
    for output in outputs:
        try:
            stored = read_whole(output_paths(output, options.file_format))
        except (UserError, OSError, ValueError):
            return None
        header, *others = stored.headers
        there.append(stored)
        found = (header.fingerprint, header.unk_quantile, header.recording, header.columns)
        made = ledger.manifest
        if others or found != (made.tokenizer, made.unk_quantile, row.path, row.columns):
            return None
    unknown = sum(stored.header.unknown for stored in there)
    digest = tokens_hash(there, endings_of(options.file_format))
    if (names, unknown, digest) != (row.outputs, row.unknown, row.tokens_sha256):
        return None
    return Result(planned.source, outputs, row, reused=True)


def _tokenize_missing(
    tokenizer: Tokenizer,
    options: TokenizeOptions,
    plan: Sequence[Planned],
    ledger: TokensLedger,
    workers: int | None,
    listener: Listener,
) -> list[Result]:
    """Tokenize the recordings that the ledger does not have, or has as refused."""
    folder = plan[0].folder
    for name in (TOKENS, HEADERS):
        make_folder(folder / name, below=folder)
    plan = keep_apart(plan)
    found = {planned: _earlier(ledger, options, planned) for planned in plan}
    made = {planned: result for planned, result in found.items() if result is not None}
    missing = [planned for planned in plan if planned not in made]
    with (
        staying(folder),
        _tidying(plan, options.file_format),
        ledger.writing((planned.key for planned in made), len(plan)),
        closing(_tokenize(tokenizer, options, missing, workers, listener)) as fresh,
    ):
        for result in made.values():
            listener.done(result)
        for planned, result in fresh:
            ledger.add(result.outcome.key, [result.outcome])
            made[planned] = result
        ledger.finish(made[planned].outcome.key for planned in plan)
    return [made[planned] for planned in plan]


def _report(results: list[Result], listener: Listener) -> list[Result]:
    """Report results of an earlier job."""
    listener.begin(0)
    for result in results:
        listener.done(result)
    return results


@contextmanager
def _tidying(plan: Sequence[Planned], file_format: str) -> Iterator[None]:
    """At the end, the folders of the outputs hold nothing that is not complete."""
    try:
        yield
    finally:
        remove_leftovers((planned.target for planned in plan), file_format)


def _tokenize(
    tokenizer: Tokenizer,
    options: TokenizeOptions,
    plan: Sequence[Planned],
    workers: int | None,
    listener: Listener,
) -> Generator[tuple[Planned, Result], None, None]:
    """Each recording as it ends, which with several workers is not the order of the plan."""
    workers = worker_count(workers, len(plan))
    if workers == 1:
        job = partial(tokenize_recording, tokenizer, options)
    else:
        ref = tokenizer.ref
        ref = ref._replace(threads=ref.threads or max((os.cpu_count() or 1) // workers, 1))
        job = partial(tokenize_recording, ref, options)
    size = sum(_size_of(planned.source) for planned in plan)
    with Pool(workers, listener.begin(size)) as pool:
        for planned, result in pool.each(job, plan):
            listener.done(result)
            yield planned, result


def _size_of(path: Path) -> int:
    """Bytes of a file; 0 if it cannot be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
