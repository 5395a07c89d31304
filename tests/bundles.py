"""Small bundles of random weights, and bundles as an attacker may make them."""

import json
from hashlib import sha256

import numpy as np
import onnxruntime
import safetensors.numpy

from ulmo.bundle.bundle import build_bundle, read_bundle, write_bundle
from ulmo.bundle.card import Card
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.bundle.weights import THRESHOLDS, weight_shapes
from ulmo.config import ModelSettings, PrepSettings, UserError
from ulmo.preprocessing.normalize import Normalization

PREP = PrepSettings(frontend="stft", tile_size=32, sample_rate=8000, hop_length=64)
MANIFEST, WEIGHTS, ENCODER = FILES = ("tokenizer.json", "model.safetensors", "encoder.onnx")
SCORES = "substitution.safetensors"  # of some bundles


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def digest(value):
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(values):
    """The manifest with hashes that fit its values."""
    outside = ("fingerprint", "card", "card_hash")
    rest = {name: value for name, value in values.items() if name not in outside}
    rest["hashes"] = {name: v for name, v in values["hashes"].items() if name != SCORES}
    return {**values, "fingerprint": digest(rest), "card_hash": digest(values["card"])}


def run_graph(content, values):
    """Outputs of an ONNX graph for its one input."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: values})


def rewrite(folder, change, seal=sealed):
    """Change the values of a bundle's manifest and seal it."""
    values = json.loads((folder / MANIFEST).read_text())
    change(values)
    text = json.dumps(seal(values), indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))


def replace(folder, name, content):
    """Replace a file of the bundle, and its hash in the manifest."""
    (folder / name).write_bytes(content)
    rewrite(folder, lambda v: v["hashes"].update({name: sha256(content).hexdigest()}))


def refusal(folder):
    """The one-line refusal of a bundle; None if it is read."""
    line = None
    try:
        read_bundle(folder)
    except UserError as error:
        line = str(error)
    assert line is None or (line.isprintable() and len(line) < 1500)
    return line


def seal_again(folder):
    """Write a bundle again, with the defaults of settings that are newer than it."""
    values = json.loads((folder / MANIFEST).read_text())
    weights = safetensors.numpy.load_file(folder / WEIGHTS)
    thresholds = weights.pop(THRESHOLDS)
    constants = values["normalization"]
    built = build_bundle(
        prep=PrepSettings(**values["prep"]),
        normalization=Normalization(**constants) if constants else None,
        model=ModelSettings(**values["model"]),
        weights=weights,
        thresholds=thresholds,
        card=Card(**values["card"]),
    )
    write_bundle(folder, built)


CONSTANTS = {  # of the modes that learn them from the corpus
    "corpus": Normalization(offset=-45.5, scale=17.25),
    "pcen": Normalization(offset=0.375, scale=0.5),
    "level": Normalization(offset=-40.5, scale=15.75),
}


def write_small_bundle(folder, prep, *, seed=0, contents=None, **plan):
    """Write a bundle of random weights; its folder.

    `contents` replace what build_bundle is given; other options are the model's.
    """
    small = {"width": 8, "codebook_size": 16, "embedding_dim": 4, "tile_size": prep.tile_size}
    model = ModelSettings(**{**small, **plan})
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in weight_shapes(model).items()
    }
    values = {
        "prep": prep,
        "normalization": CONSTANTS.get(prep.normalization),
        "model": model,
        "weights": weights,
        "thresholds": np.cumsum(
            rng.random((model.codebook_size, len(UNK_QUANTILES))), axis=1, dtype=np.float32
        ),
        "card": Card(notes="Trained on nothing."),
    }
    write_bundle(folder, build_bundle(**{**values, **(contents or {})}))
    return folder
