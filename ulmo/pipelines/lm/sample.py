"""ulmo lm sample: a recording goes on, as the token model expects: tokens, a picture, sound.

recording, or stored tokens -> ids -> drawn columns (ulmo.token_model) -> tokens file
                                                    -> decoded -> picture, WAV
"""

from collections.abc import Callable
from io import BytesIO
from itertools import islice
from math import ceil
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from ulmo.arrays import Array, Ids, Mask
from ulmo.config import UserError, plain
from ulmo.formats import FORMATS
from ulmo.formats.header import TokensHeader
from ulmo.formats.places import STEM
from ulmo.formats.publish import (
    check_outputs,
    format_of,
    output_paths,
    publish_tokens,
    stored_at,
)
from ulmo.formats.read import read_corpus
from ulmo.jobs.inputs import find_sources
from ulmo.listening.listen import Heard, Job, Wanted, listen
from ulmo.pictures.axes import (
    check_picture,
    level_unit,
    mark_hertz,
    mark_seconds,
    own_style,
    publish_picture,
    to_png,
)
from ulmo.pictures.colours import cell_colours
from ulmo.pictures.own_matplotlib import Figure
from ulmo.pipelines.lm.score import is_of_tokens
from ulmo.pipelines.lm.token_row import TokenRow
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.storage.atomic import make_folder, publish
from ulmo.storage.plain_file import lexists, open_plain
from ulmo.token_model import TokenModel
from ulmo.tokenizer import Tokenizer
from ulmo.tokens import Tokens

_REMEDY = "choose another --out"
_WRITER = b"ISFT"  # where a WAV file says which program wrote it
_PEAK = 0.89  # of full scale: 1 dB below it
_RANGE_DB = 80.0  # decibels from the loudest colour to the faintest
_CONTINUED = ", continued"  # behind the name of a recording that went on


class Continued(NamedTuple):
    """What `continue_recording` made."""

    recording: str
    columns: int
    seconds: float
    files: dict[str, Path]  # tokens, picture, sound
    no_sound: str  # why there is no sound; empty if there is some


class Outputs(NamedTuple):
    """The files that are written: NAME.tokens.npy, NAME.png and NAME.wav."""

    tokens: Path
    file_format: str
    picture: Path
    sound: Path

    @classmethod
    def of(cls, out: Path) -> "Outputs":
        """Those of --out. UserError if one cannot have its place, or replaces a foreign file."""
        file_format = format_of(out)
        if not FORMATS[file_format].readable:
            raise UserError(f"{out} is no name for tokens: end it with .tokens.npy, say")
        paths = output_paths(out, file_format)
        check_outputs(paths)
        there = stored_at(paths.header)
        for header in there.headers if there else ():
            if not header.recording.endswith(_CONTINUED):
                raise UserError(f"{out} holds tokens of {plain(header.recording)}: {_REMEDY}")
        stem = paths.header.name.removesuffix(".json").removesuffix(STEM)
        picture, sound = (out.with_name(f"{stem}{ending}") for ending in (".png", ".wav"))
        check_picture(picture, _REMEDY)
        _check_sound(sound)
        return cls(paths.files[0], file_format, picture, sound)


def continue_recording(
    model: TokenModel,
    tokenizer: Tokenizer,
    source: Path,
    out: Path,
    *,
    seconds: float = 10.0,
    temperature: float = 1.0,
    seed: int = 0,
    channels: str | None = None,
    begin: Callable[[int], Callable[[int], object]] = lambda _: lambda _: None,
) -> Continued:
    """Draw what may follow a recording, or stored tokens of one, and write it.

    The tokens are those that were drawn alone, at their times behind the recording. The picture and
    the sound begin with the last `seconds` of the recording, decoded from its tokens, too.

    begin: called with the columns to draw; what it returns is called with 1 after each.

    The same source, model and seed give the same bytes. RefusedError for a recording that cannot be
    read; UserError for tokens of another tokenizer.
    """
    outputs = Outputs.of(out)
    own = tokenizer.manifest.fingerprint
    model.check_tokenizer(own, "tokens of this tokenizer")
    if is_of_tokens(source) or source.is_dir():
        row, expansion = _stored(model, source)
        tokenizer = tokenizer.with_sound(expansion, None)
    else:
        heard = _heard(tokenizer, source, channels or tokenizer.manifest.prep.channels)
        row = TokenRow.of_heard(model, heard)
    columns = max(ceil(round(seconds / row.column_s, 6)), 1)
    drawn = model.sample(row.ids, columns, temperature=temperature, seed=seed, done=begin(columns))
    header = _header(tokenizer, row, columns)
    make_folder(out.parent, _REMEDY)
    with publish_tokens(outputs.tokens, outputs.file_format) as writer:
        writer.begin(header)
        writer.write(drawn)
        writer.end(header)
    before = row.ids[-columns:]
    files = {"tokens": outputs.tokens, "picture": outputs.picture}
    begin_s = row.end_s - len(before) * row.column_s
    ids = np.concatenate([before, drawn])
    name = Path(row.sources[-1].recording).name
    tokens = _tokens(tokenizer, ids)
    image = _draw(tokenizer, tokens, len(before), begin_s, name)
    publish_picture(image, outputs.picture, _REMEDY)
    no_sound = ""
    try:
        wav = _wav(tokenizer, tokens)
    except UserError as error:  # librosa is not installed, or the front end has no inverse
        no_sound = str(error)
    else:
        _check_sound(outputs.sound)
        with publish(outputs.sound) as file:
            file.write(wav)
        files["sound"] = outputs.sound
    return Continued(row.sources[-1].recording, columns, columns * row.column_s, files, no_sound)


def _stored(model: TokenModel, source: Path) -> tuple[TokenRow, float]:
    """The tokens of a file, and their time expansion."""
    found = list(islice(read_corpus(source), 2))
    if len(found) != 1:
        number = "several" if found else "no"
        raise UserError(f"{source} holds tokens of {number} recordings: name the file of one")
    return TokenRow.of_stored(model, found[0]), found[0].header.time_expansion


def _heard(tokenizer: Tokenizer, source: Path, channels: str) -> Heard:
    if channels == "each":
        raise UserError("one channel goes on: set --channels to mix, or to a number")
    listened = listen(tokenizer, Wanted(channels), Job(find_sources([source])[0]))
    if listened.facts["status"] == "refused":
        raise RefusedError(listened.facts["reason"], listened.facts["detail"])
    return listened.heard[0]


def _header(tokenizer: Tokenizer, row: TokenRow, columns: int) -> TokensHeader:
    """The header of columns that follow a row. Its name says that they are of no recording."""
    prep = tokenizer.prep
    hop = prep.hop_length * tokenizer.manifest.model.time_stride
    return TokensHeader(
        fingerprint=tokenizer.manifest.fingerprint,
        sample_rate=prep.true_rate,
        time_expansion=prep.time_expansion,
        hop=hop,
        frame_hop=prep.hop_length,
        edges_hz=tuple(tokenizer.edges_hz.tolist()),
        codebook_size=tokenizer.manifest.model.codebook_size,
        recording=f"{row.sources[-1].recording}{_CONTINUED}",
        channel=row.channel,
        start=round(row.end_s * prep.true_rate),
        start_utc=row.start_utc,
        columns=columns,
        frames=columns * tokenizer.manifest.model.time_stride,
    )


def _tokens(tokenizer: Tokenizer, ids: Ids) -> Tokens:
    """Ids as tokens that can be decoded."""
    prep, stride = tokenizer.prep, tokenizer.manifest.model.time_stride
    return Tokens(
        ids=ids,
        distances=np.full(ids.shape, np.nan, np.float32),
        sample_rate=prep.true_rate,
        hop=prep.hop_length * stride,
        edges_hz=tokenizer.edges_hz,
        frames=len(ids) * stride,
    )


def _wav(tokenizer: Tokenizer, tokens: Tokens) -> bytes:
    """A WAV file of 16 bits of what tokens stand for, no louder than full scale."""
    samples = tokenizer.resynthesize(tokens)
    peak = float(np.abs(samples).max(initial=0.0))
    samples = samples * np.float32(min(_PEAK / max(peak, 1e-9), 1.0))
    file = BytesIO()
    _write_wav(file, samples, tokens.sample_rate)
    return file.getvalue()


def _write_wav(file: BinaryIO, samples: Array, rate: int) -> None:
    with soundfile.SoundFile(file, "w", rate, 1, subtype="PCM_16", format="WAV") as writer:
        writer.software = "ulmo"
        writer.write(samples)


def _check_sound(path: Path) -> None:
    """Raise UserError if a file is there that `_wav` did not make."""
    if not lexists(path):
        return
    with open_plain(path, remedy=_REMEDY) as file:
        head = file.read(256)
    place = head.find(_WRITER) + 8
    if not head.startswith(b"RIFF") or place < 8 or not head[place:].startswith(b"ulmo"):
        raise UserError(f"{path} is there, and nothing in it says that ulmo made it: {_REMEDY}")


@own_style()
def _draw(tokenizer: Tokenizer, tokens: Tokens, begin: int, begin_s: float, name: str) -> bytes:
    """PNG: what tokens stand for, and their ids; a line at column `begin`, the first drawn one."""
    model, frontend, ids = tokenizer.manifest.model, build_frontend(tokenizer.prep), tokens.ids
    column_s = model.time_stride * tokenizer.prep.frame_s
    values = _levels(tokenizer, tokens)
    figure = Figure(figsize=(12.0, 5.4), layout="constrained", dpi=100)
    axes = figure.subplots(2, 1, sharex=True)
    extent = (begin_s, begin_s + len(ids) * column_s, 0, len(values))
    loudest = float(np.nanpercentile(values, 99.95))
    image = axes[0].imshow(
        values,
        origin="lower",
        aspect="auto",
        extent=extent,
        vmin=max(float(np.nanmin(values)), loudest - _RANGE_DB),
        vmax=loudest + 1e-3,
        cmap="magma",
        interpolation="nearest",
    )
    figure.colorbar(image, ax=axes[0], label=level_unit(tokenizer.prep), pad=0.01)
    cells = cell_colours(ids.T, tokenizer.colours)
    axes[1].imshow(cells, origin="lower", aspect="auto", extent=extent, interpolation="nearest")
    axes[0].set_title("decoded from the tokens", fontsize=9, loc="left")
    axes[1].set_title("tokens: like codes have like colours", fontsize=9, loc="left")
    for axis in axes:
        mark_hertz(axis, frontend.frequencies)
        axis.set_ylim(0, len(values))
        axis.axvline(begin_s + begin * column_s, color="white", lw=2.5)
        axis.axvline(begin_s + begin * column_s, color="black", lw=1.2, ls="--")
    mark_seconds(axes[1], extent[0], extent[1])
    figure.suptitle(f"{name}; behind the line: drawn by the token model", fontsize=10)
    return to_png(figure)


def _levels(tokenizer: Tokenizer, tokens: Tokens) -> Array:
    """Levels (M, frames) of tokens; NaN where time was left out."""
    model, constants = tokenizer.manifest.model, tokenizer.manifest.normalization
    tiles = tokenizer.decode(tokens)[..., 0]  # in windows, however many tokens there are
    values: Array = np.concatenate([*tiles], axis=1)[:, : tokens.frames]
    if constants is not None:
        values = constants.undo(values)
    is_gap: Mask = np.asarray((tokens.ids > tokenizer.vocabulary.unk).all(axis=1))
    values[:, np.repeat(is_gap, model.time_stride)] = np.nan
    return values
