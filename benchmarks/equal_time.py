"""The token model beside a windowed transformer, of equal size and trained in equal CPU time.

    python -m benchmarks.equal_time TRAIN_TOKENS TEST_TOKENS... --minutes M --peers-python PYTHON

The token model trains for M minutes as `ulmo lm train` does. The transformer
(benchmarks/windowed_peer.py, in PyTorch, with the Python of `make peers`) then trains on the same
recordings until it has used as much CPU time, so that other jobs on the machine favour neither. The
recordings of the TEST_TOKENS are scored alone, each from its first column on. Held-out recordings
of TRAIN_TOKENS are the first test.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.report import ROOT
from benchmarks.token_model import guesses_of
from ulmo.formats.read import read_corpus
from ulmo.pipelines.lm.streams import TokenCorpus, read_token_corpus, split_tokens
from ulmo.preprocessing.threads import one_thread
from ulmo.token_model import TokenModel, load_token_model
from ulmo.tokenizer import load_tokenizer
from ulmo.vocabulary import SPECIAL_TOKENS, Vocabulary

PATH = click.Path(path_type=Path)
THREADS = 1  # of both: waiting threads would count as CPU time
HELD_OUT, SEED = 0.02, 0  # as `ulmo lm train` has them
ROWS = ("windowed transformer", "network", "whole model")


class Clock:
    """The CPU time of the steps of a run, as its reporter."""

    def __init__(self) -> None:
        self.steps, self.first, self.last = 0, 0.0, 0.0

    def note(self, text: str) -> None:
        """Print nothing."""

    warn = note

    def begin(self, steps: int, done: int) -> None:
        """Start the clock at the first step."""

    def batch(self, losses: dict[str, float]) -> None:
        """Count a step."""
        self.last = time.process_time()
        self.first = self.first or self.last
        self.steps += 1

    def epoch(self, row: dict[str, Any]) -> None:
        """Validation is done."""

    @property
    def seconds(self) -> float:
        """CPU seconds of all steps; the first, which builds the graph, counts as the others do."""
        return (self.last - self.first) * self.steps / max(self.steps - 1, 1)


def trained(tokens: Path, run: Path, minutes: float) -> tuple[TokenModel, Clock]:
    """The token model after some minutes, and the CPU time that its training took."""
    from ulmo.pipelines.lm.train import train_token_model

    clock = Clock()
    settings = {"max_minutes": minutes, "epochs": 1000, "threads": THREADS}
    train_token_model(tokens, run, clock, settings=settings)
    return load_token_model(run / "lm"), clock


def behind_bos(recordings: list[np.ndarray], bos: int) -> list[np.ndarray]:
    """Each recording behind a column of `<bos>`."""
    return [np.concatenate([np.full((1, each.shape[1]), bos), each]) for each in recordings]


def write_data(
    folder: Path, corpus: TokenCorpus, places: list[int], tests: dict[str, list[np.ndarray]]
) -> None:
    """What benchmarks.windowed_peer reads."""
    codes = load_tokenizer().vocabulary.unk
    bos = Vocabulary(codes).bos
    order = np.random.default_rng(SEED).permutation(places)
    row = behind_bos([corpus.ids[place] for place in order], bos)
    np.save(folder / "train.npy", np.concatenate(row).astype(np.int16))
    lengths = {}
    for name, recordings in tests.items():
        each = behind_bos(recordings, bos)
        np.save(folder / f"{name}.npy", np.concatenate(each).astype(np.int16))
        lengths[name] = [len(one) for one in each]
    facts = {"codes": codes, "specials": len(SPECIAL_TOKENS), "tests": lengths}
    (folder / "facts.json").write_text(json.dumps(facts))


def bits_of(model: TokenModel, recordings: list[np.ndarray]) -> dict[str, float]:
    """Bits a token of the network alone, and of the whole model."""
    sums, count = dict.fromkeys(ROWS[1:], 0.0), 0
    with one_thread():
        for ids in recordings:
            counted = ids < model.manifest.model.codebook_size
            sums["network"] += float(guesses_of(ids, model)["network"][counted].sum())
            sums["whole model"] += float(model.score(ids, short=False).bits[counted].sum())
            count += int(counted.sum())
    return {name: total / count for name, total in sums.items()}


def peer(python: str, folder: Path, seconds: float) -> dict[str, Any]:
    """What benchmarks.windowed_peer prints."""
    command = [python, "-m", "benchmarks.windowed_peer", str(folder), str(seconds)]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@click.command()
@click.argument("train", type=PATH)
@click.argument("tests", type=PATH, nargs=-1)
@click.option("--minutes", type=float, default=10.0, show_default=True)
@click.option("--peers-python", required=True, help="As `make peers` makes it.")
def main(train: Path, tests: tuple[Path, ...], minutes: float, peers_python: str) -> None:
    """Print bits a token of both."""
    corpus = read_token_corpus(train, load_tokenizer())
    split = split_tokens(corpus, HELD_OUT, SEED)
    held_out = [corpus.ids[place].astype(np.int32) for place in split.validation]
    sets = {"held_out": held_out}
    sets |= {path.name: [each.ids for each in read_corpus(path)] for path in tests}
    python = str(Path(peers_python).absolute())
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_data(folder, corpus, split.train, sets)
        model, clock = trained(train, folder / "run", minutes)
        answer = peer(python, folder, clock.seconds)
    weights = sum(
        each.size
        for name, each in model.parts.network._weights.items()
        if name not in ("scores", "usual", "mixture")
    )
    click.echo(f"both trained for {clock.seconds:.0f} CPU seconds")
    click.echo(f"token model: {weights:,} weights, {clock.steps} steps")
    click.echo(
        f"transformer: {answer['weights']:,} weights, {answer['steps']} steps, "
        f"{answer['train_bits']:.3f} bits in training, torch {answer['torch']}"
    )
    for name, recordings in sets.items():
        bits = {ROWS[0]: answer["bits"][name], **bits_of(model, recordings)}
        click.echo(f"{name}: {len(recordings)} recordings")
        for row in ROWS:
            click.echo(f"  {row:<22} {bits[row]:6.3f}")


if __name__ == "__main__":
    main()
