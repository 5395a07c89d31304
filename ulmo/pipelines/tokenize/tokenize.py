"""ulmo-tokenize: recordings become files of tokens.

files and folders -> plan -> recordings, in this process or in several -> files of tokens
                                              with --timeline: -> one file, gaps between them
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ulmo.config import NewerError, UserError
from ulmo.formats import FORMATS
from ulmo.formats.base import ALL_RUNS
from ulmo.formats.checked import copy_npy
from ulmo.formats.folder import (
    TokenizeManifest,
    TokensLedger,
    folder_ledger,
    timeline_ledger,
)
from ulmo.formats.header import TokensHeader
from ulmo.formats.places import HEADERS, STEM, TOKENS, header_path
from ulmo.formats.publish import (
    check_labelling,
    check_outputs,
    is_file_name,
    output_paths,
    publish_tokens,
    refuse_spoiling,
    remove_leftovers,
    remove_tokens,
    stream_paths,
)
from ulmo.formats.readme import foreign_lines, lacks_readme, write_readme
from ulmo.jobs.executor import evenly
from ulmo.jobs.inputs import input_file, sizes_of
from ulmo.jobs.progress import Progress
from ulmo.jobs.spread import BY_FILES, HERE, Spread
from ulmo.listening.worker_tokenizer import for_jobs
from ulmo.pipelines.tokenize.as_written import is_as_written
from ulmo.pipelines.tokenize.batch import each_result
from ulmo.pipelines.tokenize.earlier import Earlier
from ulmo.pipelines.tokenize.job import Result, TokenizeOptions, by_name, tokenize_recording
from ulmo.pipelines.tokenize.keys import keyed
from ulmo.pipelines.tokenize.made import Made
from ulmo.pipelines.tokenize.parts import Parts, made_of, parts_of, stays
from ulmo.pipelines.tokenize.plan import Planned, keep_apart, plan_outputs, plan_parts, targets_of
from ulmo.pipelines.tokenize.timeline_file import Timeline, TimelineOutput, survey
from ulmo.preprocessing.reading.audio import check_channels
from ulmo.preprocessing.times.clock import Clock
from ulmo.storage.atomic import check_places, is_of_one_file, is_temporary, make_folder, staying
from ulmo.storage.faults import reading_error, remove_any
from ulmo.storage.lock import LOCK, lock_path, locked, locked_name
from ulmo.storage.names import portable
from ulmo.storage.packed import Anew, Index, Packed
from ulmo.storage.probe import is_probe
from ulmo.storage.sealed import fingerprint
from ulmo.storage.walk import hidden_in
from ulmo.tokenizer import Tokenizer


class Listener(NamedTuple):
    """Callbacks that report how a job goes."""

    begin: Callable[[int], Progress]  # called with the bytes of all inputs
    done: Callable[[Result], None]
    left_out: Counter[str] | None = None  # gets the files of sound that is not read, by kind
    warn: Callable[[str], None] = lambda _: None  # called with a line for the user to act upon


def tokenize_files(
    tokenizer: Tokenizer,
    sources: Sequence[Path],
    options: TokenizeOptions,
    *,
    out: Path | None = None,
    spread: Spread = BY_FILES,
    listener: Listener,
) -> Sequence[Result]:
    """Write the tokens of every recording. One that is refused has no outputs; the rest go on.

    `sources` are files and folders. `out` is a folder, or the file to write; None writes beside
    each recording. A folder gets a ledger as well (formats/folder.py), and recordings that it has
    already are not tokenized again.
    """
    job = _Job(tokenizer, options, spread, listener)
    job.check()
    plan = plan_outputs(sources, out, options.file_format, options.channels, listener.left_out)
    job.check_names(plan)
    if out is not None and len(plan) > 1 and is_file_name(out, options.file_format):
        return _tokenize_corpus(job, plan, out)
    if out is None or is_file_name(out, options.file_format):
        if out is None:
            plan = keep_apart(plan)
        else:  # it has no lock, which would show that other machines write to the same place
            job = job._replace(spread=HERE)
        made, places = Packed[Result](), Index()
        with job.tidying(plan), closing(job.tokenize(plan)) as fresh:
            for planned, result in fresh:
                listener.done(result)
                places[str(planned.source)] = len(made)
                made.append(result)
        return Packed(made[places[str(planned.source)]] for planned in plan)
    manifest = job.manifest()
    plan = Packed(keyed(plan, fingerprint(manifest.deciding())))
    ledger = folder_ledger(out).resume(manifest, out)
    for line in foreign_lines(out, options.file_format):
        listener.warn(line)
    if (finished := job.finished(ledger, plan)) is not None:
        return job.report(finished)
    make_folder(out)
    del ledger  # it holds the bytes of a table
    with locked(out / LOCK, out):
        ledger = folder_ledger(out).resume(manifest, out)
        write_readme(out, options.file_format)
        return job.tokenize_missing(plan, ledger)


def _tokenize_corpus(job: "_Job", plan: Sequence[Planned], out: Path) -> Sequence[Result]:
    """Write the tokens of all recordings to one file, in their order.

    Each is tokenized by itself, as for a timeline. If all are refused, nothing is written, and an
    older file is removed; but see `stays`.
    """

    def joined(result: Result) -> Result:
        return result._replace(outputs=[out] * len(result.outputs))

    def done(result: Result) -> None:
        job.listener.done(joined(result))

    def is_same(stored: Sequence[TokensHeader]) -> bool:
        others = {header.recording for header in stored} - names
        return not others and stored[0].fingerprint == job.tokenizer.manifest.fingerprint

    parts = job._replace(
        options=job.options._replace(file_format="npy"), listener=job.listener._replace(done=done)
    )
    plan = list(keyed(plan, fingerprint(parts.manifest().deciding())))
    outputs = output_paths(out, job.options.file_format)
    _check_places(out, (*outputs.files, outputs.header, outputs.vocabulary))
    check_outputs(outputs)
    names = {portable(planned.name) for planned in plan}
    refuse_spoiling(outputs, is_same)
    make_folder(out.parent)
    with locked(lock_path(out), out):
        results, joins = made = parts.tokenize_parts(plan, out)
        if line := stays(outputs, made):
            job.listener.warn(line)
            results = [result._replace(outputs=[]) for result in results]
        elif any(part.outputs for part in joins):
            with publish_tokens(out, job.options.file_format, corpus=True) as writer:
                for part in joins:
                    for path, stored in made_of(part):
                        copy_npy(path, stored, writer)
        else:
            remove_tokens(outputs)
        if not (line and made.has_earlier):
            remove_any(plan[0].folder)
        remove_leftovers([out], job.options.file_format)
    return [joined(result) for result in results]


def tokenize_timeline(
    tokenizer: Tokenizer,
    sources: Sequence[Path],
    options: TokenizeOptions,
    *,
    out: Path,
    spread: Spread = BY_FILES,
    listener: Listener,
) -> tuple[Sequence[Result], Timeline | None]:
    """Write the tokens of consecutive recordings to one file, with `<gap>` between them.

    Each recording is tokenized by itself, into a hidden folder beside `out` that a job started
    again finds. Refused recordings become gaps; if all are refused, nothing is written; but see
    `stays`. A ledger lies beside `out`; if it has the same recordings, nothing is done. Raises
    UserError, before any is tokenized, if the time of one is not known, or if they overlap.
    """
    job = _Job(tokenizer, options, spread, listener)
    job.check()
    if options.channels == "each":
        raise UserError("a timeline has one channel: set --channels to mix, or to a number")
    if not is_file_name(out, options.file_format):
        raise UserError(
            f"--timeline makes one file, and {out} is no name for one: "
            f"set --out to NAME{FORMATS[options.file_format].suffixes[0]}"
        )
    alone = options._replace(file_format="npy", labelling=ALL_RUNS, gaps="omit")
    parts = job._replace(options=alone)
    found = plan_parts(sources, out, options.file_format, listener.left_out)
    plan = list(keyed(found, fingerprint(parts.manifest().deciding())))
    job.check_names(plan)

    def opened() -> TimelineOutput:
        ledger = timeline_ledger(out)
        outputs = output_paths(out, options.file_format)
        _check_places(out, (*outputs.files, outputs.header, *ledger.files))
        check_outputs(outputs)
        return TimelineOutput(out, options, ledger.resume(job.manifest(), out), plan)

    joined = opened()
    if joined.is_finished:
        return job.report(joined.results), joined.timeline
    survey(tokenizer, options, [planned.source for planned in plan])
    make_folder(out.parent)
    with locked(lock_path(out), out):
        joined = opened()
        keep_parts = False
        if joined.timeline is not None:
            results = job.report(joined.results)
        else:
            made = parts.tokenize_parts(plan, out)
            if line := stays(output_paths(out, options.file_format), made):
                listener.warn(line)
                results = [result._replace(outputs=[]) for result in made.results]
                keep_parts = made.has_earlier
            else:
                joined.write(made.joined)
                done = {part.source: part for part in joined.results}
                results = [each if each.kept else done[each.source] for each in made.results]
        joined.tidy(keep_parts=keep_parts)
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


class _Job(NamedTuple):
    """How recordings are tokenized, and which callbacks report progress."""

    tokenizer: Tokenizer
    options: TokenizeOptions
    spread: Spread
    listener: Listener

    def check(self) -> None:
        """Raise UserError for options that cannot work, before any recording is opened."""
        options = self.options
        Clock.of(options.clock)
        check_channels(options.channels)
        self.tokenizer.check_batch(options.batch_size)
        check_labelling(options.labelling, options.file_format, self.tokenizer.vocabulary.size)

    def check_names(self, plan: Sequence[Planned]) -> None:
        """Raise UserError if the user's pattern fits none of the recordings' names."""
        Clock.of(self.options.clock).check(planned.source.name for planned in plan)

    def manifest(self) -> TokenizeManifest:
        """The manifest of a new output."""
        tokenizer, options = self.tokenizer, self.options
        labelled = options.labelling
        return TokenizeManifest(
            tokenizer=tokenizer.manifest.fingerprint,
            unk_quantile=tokenizer.unk_quantile,
            time_expansion=tokenizer.prep.time_expansion,
            full_scale=tokenizer.prep.full_scale,
            file_format=options.file_format,
            channels=options.channels,
            clock=options.clock,
            gaps=options.gaps,
            ids=None if labelled.ids is None else tuple(sorted(labelled.ids)),
            min_columns=labelled.min_columns,
        )

    def finished(self, ledger: TokensLedger, plan: Sequence[Planned]) -> Sequence[Result] | None:
        """The results of an earlier job, if they are all that is wanted and nothing is left."""
        place = ledger.files.manifest.parent
        if not ledger.is_finished(planned.key for planned in plan):
            return None
        if lacks_readme(place, self.options.file_format):
            return None
        results, folders = Packed[Result](), set[Path]()
        for planned in plan:
            if (result := self._earlier(ledger, planned)) is None:
                return None
            results.append(result)
            folders.add(planned.target.parent)
        folders |= {place, *(header_path(folder / STEM).parent for folder in folders)}
        names = (path for folder in folders for path in hidden_in(folder))
        is_left = any(is_temporary(p) or is_probe(p) or locked_name(p) is not None for p in names)
        return None if is_left else results

    def _earlier(self, ledger: TokensLedger, planned: Planned) -> Result | None:
        """What an earlier job made of a recording, if its files are as they were written."""
        rows = ledger.done(planned.key)
        if not rows or rows[0].status == "refused" or planned.blocked:
            return None
        row = rows[0]
        if not (row.stretches or row.outputs):  # nothing triggered it
            return Result(planned.source, [], row, reused=True)
        if not row.channels:
            return None
        channels = range(row.channels) if self.options.channels == "each" else [None]
        outputs = stream_paths(planned.target, channels)
        names = tuple(portable(path.relative_to(planned.folder)) for path in outputs)
        if names != row.outputs or not is_as_written(outputs, row, ledger.manifest):
            return None
        return Result(planned.source, outputs, row, reused=True)

    def report(self, results: Sequence[Result]) -> Sequence[Result]:
        """Report results of an earlier job."""
        self.listener.begin(0)
        for result in results:
            self.listener.done(result)
        return results

    def tokenize_parts(self, plan: Sequence[Planned], out: Path) -> Parts:
        """Tokenize to a hidden folder beside `out`; what it has of other settings is removed.

        Raises UserError if recordings cannot be read now: it may have the only tokens of them.
        """
        folder, manifest = plan[0].folder, self.manifest()
        try:
            ledger = folder_ledger(folder).resume(manifest, folder)
        except NewerError:
            raise
        except UserError as error:  # or it is damaged
            if reading_error(error) or any(input_file(each.source).unread for each in plan):
                raise
            remove_any(folder)
            ledger = folder_ledger(folder).resume(manifest, folder)
        make_folder(folder, below=out.parent)
        return parts_of(plan, self.tokenize_missing(plan, ledger))

    def tokenize_missing(self, plan: Sequence[Planned], ledger: TokensLedger) -> Sequence[Result]:
        """Tokenize the recordings that the ledger does not have, or has as refused.

        One that cannot be read now keeps its earlier row and its tokens, if they are whole.
        """
        folder = plan[0].folder
        for name in (TOKENS, HEADERS):
            make_folder(folder / name, below=folder)
        plan = keep_apart(plan)
        made, missing = Made(ledger, plan), Packed[Planned]()
        for planned in plan:
            if (result := self._earlier(ledger, planned)) is None:
                missing.append(planned)
            else:
                made.reuse(planned, result)
        earlier = Earlier(ledger, folder, plan, made.keys)
        with (
            staying(folder),
            self.tidying(plan),
            ledger.writing(made.kept_keys(), len(plan), others=earlier.keys),
            closing(self.tokenize(missing, earlier)) as fresh,
        ):
            for planned, result in made.reused():
                self.listener.done(by_name(planned, result))
            for planned, result in fresh:
                row = result.outcome
                ledger.add(row.key, [row])
                kept = earlier.settle(planned, row)
                made.add(planned, result := result._replace(kept=bool(kept), earlier=tuple(kept)))
                self.listener.done(by_name(planned, result))
            return made.finish(earlier)

    @contextmanager
    def tidying(self, plan: Sequence[Planned]) -> Iterator[None]:
        """At the end, the folders of the outputs hold nothing that is not complete."""
        try:
            yield
        finally:
            file_format = self.options.file_format
            remove_leftovers(Anew(lambda: targets_of(plan, file_format)), file_format)

    def tokenize(
        self, plan: Sequence[Planned], earlier: Earlier | None = None
    ) -> Generator[tuple[Planned, Result], None, None]:
        """Each recording as it ends, which with several workers is not the order of the plan."""
        tokenizer, ready = for_jobs(self.tokenizer, self.spread, len(plan))
        size = sum(sizes_of(planned.source for planned in plan))
        first, later = earlier.in_turn(plan) if earlier else (plan, [])
        with self.spread.open(
            len(plan),
            self.listener.begin(size),
            inputs=[planned.source for planned in evenly(plan)],
            ready=ready,
        ) as executor:
            job = partial(tokenize_recording, tokenizer, self.options)
            yield from each_result(executor, job, first)
            if earlier and later:
                room = {earlier.made_room(planned): planned for planned in later}
                for planned, result in each_result(executor, job, room):
                    yield room[planned], result
