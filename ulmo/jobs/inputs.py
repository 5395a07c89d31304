"""Recordings below a folder, and how each is recognised again."""

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import google_crc32c

from ulmo.config import UserError
from ulmo.storage.packed import Index, Packed
from ulmo.storage.plain_file import is_of_process, open_file, signature_of
from ulmo.storage.remote_path import (
    RemotePath,
    check_apart,
    is_remote,
    may_be_asked_at_once,
)
from ulmo.storage.sealed import fingerprint
from ulmo.storage.sidecar import Stamp, read_sidecar
from ulmo.storage.together import each_together
from ulmo.storage.walk import bytes_of, walk

_SUFFIXES = frozenset(
    {".wav", ".wave", ".bwf", ".w64", ".rf64", ".bw64", ".flac", ".ogg", ".oga", ".opus"}
    | {".mp1", ".mp2", ".mp3", ".mpga", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd"}
)
# Sound that ulmo does not read, by what converts it: counted, so that none is left out unnoticed.
_CONVERTERS = {
    "Kaleidoscope or wac2wav": (".wac",),  # Wildlife Acoustics
    "SoundTrap Host": (".sud",),
    "Audacity": (".aup", ".aup3", ".raw", ".pcm", ".sds", ".voc", ".vox", ".gsm"),
    "the recorder's own software": (".dss", ".ds2", ".dvf", ".msv"),  # dictation recorders
    "sox": (".sph", ".nist", ".sd2", ".shn"),
    "ffmpeg": (
        *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".aac", ".3gp", ".3ga", ".amr", ".wma", ".asf"),
        *(".webm", ".weba", ".mka", ".mkv", ".avi", ".mts", ".dsf", ".dff", ".ape", ".wv", ".tta"),
        *(".ac3", ".dts", ".mpc", ".spx", ".tak", ".ra", ".rm"),
    ),
}
_CONVERTER_OF = {kind: name for name, kinds in _CONVERTERS.items() for kind in kinds}
_ZERO_CROSSINGS = ".zc"  # of AnaBat, also .00# and the like: times, no samples
# Folders that systems keep for themselves, beside all whose names begin with a dot.
_SYSTEM = frozenset(
    {"$recycle.bin", "recycler", "recycled", "system volume information", "lost+found"}
    | {"__macosx", "network trash folder", "temporary items"}
    | {"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"}  # network drives
)
_END_BYTES = 4096  # at either end of a file, to recognise it by


class _Sizes:
    """Bytes of objects in stores, as they were seen last."""

    def __init__(self) -> None:
        self._lock = Lock()  # several threads ask a store
        self._seen = Index()

    def see(self, path: Path, size: int) -> None:
        if is_remote(path):
            with self._lock:
                self._seen[str(path)] = size

    def get(self, path: Path) -> int | None:
        if not is_remote(path):
            return None
        with self._lock:
            return self._seen.get(str(path))


_sizes = _Sizes()


class InputFile(NamedTuple):
    """A recording as the plan knows it, with the log that it is read together with."""

    path: Path  # below AUDIO_DIR
    size: int
    mtime_ns: int
    # CRC-32C of both ends: two recorders write files of one name and size. If there is a log, the
    # sum goes on over its size and checksum.
    ends: int
    log: Stamp | None = None
    unread: str = ""  # why it, or its log, cannot be read; empty if both can

    @property
    def times(self) -> tuple[int, ...]:
        """When it was written to, and when its log was, if there is one, in nanoseconds."""
        return (self.mtime_ns, *([self.log.mtime_ns] if self.log else []))

    def key(self, settings: str, *places: str) -> str:
        """A hash of the file as it is, of its name, of other places, and of all settings.

        A row of recordings.parquet has the key of the file that was read. Whatever is another now,
        its time too, makes another key: an older time is a change as well.
        """
        return fingerprint([settings, *places, self.size, *self.times, self.ends])


def find_recordings(
    folder: Path, *, skip: Path | None = None, left_out: Counter[str] | None = None
) -> Sequence[Path]:
    """Find every file below a folder whose name ends as sound does, as a path relative to it.

    A link that leads nowhere, a pipe and a device are recordings that cannot be read, and so is
    a folder that cannot be looked into. Files and folders that are hidden (a name with a dot
    first), and those of the system, such as the trash, are left out; `folder` itself may lie in
    one. `skip` names another folder to leave out, such as the output's own. The number of files of
    sound that ulmo does not read is added to `left_out`, by kind (`.wac`). Raises UserError if the
    folder itself cannot be looked into, or holds no recording.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    top, own = folder.resolve(), skip and skip.resolve()
    inside = own.relative_to(top) if own and own.is_relative_to(top) else None
    found = walk(folder, skip=lambda path: _is_hidden(path.name) or path == inside)
    recordings, unread = Packed[Path](), Counter[str]()
    for path in found.files:
        if not _is_hidden(path.name):
            if path.suffix.lower() in _SUFFIXES:
                recordings.append(path)
            elif kind := _unread_kind(path):
                unread[kind] += 1
    if not recordings and not found.closed:
        what = f"; it has {left_out_words(unread)}" if unread else ""
        raise UserError(f"no recordings below {folder} (.wav, .flac, .ogg and others){what}")
    if left_out is not None:
        left_out.update(unread)
    if found.closed:
        return Packed(heapq.merge(recordings, found.closed, key=bytes_of))
    return recordings


class Found(NamedTuple):
    """A recording that the user named, or that lies below a folder that the user named."""

    source: Path
    name: Path  # the source as the user gave it, or below the folder that the user gave
    below: Path  # folder below that of the output
    place: Path  # the same for the same file, however it was given; a link is a file of its own


def find_sources(
    sources: Sequence[Path], skip: Path | None = None, left_out: Counter[str] | None = None
) -> Sequence[Found]:
    """Each recording once: files as they are, and those that `find_recordings` finds in folders.

    Raises UserError for a source that is not there, and as `check_apart`.
    """
    return Packed(each_source(sources, skip, left_out))


def each_source(
    sources: Sequence[Path], skip: Path | None = None, left_out: Counter[str] | None = None
) -> Iterator[Found]:
    """The same, one by one."""
    check_apart(sources)
    places = Index()
    for found in _each_source(sources, skip, left_out):
        if len(sources) > 1:
            if str(found.place) in places:
                continue
            places[str(found.place)] = 0
        yield found


def _each_source(
    sources: Sequence[Path], skip: Path | None, left_out: Counter[str] | None
) -> Iterator[Found]:
    """The same; what is named twice comes twice."""
    resolved = cache(_place)  # it looks at each folder above
    for source in sources:
        if source.is_dir():
            place = resolved(source)
            for path in find_recordings(source, skip=skip, left_out=left_out):
                yield Found(source / path, path, path.parent, place / path)
        elif source.is_file():
            name = source.names if isinstance(source, RemotePath) else source
            yield Found(source, name, Path(), resolved(source.parent) / source.name)
        else:
            raise UserError(f"{source} is neither a file nor a folder")


def _place(path: Path) -> Path:
    """Where a file or folder is, whatever links lead there."""
    return Path(str(path)) if isinstance(path, RemotePath) else path.resolve()


def left_out_words(left_out: Mapping[str, int]) -> str:
    """How many files of which kinds are not read, and what converts them.

    >>> left_out_words({".wac": 3, ".m4a": 2})
    '3 .wac, 2 .m4a: ulmo reads none of these; convert .wac by Kaleidoscope or wac2wav, .m4a by \
ffmpeg, to WAV or FLAC'
    """
    counts = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    kinds: dict[str, list[str]] = {}
    for kind, _ in counts:
        if kind in _CONVERTER_OF:
            kinds.setdefault(_CONVERTER_OF[kind], []).append(kind)
    advice = [f"{' and '.join(names)} by {converter}" for converter, names in kinds.items()]
    words = f"convert {', '.join(advice)}, to WAV or FLAC" if advice else ""
    if _ZERO_CROSSINGS in left_out:
        words += f"{'; ' if words else ''}{_ZERO_CROSSINGS} has zero crossings, but no samples"
    listed = ", ".join(f"{count} {kind}" for kind, count in counts)
    return f"{listed}: ulmo reads none of these; {words}"


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or one that the system keeps for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM


def _unread_kind(path: Path) -> str | None:
    """The kind of sound that a file's name stands for, if ulmo does not read that kind."""
    suffix = path.suffix.lower()
    if suffix == _ZERO_CROSSINGS or re.fullmatch(r"\.\d\d#", suffix):
        return _ZERO_CROSSINGS
    return suffix if suffix in _CONVERTER_OF else None


def no_folder(path: Path) -> UserError:
    """The error for a path that should be a folder."""
    return UserError(f"{path} {'is not a folder' if path.exists() else 'does not exist'}")


def list_inputs(
    audio_dir: Path, out_dir: Path, left_out: Counter[str] | None = None
) -> Sequence[InputFile]:
    """Describe every recording below a folder, as find_recordings finds them."""
    found = find_recordings(audio_dir, skip=out_dir, left_out=left_out)
    at_once = may_be_asked_at_once(audio_dir)
    described = partial(input_file, folder=audio_dir)
    return Packed(each_together(described, found, lambda _: at_once))


def sizes_of(paths: Iterable[Path]) -> Iterator[int]:
    """Bytes of files, for progress; 0 of one that cannot be looked at."""
    return each_together(size_of, paths, may_be_asked_at_once)


def size_of(path: Path) -> int:
    """Bytes of a file, for progress; 0 if it cannot be looked at.

    Of an object, they are those that `input_file` has seen, if it has: a store is not asked again.
    """
    if (seen := _sizes.get(path)) is not None:
        return seen
    try:
        return path.stat().st_size
    except OSError:
        return 0


def input_file(path: Path, folder: Path = Path()) -> InputFile:
    """Describe a recording, by its path below a folder.

    If it, or its log, cannot be read, its numbers are 0.
    """
    place = folder / path
    try:
        sidecar = read_sidecar(place)
        with open_file(place) as file:
            found = signature_of(file)
            first = file.read(_END_BYTES)
            file.seek(max(found.size - _END_BYTES, 0))
            ends = first + file.read(_END_BYTES)
        _sizes.see(place, found.size)
    except OSError as error:
        if is_of_process(error):
            raise
        return InputFile(path, 0, 0, 0, unread=error.strerror or str(error))
    log = sidecar and sidecar.stamp
    if log:
        ends += f"{log.size} {log.checksum}".encode()
    return InputFile(path, found.size, found.mtime_ns, int(google_crc32c.value(ends)), log)
