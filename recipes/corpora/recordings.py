"""Recordings out of packages: what each corpus takes from which, and under what licence."""

import re
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import numpy as np

from recipes.corpora.containers import clonk_group, openttd_catalogue, sound_font
from recipes.corpora.folder import Content, Label, Pair, Samples, write_recording
from recipes.corpora.packages import Package, fetch
from ulmo.preprocessing.reading.audio import open_recording
from ulmo.preprocessing.reading.refusal import RefusedError

SHORTEST_S = 0.1  # four columns of 20 ms and the edges of the first window
FAINTEST = 33  # of 32768: -60 dB re full scale; the peak of what counts as silence is less


class Sound(NamedTuple):
    """A recording in a package."""

    path: str  # below the corpus folder, without suffix
    samples: Samples  # (frames,)
    rate: int  # samples/s
    label: str
    extra: str = ""


class Source(NamedTuple):
    """A package, and what it has of a corpus. Both functions are given the folder of its files."""

    package: Package
    sounds: Callable[[Path], Iterator[Sound]]
    notice: Callable[[Path], str]  # its authors and licences


def decoded(path: Path) -> tuple[Samples, int]:
    """The first channel (frames,) of a recording, as 16 bits, and its rate.

    A header without sound is a recording of no frames.
    """
    try:
        with open_recording(path) as recording:
            samples = np.concatenate([block[:, 0] for block in recording.blocks()])
            counts = np.rint(samples.astype(np.float64) * 32768.0)
            return np.clip(counts, -32768, 32767).astype(np.int16), recording.sample_rate
    except RefusedError as error:
        if error.reason != "no_samples":
            raise
        return np.empty(0, np.int16), 1


def decoded_content(content: bytes, name: str, folder: Path) -> tuple[Samples, int]:
    """The same of a file's content, by way of a file in a folder."""
    path = folder / f"sound{Path(name).suffix.lower()}"
    path.write_bytes(content)
    return decoded(path)


def files(folder: Path, *, base: str, without: tuple[str, ...] = ()) -> Iterator[Sound]:
    """Every recording below a folder of the package, but for links and patterns of fnmatch."""
    for path in sorted((folder / base).rglob("*")):
        name = path.relative_to(folder / base).as_posix()
        barred = path.is_symlink() or any(fnmatchcase(name, pattern) for pattern in without)
        if is_sound(name) and not barred:
            yield Sound(stem(name), *decoded(path), label_of(name))


def prompts(folder: Path, *, voice: str) -> Iterator[Sound]:
    """The prompts of a voice of Asterisk, such as en_US_f_Allison. Their label is their name."""
    language = voice[:2]
    for sound in files(folder, base=f"usr/share/asterisk/sounds/{voice}"):
        kind, _, label = sound.path.rpartition("/")
        extra = f"lang={language};speaker={voice[8:]};kind={kind or 'phrases'}"
        yield sound._replace(path=f"{language}/{sound.path}", label=label, extra=extra)


def is_sound(name: str) -> bool:
    """Whether a file's name ends as sound does."""
    return name.lower().endswith((".wav", ".ogg", ".flac", ".mp3"))


def stem(name: str) -> str:
    """A path without its suffix, in letters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._/-]+", "_", re.sub(r"\.\w+$", "", name)).strip("_")


def zero_ad(folder: Path) -> Iterator[Sound]:
    """The sounds of 0 A.D. without its music."""
    with ZipFile(folder / "usr/share/games/0ad/mods/public/public.zip") as archive:
        for name in sorted(archive.namelist()):
            inside = name.removeprefix("audio/")
            if inside != name and is_sound(name) and not inside.startswith("music/"):
                yield Sound(
                    stem(inside),
                    *decoded_content(archive.read(name), name, folder),
                    label_of(inside),
                )


def openclonk(folder: Path) -> Iterator[Sound]:
    """The sounds of OpenClonk. Fire is of Freesound 4211, of which ESC-10 has clips."""
    for name, content in clonk_group((folder / "usr/share/games/openclonk/Sound.ocg").read_bytes()):
        if is_sound(name) and name != "Fire/Fire.ogg":
            yield Sound(stem(name), *decoded_content(content, name, folder), label_of(name))


def openclonk_authors(folder: Path) -> str:
    """Debian's notice, and the list of authors and licences beside the sounds."""
    content = (folder / "usr/share/games/openclonk/Sound.ocg").read_bytes()
    authors = dict(clonk_group(content))["authors.txt"].decode("utf-8", "replace")
    return f"{debian_notice(folder)}\nauthors.txt:\n\n{authors}"


def opensfx(folder: Path) -> Iterator[Sound]:
    """The sounds of OpenSFX. Two are of Freesound 19898 and 169127, of which ESC-10 has clips."""
    path = folder / "usr/share/games/openttd/baseset/opensfx/opensfx.cat"
    for number, (title, content) in enumerate(openttd_catalogue(path.read_bytes())):
        name = title.split('"')[1]
        if name not in ("Lumber mill: Chainsaw", "Lumber mill: Falling tree"):
            sound = decoded_content(content, "x.wav", folder)
            place = stem(f"{number:02}_{name.replace('/', ' or ')}.wav")
            credit = re.sub(r"[;\s]+", " ", title)
            yield Sound(place, *sound, name, f"title={credit}")


def font(folder: Path, *, names: tuple[str, ...]) -> Iterator[Sound]:
    """The samples of SoundFonts, each in a folder of its name."""
    for name in names:
        for sample in sound_font((folder / "usr/share/sounds/sf2" / name).read_bytes()):
            path = f"{stem(name)}/{stem(sample.name + '.wav')}"
            yield Sound(path, sample.samples, sample.rate, label_of(path))


def label_of(path: str) -> str:
    """What a file's name says is heard: without number, take, note and channel."""
    whole = stem(path).rpartition("/")[2]
    name = re.sub(r"^\d+[_-]|_[LR]_?$", "", whole)
    name = re.sub(r"(?i)[ _-]+[a-h][#b]?_?-?\d+$", "", name)
    return re.sub(r"[ _-]*\d+$|[_-]+$", "", name) or whole


def debian_notice(folder: Path) -> str:
    """The copyright file of a package of Debian."""
    (path,) = (folder / "usr/share/doc").glob("*/copyright")
    return path.read_text(encoding="utf-8")


def make(sources: tuple[Source, ...], takes: str, folder: Path, _: int) -> Content:
    """Fetch packages and write their recordings.

    What is silent, shorter than SHORTEST_S or the same as one before is left out. Recordings whose
    paths begin with the same match of the pattern `takes` are of one kind, and become pairs.
    """
    seen: set[bytes] = set()
    labels: dict[str, Label] = {}
    durations: dict[str, float] = {}  # seconds
    notices: list[str] = []
    workshop = folder.parent / ".packages"
    for source in sources:
        shutil.rmtree(workshop, ignore_errors=True)
        unpacked = fetch(source.package, workshop)
        for sound in source.sounds(unpacked):
            digest = sha256(sound.samples.tobytes()).digest()
            if is_heard(sound) and digest not in seen:
                seen.add(digest)
                name, number = f"{sound.path}.flac", 2
                while name in labels:
                    name, number = f"{sound.path}-{number}.flac", number + 1
                write_recording(folder / name, sound.samples, sound.rate)
                labels[name] = Label(name, sound.label, sound.extra)
                durations[name] = len(sound.samples) / sound.rate
        notices.append(f"{source.package.title}:\n\n{source.notice(unpacked)}")
    shutil.rmtree(workshop, ignore_errors=True)
    licence = CHANGES + ("\n" + "-" * 72 + "\n").join(notices)
    return Content(list(labels.values()), paired(durations, takes) if takes else [], licence)


def is_heard(sound: Sound) -> bool:
    """Whether a recording is neither silent nor very short."""
    peak = np.abs(sound.samples.astype(np.int32)).max(initial=0)
    return peak >= FAINTEST and len(sound.samples) >= SHORTEST_S * sound.rate


def paired(durations: dict[str, float], takes: str) -> list[Pair]:
    """Pairs of recordings of one kind, by path: they begin together, and run at one rate."""
    kinds: dict[str, list[str]] = {}
    for name in durations:
        if found := re.match(takes, name):
            kinds.setdefault(found[0], []).append(name)
    pairs = []
    for alike in kinds.values():
        for a, b in combinations(alike, 2):
            times = (0.0, min(durations[a], durations[b]))
            pairs.append(Pair(a, b, times, times))
    return pairs


CHANGES = """The recordings are those of the packages named below, as FLAC: the first channel, 16
bits. What is silent, too short, or there twice is left out. The notices of the packages follow.

"""
