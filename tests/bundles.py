"""Bundles as an attacker may make them: changed, then sealed again."""

import json
from hashlib import sha256

import safetensors.numpy

from ulmo.bundle.bundle import build_bundle, read_bundle, write_bundle
from ulmo.bundle.card import Card
from ulmo.bundle.weights import THRESHOLDS
from ulmo.config import ModelSettings, PrepSettings, UserError
from ulmo.preprocessing.normalize import Normalization

MANIFEST, WEIGHTS, ENCODER = FILES = ("tokenizer.json", "model.safetensors", "encoder.onnx")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def digest(value):
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def sealed(values):
    """The manifest with hashes that fit its values."""
    outside = ("fingerprint", "card", "card_hash")
    rest = {name: value for name, value in values.items() if name not in outside}
    return {**values, "fingerprint": digest(rest), "card_hash": digest(values["card"])}


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
