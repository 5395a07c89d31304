"""espeak-ng in this process, by ctypes: text to samples, and when each word begins.

Its library and data come from the package espeakng-loader. What it says depends a little on what it
said before (the state of its noise), so whoever wants the same bytes says the same texts in a fresh
process.
"""

import ctypes
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recipes.corpora.folder import Samples
from ulmo.config import UserError

LOADER = "0.2.4"  # with espeak-ng 1.52.0
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER of speak_lib.h
_SYNCHRONOUS, _UTF8, _NO_EXIT = 2, 1, 0x8000
_WORD, _PHONEME, _LIST_ENDS = 1, 7, 0  # espeak_EVENT_TYPE
_PHONEME_EVENTS = 1


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Speech(NamedTuple):
    """What espeak-ng says."""

    samples: Samples  # (frames,)
    instants: tuple[int, ...]  # frames where each word begins, and where the last one ends


def loader() -> Any:
    """The module espeakng_loader; UserError of one line if it is missing or another version."""
    remedy = "pip install 'ulmo[recipes]', or name the other corpora with --only"
    try:
        found = version("espeakng-loader")
    except PackageNotFoundError:
        raise UserError(f"voices need espeakng-loader, which is not installed: {remedy}") from None
    if found != LOADER:
        raise UserError(f"voices need espeakng-loader {LOADER}, and this is {found}: {remedy}")
    return import_module("espeakng_loader")


def variants() -> list[str]:
    """The names of espeak-ng's voice variants, in alphabetical order."""
    folder = Path(loader().get_data_path()) / "voices" / "!v"
    return sorted(path.name for path in folder.iterdir())


def open_espeak() -> tuple[Callable[..., Speech], int]:
    """A function that says a text with a voice, and the rate of its samples.

    The function takes the voice (`en-us+m1`), the text, and parameters by number. UserError for a
    voice that it does not know.
    """
    package = loader()
    library = ctypes.CDLL(str(package.get_library_path()))
    options = _PHONEME_EVENTS | _NO_EXIT
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, package.get_data_path().encode(), options)
    parts: list[Samples] = []
    events: list[tuple[int, int]] = []

    def heard(samples: Any, count: int, found: Any) -> int:
        if samples and count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        at = 0
        while found[at].type != _LIST_ENDS:
            events.append((found[at].type, found[at].sample))
            at += 1
        return 0

    callback = _CALLBACK(heard)
    library.espeak_SetSynthCallback(callback)

    def say(voice: str, text: str, parameters: dict[int, int]) -> Speech:
        parts.clear()
        events.clear()
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"espeak-ng has no voice {voice}")
        for number, value in parameters.items():
            library.espeak_SetParameter(number, value, 0)
        content = text.encode()
        library.espeak_Synth(content, len(content) + 1, 0, 1, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        words = [sample for kind, sample in events if kind == _WORD]
        end = max(sample for kind, sample in events if kind == _PHONEME)
        return Speech(np.concatenate(parts), (*sorted(set(words)), end))

    say.callback = callback  # type: ignore[attr-defined]  # which the library calls by its address
    return say, int(rate)
