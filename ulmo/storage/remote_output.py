"""An output in a store: the job writes to a folder of this computer, which is put there.

    CACHE/ulmo/outputs/HASH/output     as a job writes any output, with its journal
    CACHE/ulmo/outputs/HASH/put.jsonl  what has been put: nothing is put twice

Objects are put while the job runs, then the journal that names them; at the end the tables, and the
manifest last: what a record names is there. A job that was killed goes on from this folder. On
another host it goes on from the store: what the journal there names is not done again. The folder
goes once everything is put.
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, Self

from ulmo.config import JobError, UserError
from ulmo.storage.atomic import is_temporary, make_folder, make_folders
from ulmo.storage.lease import LEASE, Lease
from ulmo.storage.lock import locked, locked_name
from ulmo.storage.manifest import LedgerFiles
from ulmo.storage.names import path_text, portable
from ulmo.storage.plain_file import append_to, create_file, lexists, signature_at
from ulmo.storage.probe import is_probe
from ulmo.storage.remote_path import RemotePath
from ulmo.storage.removal import remove_if_possible
from ulmo.storage.sealed import seal, sealed_values
from ulmo.storage.store_answers import reaching
from ulmo.storage.together import together
from ulmo.storage.walk import walk

STAGING = "ULMO_STAGING"  # a folder for outputs on their way to a store, in place of the cache
_BATCH = 256  # files that are put together
_COPIED_BYTES = 1 << 22
_EVERY_SECONDS = 10.0
_MOST_SHARE = 0.05  # of the time, to look for files to be put
_Seen = tuple[int, ...]  # size, time and inode of a file that was put


class Records(NamedTuple):
    """The names of the files that say what an output has."""

    manifest: str
    journal: str
    tables: tuple[str, ...]
    others: tuple[str, ...]  # manifests of other commands
    replacing: str  # a folder in which an output is made that replaces this one; empty: none

    @classmethod
    def of(cls, command: str, *tables: str, replacing: str = "") -> Self:
        """Those of a command, with other tables beside that of its ledger."""
        files = LedgerFiles.inside(Path(), command)
        others = tuple(path.name for path in files.of_others.values())
        own = (*tables, files.table.name)
        return cls(files.manifest.name, files.journal.name, own, others, replacing)


@contextmanager
def staged_output(out: RemotePath, records: Records) -> Iterator[Path]:
    """A folder to write an output to, which is then put into a store.

    Raises UserError if nothing can be put there, LockError if another job writes there, and the
    errors of the block: their lines name `out`.
    """
    if not out.takes_objects:
        raise UserError(f"{path_text(out)}: nothing can be put there: choose a store, as s3://")
    base = _staging() / sha256(str(out).encode()).hexdigest()[:32]
    make_folder(base.parent, f"set {STAGING}")
    lock = base.with_name(f".{base.name}.lock")
    with locked(lock, out), _naming(base / "output", out):
        make_folder(base, f"set {STAGING}")
        lease = Lease(out, _owner(base / "owner"))
        mirror = _Mirror(out, base, records, lease)
        try:
            _check_free(out, records)
            with lease.held(lambda: mirror.is_unfinished) as was_ours:
                if was_ours and lexists(base / "ready"):
                    mirror.go_on()
                else:
                    mirror.fetch()
                with mirror.putting():
                    yield base / "output"
                mirror.finish()
        finally:
            if not mirror.is_unfinished:
                remove_if_possible(base)


def _staging() -> Path:
    if named := os.environ.get(STAGING):
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ulmo" / "outputs"


def _owner(path: Path) -> str:
    """The random name of a staging folder."""
    with suppress(FileNotFoundError):
        if len(found := path.read_text(encoding="ascii")) == 32:
            return found
        path.unlink()
    with create_file(path) as file:
        file.write((made := secrets.token_hex(16)).encode())
    return made


def _check_free(out: RemotePath, records: Records) -> None:
    """Raise UserError if other things than an output of ulmo lie there."""
    try:
        names = {str(each) for each in out.below()}
    except FileNotFoundError:
        raise UserError(f"{out} cannot be made: make {out.bucket} first") from None
    if names and not names & {LEASE, records.manifest, *records.others}:
        raise UserError(f"{out} exists and holds other things: choose a new folder")


@contextmanager
def _naming(folder: Path, out: RemotePath) -> Iterator[None]:
    """Name the output in lines that name its folder here; errors of this disk stay as they are."""
    try:
        yield
    except (UserError, JobError) as error:
        text = str(error)
        if str(folder) not in text:
            raise
        kind = JobError if isinstance(error, JobError) else UserError
        raise kind(text.replace(str(folder), str(out))) from None


class _Mirror:
    """A folder and the objects below `out`."""

    def __init__(self, out: RemotePath, base: Path, records: Records, lease: Lease) -> None:
        self._out = out
        self._base = base
        self._folder = base / "output"
        self._records = records
        self._lease = lease
        self._log = base / "put.jsonl"
        self._known: dict[str, _Seen | None] = self._read_log()

    @property
    def is_unfinished(self) -> bool:
        """Whether there is a job here that has not ended, or anything that has yet to be put."""
        if not lexists(self._base / "ready"):
            return False
        names = {str(name): self._seen(name) for name in (*self._objects(), *self._last())}
        return lexists(self._folder / self._records.journal) or names != self._known

    def _read_log(self) -> dict[str, _Seen | None]:
        """What was put, or was about to be put (None), by name."""
        known: dict[str, _Seen | None] = {}
        with suppress(FileNotFoundError), self._log.open(encoding="utf-8") as lines:
            for line in lines:
                with suppress(ValueError):  # a kill cut the last one
                    name, seen = json.loads(line)
                    known[name] = None if seen is None else tuple(seen)
        return known

    def _note(self, names: Sequence[str], seen: Sequence[_Seen | None]) -> None:
        if not lexists(self._log):
            create_file(self._log).close()
        with append_to(self._log) as file:
            for name, each in zip(names, seen, strict=True):
                self._known[name] = each
                file.write(f"\n{json.dumps([name, each])}\n".encode())

    def go_on(self) -> None:
        """Go on from the folder: what has gone from the store meanwhile is put again."""
        there = {str(name) for name in self._out.below()}
        gone = [name for name, seen in self._known.items() if seen and name not in there]
        self._note(gone, [None] * len(gone))

    def fetch(self) -> None:
        """Make the folder anew from what is in the store."""
        for name in ("ready", "put.jsonl"):
            (self._base / name).unlink(missing_ok=True)
        if lexists(self._folder):
            shutil.rmtree(self._folder)
        self._known = {}
        names = [each for each in self._out.below() if str(each) != LEASE]
        for each in {name.parent for name in names}:
            make_folders(self._folder / each)
        for first in range(0, len(names), _BATCH):
            batch = names[first : first + _BATCH]
            together(self._fetch, batch)
            self._note([str(name) for name in batch], [self._seen(name) for name in batch])
        create_file(self._base / "ready").close()

    def _fetch(self, name: Path) -> None:
        system, top = self._out.store()
        with (
            reaching(self._out / name),
            system.open(f"{top}/{name}", "rb") as source,
            create_file(self._folder / name) as file,
        ):
            shutil.copyfileobj(source, file, _COPIED_BYTES)

    @contextmanager
    def putting(self) -> Iterator[None]:
        """Put what is done, again and again, while the block runs."""
        ended = Event()

        def work() -> None:
            wait = _EVERY_SECONDS
            while not ended.wait(wait):
                began = time.monotonic()
                with suppress(OSError, JobError):  # the next round, or `finish`, tries again
                    self._put_part()
                wait = max(_EVERY_SECONDS, (time.monotonic() - began) / _MOST_SHARE)

        thread = Thread(target=work, name="ulmo-put", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _put_part(self) -> None:
        """Put what an unfinished job has done. A complete one is left to `finish`."""
        records, replacing = self._records, self._records.replacing
        manifest, journal = self._content(records.manifest), self._content(records.journal)
        if journal is None or not _is_unfinished(manifest):
            return
        if replacing and lexists(self._folder / replacing):
            return
        self._put([Path(records.manifest)])  # it names nothing now
        self._put(self._objects())
        self._pipe(records.journal, journal)

    def finish(self) -> None:
        """Put what is there, the record last, and remove what the job has removed."""
        objects, last = self._objects(), self._last()
        files = {str(name): self._seen(name) for name in (*objects, *last)}
        if self._records.manifest in self._known and files != self._known:
            self._pipe(self._records.manifest, _unfinished(self._content(self._records.manifest)))
        self._put(objects)
        for name in last:
            self._put([name])
        for gone in [each for each in self._known if each not in files]:
            self._lease.check()
            system, top = self._out.store()
            with suppress(FileNotFoundError), reaching(self._out):
                system.rm_file(f"{top}/{gone}")
            del self._known[gone]

    def _last(self) -> list[Path]:
        """The tables, and the manifest that names them."""
        names = (*self._records.tables, self._records.manifest)
        return [Path(name) for name in names if lexists(self._folder / name)]

    def _objects(self) -> list[Path]:
        """All files but records, locks and what is being written."""
        records = {self._records.manifest, self._records.journal, *self._records.tables}
        if not lexists(self._folder):
            return []
        return [
            name
            for name in walk(self._folder).files
            if str(name) not in records and not any(map(_is_passing, (name, *name.parents)))
        ]

    def _put(self, names: Sequence[Path]) -> None:
        """Put files that are not there as they are."""
        seen = {str(name): self._seen(name) for name in names}
        new = [name for name, found in seen.items() if found and self._known.get(name) != found]
        for first in range(0, len(new), _BATCH):
            batch = new[first : first + _BATCH]
            self._lease.check()
            self._note(batch, [None] * len(batch))
            system, top = self._out.store()
            for name in batch:
                _check_name(self._out / name)
            with reaching(self._out):
                system.put(
                    [f"{self._folder / name}" for name in batch], [f"{top}/{n}" for n in batch]
                )
            self._note(batch, [seen[name] for name in batch])

    def _pipe(self, name: str, content: bytes) -> None:
        self._lease.check()
        self._note([name], [None])
        system, top = self._out.store()
        with reaching(self._out):
            system.pipe_file(f"{top}/{name}", content)

    def _content(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return (self._folder / name).read_bytes()
        return None

    def _seen(self, name: Path) -> _Seen | None:
        found = signature_at(self._folder / name)
        return None if found is None else (found.size, found.mtime_ns, found.inode)


def _is_unfinished(manifest: bytes | None) -> bool:
    return (sealed_values(manifest or b"") or {}).get("complete") is False


def _unfinished(manifest: bytes | None) -> bytes:
    """The same manifest, of an output that is being changed: it names nothing."""
    values = sealed_values(manifest or b"") or {}
    values |= {"complete": False, "hashes": {}}
    values.pop("checksum", None)
    return seal(json.dumps(values, indent=2, allow_nan=False))


def _is_passing(path: Path) -> bool:
    """Whether a file is one of a running job alone: a lock, or one that is being written."""
    return is_temporary(path) or is_probe(path) or locked_name(path) is not None


def _check_name(path: RemotePath) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{portable(path)} is no name for a store, which takes UTF-8: rename the recording"
        ) from None
