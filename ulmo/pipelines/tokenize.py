"""ulmo-tokenize: recordings become files of tokens."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ulmo.config import UserError
from ulmo.preprocessing.atomic import publish
from ulmo.preprocessing.audio import (
    RefusedError,
    Verdict,
    channel_list,
    open_recording,
    read_channel,
)
from ulmo.tokenizer import Tokenizer
from ulmo.tokens import NpyWriter

SUFFIX = ".tokens.npy"
FORMATS = {"npy": NpyWriter}


class Tokenized(NamedTuple):
    """What became of one recording."""

    source: Path
    outputs: list[Path]
    verdict: Verdict
    detail: str | None
    seconds: float
    columns: int
    bands: int


def tokenize_files(
    tokenizer: Tokenizer,
    files: Sequence[Path],
    *,
    out: Path | None = None,
    file_format: str = "npy",
    channels: str | None = None,
    done: Callable[[Tokenized], None],
) -> list[Tokenized]:
    """Write the tokens of every file; one that is refused is reported, and the rest go on.

    `out` is a folder, or for one file the file to write; None writes beside each recording.
    `channels` is `mix`, `each` or a number from 0; None: as the tokenizer was trained.
    """
    channels = channels or tokenizer.manifest.prep.channels
    targets = plan_outputs(files, out)
    for folder in {target.parent for target in targets.values()}:
        _make_folder(folder)
    results = []
    for source, target in targets.items():
        results.append(_tokenize_file(tokenizer, source, target, channels, FORMATS[file_format]))
        done(results[-1])
    return results


def plan_outputs(files: Sequence[Path], out: Path | None) -> dict[Path, Path]:
    """Where the tokens of each file go: x.wav to x.tokens.npy.

    Where x.wav and x.flac would meet, both keep their full names (x.wav.tokens.npy). UserError
    where two files would still be one.
    """
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} is not a file")
    unique = list(dict.fromkeys(files))
    if out is not None and out.suffix == ".npy":
        if len(unique) != 1:
            raise UserError(f"--out {out} is one file, but {len(unique)} recordings were given")
        targets = {unique[0]: out}
    else:
        targets = {file: (out or file.parent) / (file.stem + SUFFIX) for file in unique}
        taken = Counter(targets.values())
        for file, target in targets.items():
            if taken[target] > 1:
                targets[file] = target.with_name(file.name + SUFFIX)
        clash = [target for target, count in Counter(targets.values()).items() if count > 1]
        if clash:
            raise UserError(f"several recordings would become {clash[0]}: tokenize them apart")
    return targets


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}: set --out") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write to {folder}: set --out")


def _tokenize_file(
    tokenizer: Tokenizer, source: Path, target: Path, channels: str, writer_type: type[NpyWriter]
) -> Tokenized:
    outputs = []
    columns = 0
    bands = tokenizer.manifest.model.bands
    try:
        with open_recording(source) as recording:
            chosen = channel_list(channels, recording.channels)
            for channel in chosen:
                path = target if len(chosen) == 1 else _channel_name(target, channel)
                samples = partial(
                    read_channel, recording, channel, tokenizer.manifest.prep.sample_rate
                )
                with publish(path) as file:
                    writer = writer_type(file, bands)
                    for part in tokenizer.columns(samples):
                        writer.write(part.ids)
                    columns = writer.close()
                    if not columns:
                        raise RefusedError("too_short", "there is less sound than a sample")
                outputs.append(path)
    except RefusedError as refusal:
        verdict = Verdict("refused", refusal.reason)
        return Tokenized(source, [], verdict, refusal.detail, 0.0, 0, bands)
    return Tokenized(
        source=source,
        outputs=outputs,
        verdict=recording.verdict,
        detail=recording.detail,
        seconds=recording.frames_read / recording.sample_rate,
        columns=columns,
        bands=bands,
    )


def _channel_name(target: Path, channel: int | None) -> Path:
    """x.tokens.npy of channel 1 is x.ch1.tokens.npy; x.npy, given with --out, is x.ch1.npy."""
    suffix = SUFFIX if target.name.endswith(SUFFIX) else target.suffix
    return target.with_name(f"{target.name.removesuffix(suffix)}.ch{channel}{suffix}")
