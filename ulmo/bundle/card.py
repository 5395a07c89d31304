"""The card of a codebook: what it was trained on, how, and how well it does.

No figure here changes an id: a card may be corrected, and the tokens stay the tokenizer's.
"""

from typing import Annotated

from pydantic import Field

from ulmo.config import Settings

Text = Annotated[str, Field(max_length=4096, pattern=r"^[^\p{C}\p{Zl}\p{Zp}]*$")]
"""In one line: no control characters, which a terminal would obey."""
Count = Annotated[int, Field(ge=0, le=2**53)]
Figure = Annotated[float, Field(ge=0, le=1e12)]
Share = Annotated[float, Field(ge=0, le=1)]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z.+_-]{1,64}$")]


class Corpus(Settings):
    """Recordings that the codebook was trained on."""

    name: Text | None
    """None: nobody said."""
    licence: Text | None
    recordings: Count
    hours: Figure


class Training(Settings):
    """How it was trained."""

    steps: Count
    epochs: Count
    """That were finished."""
    tiles: Count
    """Each augmented view is one."""
    tiles_fingerprint: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    seed: Count


class Figures(Settings):
    """Measured on recordings that were held out; `sound` tokens are those that are not silent.

    None: there was nothing to measure it on.
    """

    tokens: Count
    sound_tokens: Count
    reconstruction: Figure | None
    """Mean squared error in normalised units."""
    reconstruction_db: Figure | None
    """Mean squared error in dB^2; None where tiles are no levels (PCEN)."""
    sound_reconstruction_db: Figure | None
    usage: Share | None
    """Share of the codes that occur."""
    entropy: Share | None
    """Of the ids, over log2(CB)."""
    sound_usage: Share | None
    sound_entropy: Share | None


class Versions(Settings):
    """Of the packages that trained it."""

    ulmo: Version
    tensorflow: Version
    keras: Version


class Card(Settings):
    """What tokenizer.json says for people. No date: the same training gives the same bytes."""

    corpora: Annotated[tuple[Corpus, ...], Field(max_length=64)] = ()
    training: Training | None = None
    figures: Figures | None = None
    """None where nothing was held out."""
    versions: Versions | None = None
    notes: Text = ""
