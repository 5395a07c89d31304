"""Bits a token of the token model, beside what is simpler, on the same tokens; and its speed.

    python -m benchmarks.token_model TOKENS... [--lm LM] [--columns N]
    python -m benchmarks.token_model TOKENS... --background TOKENS

TOKENS are folders that ulmo-tokenize wrote. Each recording is scored alone, from its first column
on; recordings of a folder are counted together. The rows:

- order 0: how often each id is in the training tokens of the model, and nothing else
- adaptive pairs: ids after the id before in their band, counted as the recording goes on
- copies: the soft copies alone
- context mixing: benchmarks/context_mixing.py, and with soft copies as one more input (both start
  from nothing in each recording, with no training)
- network: the network alone
- whole model: the mixture; and the same with copies and habits of the last 1,024 tokens alone

With --background, 40 columns of each of up to 20 recordings are put among the tokens of shuffled
recordings of that folder, and the same tokens again 1 minute, 10 minutes and 1 hour later: how many
bits the second time costs less. --chained draws the other tokens as those of the folder follow each
other (benchmarks/token_background.py), as many as --seconds needs: 86400 is a day.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.context_mixing import mixing_bits, tree_leaves
from benchmarks.token_background import chained
from ulmo.config.token_model import CHUNK
from ulmo.formats.read import read_corpus
from ulmo.preprocessing.threads import one_thread
from ulmo.sequence.copying import Past
from ulmo.sequence.habits import Habits
from ulmo.sequence.mixture import soften
from ulmo.token_model import TokenModel, load_token_model

ROWS = (
    *("order 0", "adaptive pairs", "copies", "context mixing"),
    *("context mixing, copies", "network", "whole model, 1,024 tokens", "whole model"),
)
LENGTH = 40  # columns of what is planted
SPACING = 70  # columns from one to the next
DISTANCES = (60, 600, 3600)  # seconds
COLUMNS_A_SECOND = 25  # of the tokenizer that ships
PATH = click.Path(path_type=Path)


def padded(ids: np.ndarray, model: TokenModel) -> np.ndarray:
    """Ids with `<pad>` up to whole chunks."""
    pad = model.parts.network._vocabulary.pad
    fill = np.full((-len(ids) % CHUNK, ids.shape[1]), pad, np.int32)
    return np.concatenate([ids.astype(np.int32), fill])


def log2_of(guesses: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """log2 of the guesses (..., CB) of ids."""
    right = np.minimum(ids, guesses.shape[-1] - 1)[..., None]
    return np.take_along_axis(soften(guesses), right, axis=-1)[..., 0] / np.log(2)


def guesses_of(ids: np.ndarray, model: TokenModel) -> dict[str, np.ndarray]:
    """Bits (time, bands) of the guesses that the mixture has, each alone; and the copies."""
    parts, rows = model.parts, padded(ids, model)
    past, habits, state = Past(parts.tables), Habits(parts.usual), parts.network.begin()
    bits = {name: [] for name in ("adaptive pairs", "copies", "network")}
    copied, gates = [], []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        network, state = parts.network.chunk(chunk, state)
        copies = past.recall(chunk)
        pairs = np.stack([each[0] for _, each in habits.guess(chunk)])
        copied.append(copies.probabilities.transpose(1, 0, 2))
        bits["network"].append(-log2_of(network.transpose(1, 0, 2), chunk))
        bits["copies"].append(-log2_of(copied[-1], chunk))
        bits["adaptive pairs"].append(-log2_of(pairs.transpose(1, 0, 2), chunk))
        gates.append(copies.gates)
        past.add(chunk)
        habits.add(chunk)
    found = {name: np.concatenate(each)[: len(ids)] for name, each in bits.items()}
    found["copied"] = np.concatenate(copied)[: len(ids)]
    found["gates"] = np.concatenate(gates)[: len(ids)]
    return found


def rows_of(ids: np.ndarray, model: TokenModel) -> tuple[dict[str, float], float]:
    """Sums of bits of a recording by row, and the seconds that the whole model took."""
    codes = model.manifest.model.codebook_size
    known = np.minimum(ids, codes - 1)
    counted = ids < codes
    found = guesses_of(ids, model)
    alone = np.log2(model.parts.usual)[np.arange(ids.shape[1]), known]
    leaves, depth = tree_leaves(model.parts.network._weights["codes"])
    order = np.argsort(leaves)
    mixed = {
        "context mixing": mixing_bits(leaves[known], depth, None, None),
        "context mixing, copies": mixing_bits(
            leaves[known], depth, np.ascontiguousarray(found["copied"][..., order]), found["gates"]
        ),
    }
    scores = model.score(ids)
    began = time.process_time()
    model.score(ids, short=False)
    seconds = time.process_time() - began
    bits = {
        "order 0": -alone,
        **{name: found[name] for name in ("adaptive pairs", "copies", "network")},
        **mixed,
        "whole model": scores.bits,
        "whole model, 1,024 tokens": scores.bits_short,
    }
    return {name: float(bits[name][counted].sum(dtype=np.float64)) for name in ROWS}, seconds


def columns_of(seconds: float, pieces: list[np.ndarray]) -> int:
    """Columns in which all pieces come again that much later."""
    return round(seconds * COLUMNS_A_SECOND) + 2 * SPACING * len(pieces)


def planted(
    model: TokenModel,
    pieces: list[np.ndarray],
    background: np.ndarray,
    distances: Sequence[float],
) -> None:
    """Print what pieces (LENGTH, bands) cost the first and the second time, by seconds between."""
    for seconds in distances:
        apart = round(seconds * COLUMNS_A_SECOND)
        ids = background[: columns_of(seconds, pieces)].copy()
        firsts = SPACING * np.arange(1, len(pieces) + 1)
        for piece, first in zip(pieces, firsts, strict=True):
            ids[first : first + LENGTH] = piece
            ids[first + apart : first + apart + LENGTH] = piece
        began = time.process_time()
        bits = model.score(ids, short=False).bits
        took = time.process_time() - began
        one, two = (
            np.mean([bits[at + late : at + late + LENGTH].mean() for at in firsts])
            for late in (0, apart)
        )
        click.echo(
            f"{seconds:>6g} s later: {one:.3f} bits a token at first, then {two:.3f}, "
            f"{one - two:.3f} less; {len(ids):,} columns in {took:.0f} CPU seconds"
        )


@click.command()
@click.argument("tokens", type=PATH, nargs=-1, required=True)
@click.option("--lm", type=PATH, default=None, help="[default: the one that ships]")
@click.option("--columns", type=int, default=None, help="Of each recording, at most.")
@click.option("--background", type=PATH, default=None, help="Plant repeats in these tokens.")
@click.option("--chained", "is_chained", is_flag=True, help="Draw these at random.")
@click.option(
    "--seconds", "distances", type=float, multiple=True, default=DISTANCES, show_default=True
)
@click.option("--leave-out", multiple=True, help="Names of recordings that begin so are left out.")
def main(
    tokens: tuple[Path, ...],
    lm: Path | None,
    columns: int | None,
    background: Path | None,
    is_chained: bool,
    distances: tuple[float, ...],
    leave_out: tuple[str, ...],
) -> None:
    """Print bits a token, a table for each folder of TOKENS."""
    model = load_token_model(lm)
    if background is not None:
        stored = [each.ids for folder in tokens for each in read_corpus(folder)]
        pieces = [ids[5 : 5 + LENGTH] for ids in stored if len(ids) > LENGTH + 20][:20]
        around = [each.ids for each in read_corpus(background)]
        if is_chained:
            row = chained(around, columns_of(max(distances), pieces))
        else:
            np.random.default_rng(0).shuffle(around)
            row = np.concatenate(around)
        planted(model, pieces, row, distances)
        return
    for folder in tokens:
        sums, count, recordings, seconds = dict.fromkeys(ROWS, 0.0), 0, 0, 0.0
        with one_thread():
            for stored in read_corpus(folder):
                if stored.header.recording.startswith(leave_out or ("\0",)):
                    continue
                ids = stored.ids[:columns]
                bits, took = rows_of(ids, model)
                sums = {name: sums[name] + bits[name] for name in ROWS}
                count += int((ids < model.manifest.model.codebook_size).sum())
                recordings, seconds = recordings + 1, seconds + took
        speed = count / max(seconds, 1e-9)
        click.echo(f"{folder}: {recordings} recordings, {count:,} tokens, {speed:,.0f} tokens/s")
        for name in ROWS:
            click.echo(f"  {name:<26} {sums[name] / max(count, 1):6.3f}")


if __name__ == "__main__":
    main()
