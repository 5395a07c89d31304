"""One small output of each kind, as ulmo writes it: what is damaged, verified and attacked."""

import numpy as np
import soundfile

from tests.formats.streams import header_of, random_ids, save
from ulmo.config import ModelSettings, PrepSettings, TrainSettings
from ulmo.formats import FORMATS
from ulmo.pipelines.prep.prep import prepare
from ulmo.storage.checkpoint_files import write_digests
from ulmo.storage.csv_log import batch_columns, epoch_columns
from ulmo.storage.run_manifest import RunManifest
from ulmo.storage.sealed import write_sealed
from ulmo.storage.tables import publish_table

PREP = PrepSettings(
    frontend="stft", tile_size=8, sample_rate=1000, hop_length=16, normalization="tile"
)
SMALL = {"width": 2, "codebook_size": 4, "embedding_dim": 2, "encoder_layers": 1}
SMALL |= {"decoder_layers": 1, "frequency_stride": 4, "time_stride": 4}


def make_audio(folder, lengths=(300, 200), rate=1000):
    """Recordings of noise, of so many samples."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number, length in enumerate(lengths):
        samples = rng.normal(0, 0.1, length).clip(-0.9, 0.9)
        soundfile.write(folder / f"{'abcdefgh'[number]}.wav", samples, rate)
    return folder


def make_tiles(folder):
    """Five tiles of 8 x 8 of two recordings; the audio lies beside them, in `audio`."""
    prepare(make_audio(folder.parent / "audio"), folder, PREP)
    return folder


def make_tokens(folder, name="npy", columns=5):
    """One recording in a format; the path to read."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = random_ids(columns)
    suffixes = FORMATS[name].suffixes
    save(folder / f"x{suffixes[0]}", name, [(header_of(ids), ids)])
    return folder / f"x{suffixes[-1]}"


def make_run(folder, make_bundle):
    """A finished run: its checkpoints are bytes that no TensorFlow ever saw."""
    checkpoints = folder / "checkpoints"
    (checkpoints / "best").mkdir(parents=True)
    manifest = RunManifest(
        model=ModelSettings(tile_size=8, **SMALL),
        train=TrainSettings(),
        tiles="tiles",
        tiles_fingerprint="ab" * 32,
        versions={"ulmo": "0.1.0"},
    )
    write_sealed(folder / "train.json", manifest)
    for place, number in ((checkpoints, 3), (checkpoints, 5), (checkpoints / "best", 5)):
        save_checkpoint(place, number)
    (folder / "losses.csv").write_text(log_of(batch_columns(["reconstruct"]), 5))
    (folder / "epochs.csv").write_text(log_of(epoch_columns(["reconstruct"]), 1))
    make_bundle(folder / "tokenizer", PREP, **SMALL)
    return folder


def save_checkpoint(place, number):
    """What a save leaves, as far as names go, and its hashes."""
    rng = np.random.default_rng(number)
    for ending, size in (("index", 60), ("data-00000-of-00001", 90)):
        (place / f"ckpt-{number}.{ending}").write_bytes(rng.bytes(size))
    write_digests(place, number)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def log_of(columns, rows):
    """A CSV log with so many rows."""
    lines = [
        ",".join(str(row + 1) if name == "step" else "0.5" for name in columns)
        for row in range(rows)
    ]
    return "\n".join([",".join(columns), *lines]) + "\n"


def write_table(path, rows, schema):
    """Rows as a table of ours."""
    with publish_table(path, schema) as writer:
        for row in rows:
            writer.add(row)
