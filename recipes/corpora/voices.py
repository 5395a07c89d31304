"""The corpus `voices`: texts of common words and digits, each by several voices of espeak-ng.

The voices of a group say the same text at the same rate. Pairs of them map time from word to word:
espeak-ng tells where each word begins.
"""

import tomllib
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from recipes.corpora.draw import Draw
from recipes.corpora.espeak import PITCH, RANGE, RATE, Espeak, loader, variants
from recipes.corpora.folder import Content, Label, Pair, write_recording
from recipes.corpora.processes import in_processes

GROUPS = 1700
BATCH = 50  # groups that one process says
VOICES = 6  # of a group
DIGITS = 0.25  # share of groups that say digits
ENGLISH = 0.35  # share of groups in English
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp")
LONGEST_RATIO = 1.12  # of the durations of a pair: others are said in another manner
UNNATURAL = ("Demonic", "Nguyen", "Robot", "robosoft", "whisper")  # in the names of variants
# The breath in these is noise that espeak-ng seeds by the clock: no two runs have the same bytes.
BREATHY = ("Alicia", "f2", "f3", "f5", "sandro", "victor")
LICENCE = """The recordings were made by espeak-ng 1.52.0 (PyPI package espeakng-loader 0.2.4). The
program and its data are under the GNU General Public License, version 3 or later. Its documentation
says nothing on the sound that it makes. By section 2 of the licence, output of a program is covered
by it only if the output's own content is a covered work. The texts are lists of common words.
As far as we have rights in these recordings, they are dedicated to the public domain by CC0 1.0:
https://creativecommons.org/publicdomain/zero/1.0/
"""


class Utterance(NamedTuple):
    """A text by a voice."""

    path: str  # below the corpus folder
    voice: str  # LANGUAGE+VARIANT
    text: str
    rate: int  # words a minute
    pitch: int  # 0 to 100, of espeak-ng
    range: int  # of pitch, 0 to 100

    @property
    def label(self) -> Label:
        """Its row of labels.csv."""
        values = self._asdict()
        names = ("voice", "rate", "pitch", "range")
        group = self.path.rpartition("_")[0]
        extra = ";".join((f"group={group}", *(f"{name}={values[name]}" for name in names)))
        return Label(self.path, self.text, extra)


Group = list[Utterance]


def plan(groups: int) -> list[Group]:
    """What to say: `groups` groups, the same ones each time."""
    table = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
    words = {language: text.split() for language, text in table.items()}
    others = sorted(set(words) - {"en"})
    barred = {name for name in variants() if any(part in name for part in UNNATURAL)}
    natural = [name for name in variants() if name not in barred.union(BREATHY)]
    return [_group(number, words, others, natural) for number in range(groups)]


def _group(
    number: int, words: dict[str, list[str]], others: list[str], natural: list[str]
) -> Group:
    draw = Draw("voices", number)
    language = draw.choice(ACCENTS) if draw.uniform() < ENGLISH else draw.choice(others)
    items = words[language[:2]]
    if draw.uniform() < DIGITS:
        items = list("0123456789")
    text = " ".join(draw.choice(items) for _ in range(draw.integer(1, 8)))
    rate = draw.integer(120, 210)
    return [
        Utterance(
            f"{language}/{number:04}_{variant.replace(' ', '_')}.flac",
            f"{language}+{variant}",
            text,
            rate,
            draw.integer(20, 85),
            draw.integer(30, 70),
        )
        for variant in draw.sample(natural, VOICES)
    ]


def make(folder: Path, workers: int, groups: int = GROUPS) -> Content:
    """Say every group, several processes at a time, and pair the voices of each."""
    loader()
    planned = plan(groups)
    batches = [(folder, planned[at : at + BATCH]) for at in range(0, groups, BATCH)]
    pairs = [pair for part in in_processes(say_batch, batches, workers, "voices") for pair in part]
    return Content([said.label for group in planned for said in group], pairs, LICENCE)


def say_batch(job: tuple[Path, list[Group]]) -> list[Pair]:
    """Say groups in their order, write what is missing below a folder, and pair their voices.

    All is said again even if it is there: what espeak-ng says depends on what it said before.
    """
    folder, groups = job
    espeak = Espeak()
    pairs = []
    for group in groups:
        instants = {}
        for said in group:
            values = {RATE: said.rate, PITCH: said.pitch, RANGE: said.range}
            speech = espeak.say(said.voice, said.text, values)
            write_recording(folder / said.path, speech.samples, espeak.rate)
            instants[said.path] = tuple(frame / espeak.rate for frame in speech.instants)
        for a, b in combinations(group, 2):
            if pair := paired(a.path, b.path, instants[a.path], instants[b.path]):
                pairs.append(pair)
    return pairs


def paired(a: str, b: str, a_times: tuple[float, ...], b_times: tuple[float, ...]) -> Pair | None:
    """A pair of two voices, unless their durations or their numbers of words differ."""
    lengths = sorted(times[-1] - times[0] for times in (a_times, b_times))
    if len(a_times) != len(b_times) or lengths[1] > LONGEST_RATIO * lengths[0]:
        return None
    return Pair(a, b, a_times, b_times)
