"""espeak-ng in this process, by ctypes: text to samples, and when each word begins.

Its library and data come from the package espeakng-loader. Its output depends a little on what it
said before (the state of its noise), so the same bytes need the same texts in the same order in a
fresh process.
"""

import ctypes
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


class Espeak:
    """espeak-ng, opened once in a process.

    `rate` is that of its samples, in hertz.
    """

    def __init__(self) -> None:
        package = loader()
        self._library = ctypes.CDLL(str(package.get_library_path()))
        data, options = package.get_data_path().encode(), _PHONEME_EVENTS | _NO_EXIT
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, options))
        self._parts: list[Samples] = []
        self._events: list[tuple[int, int]] = []
        # Kept as long as the library: it calls it by its address.
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, voice: str, text: str, parameters: dict[int, int]) -> Speech:
        """Say a text with a voice (`en-us+m1`); parameters by their number in espeak_PARAMETER.

        Raises UserError for a voice that espeak-ng does not know.
        """
        self._parts.clear()
        self._events.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"espeak-ng has no voice {voice}")
        for number, value in parameters.items():
            self._library.espeak_SetParameter(number, value, 0)
        content = text.encode()
        self._library.espeak_Synth(content, len(content) + 1, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        words = [sample for kind, sample in self._events if kind == _WORD]
        end = max(sample for kind, sample in self._events if kind == _PHONEME)
        return Speech(np.concatenate(self._parts), (*sorted(set(words)), end))

    def _receive(self, samples: Any, count: int, found: Any) -> int:
        """Take a piece of sound and its events; 0 asks for more (t_espeak_callback)."""
        if samples and count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        at = 0
        while found[at].type != _LIST_ENDS:
            self._events.append((found[at].type, found[at].sample))
            at += 1
        return 0
