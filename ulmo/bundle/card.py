"""The card of a tokenizer: what it was trained on, how, and how well it does.

The card does not affect the ids. It may be corrected, and the fingerprint stays the same.
"""

from typing import Annotated

from pydantic import Field

from ulmo.config import Settings

# One line, without control characters, which a terminal would obey.
Text = Annotated[str, Field(max_length=4096, pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$")]
_Count = Annotated[int, Field(ge=0, le=2**53)]
_Figure = Annotated[float, Field(ge=0, le=1e12)]
Share = Annotated[float, Field(ge=0, le=1)]
_Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z.+_-]{1,64}$")]


class Corpus(Settings):
    """Recordings that the codebook was trained on."""

    name: Text | None  # None: not given
    licence: Text | None
    recordings: _Count
    hours: _Figure


class Training(Settings):
    """How it was trained."""

    steps: _Count
    epochs: _Count  # finished ones
    tiles: _Count  # each augmented view counts as one
    tiles_fingerprint: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    seed: _Count


class Figures(Settings):
    """Measured on held-out recordings; `sound` tokens are those that are not silent.

    None: nothing to measure it on.
    """

    tokens: _Count
    sound_tokens: _Count
    reconstruction: _Figure | None  # mean squared error, normalised units
    reconstruction_db: (
        _Figure | None
    )  # mean squared error, dB^2; None if tiles are not levels (PCEN)
    sound_reconstruction_db: _Figure | None
    usage: Share | None  # share of the codes that occur
    entropy: Share | None  # of the ids, divided by log2(CB)
    sound_usage: Share | None
    sound_entropy: Share | None


class Versions(Settings):
    """Versions of the packages that trained it."""

    ulmo: _Version
    tensorflow: _Version
    keras: _Version


class Card(Settings):
    """Information for people in tokenizer.json. No date: the same training gives the same bytes."""

    corpora: Annotated[tuple[Corpus, ...], Field(max_length=64)] = ()
    training: Training | None = None
    figures: Figures | None = None  # None: no recordings were held out
    versions: Versions | None = None
    notes: Text = ""
