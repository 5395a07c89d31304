"""Does surprise find what does not belong? Foreign sounds in a steady background, and their level.

    python -m benchmarks.surprise BACKGROUND SOUNDS...

BACKGROUND is a folder of recordings that are put in a row; SOUNDS are recordings of which a second
each is added to it, at 20 places, at several levels relative to the background of that second. Each
second of sound has the mean surprise of its columns, and its level (root mean square). Average
precision of both says how well they tell the seconds with a foreign sound. The first minute is left
out. It needs scikit-learn.
"""

from pathlib import Path

import click
import numpy as np
import soundfile
import soxr
from sklearn.metrics import average_precision_score

import ulmo
from ulmo.jobs.inputs import find_recordings

PLACES = 20
LEVELS_DB = (-10, -5, 0, 10)
LEFT_OUT = 60  # seconds
PATH = click.Path(path_type=Path, exists=True)


def load(path: Path, rate: int) -> np.ndarray:
    """The first channel of a recording, at the rate of the tokenizer."""
    samples, own = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples[:, 0], own, rate)


def loudness(samples: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.square(samples).mean() + 1e-20))


def second_of(samples: np.ndarray, rate: int) -> np.ndarray:
    """A second from its middle third on, or the first one of a short sound."""
    middle = samples[len(samples) // 3 :][:rate]
    return middle if len(middle) > rate // 2 else samples[:rate]


def planted(
    background: np.ndarray, sounds: list[np.ndarray], level_db: float, rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """The background with foreign sounds, and whether each second (n,) has one."""
    mixed, seconds = background.copy(), len(background) // rate
    is_foreign = np.zeros(seconds, bool)
    draw = np.random.default_rng(1).permutation(np.arange(LEFT_OUT, seconds - 5, 4))
    for number, second in enumerate(draw[:PLACES]):
        sound = sounds[number % len(sounds)]
        around = slice(second * rate, (second + 1) * rate)
        gain = loudness(background[around]) / loudness(sound) * 10 ** (level_db / 20)
        mixed[second * rate : second * rate + len(sound)] += gain * sound
        is_foreign[second] = True
    return np.clip(mixed, -1, 1), is_foreign


@click.command()
@click.argument("background", type=PATH)
@click.argument("sounds", type=PATH, nargs=-1, required=True)
def main(background: Path, sounds: tuple[Path, ...]) -> None:
    """Print average precision by level."""
    tokenizer, model = ulmo.load_tokenizer(), ulmo.load_token_model()
    rate = tokenizer.prep.sample_rate
    names = [background / name for name in find_recordings(background)]
    steady = np.concatenate([load(name, rate) for name in names])
    foreign = [second_of(load(path, rate), rate) for path in sounds]
    for level_db in LEVELS_DB:
        mixed, is_foreign = planted(steady, foreign, level_db, rate)
        tokens = tokenizer.encode(mixed, sample_rate=rate)
        surprise = model.score(tokens, short=False).surprise
        columns = round(tokens.sample_rate / tokens.hop)  # of a second
        seconds = len(is_foreign)
        means = np.nan_to_num(surprise[: seconds * columns].reshape(seconds, columns)).mean(axis=1)
        levels = [loudness(part) for part in np.split(mixed[: seconds * rate], seconds)]
        later = slice(LEFT_OUT, None)
        scores = (
            average_precision_score(is_foreign[later], np.array(values)[later])
            for values in (means, levels)
        )
        by_surprise, by_level = scores
        click.echo(f"{level_db:>4} dB: surprise {by_surprise:.3f}, level {by_level:.3f}")


if __name__ == "__main__":
    main()
