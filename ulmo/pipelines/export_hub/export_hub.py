"""A bundle laid out as a repository of the Hugging Face hub.

README.md      its card: metadata for the hub's search, how to use it, what it is
config.json    the main figures, for programs that look for this file; ulmo does not read it
...            the files of the bundle, byte for byte
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ulmo.bundle.bundle import Bundle, read_bundle
from ulmo.bundle.card import Corpus
from ulmo.bundle.folder import FolderKind
from ulmo.bundle.manifest import ENCODER, FILES, MANIFEST, SCORES, WEIGHTS, BundleManifest
from ulmo.config import LIMITS, Limits, UserError

README, CONFIG = "README.md", "config.json"
REPOSITORY = FolderKind("bundle", "a tokenizer", MANIFEST, (*FILES, README, CONFIG), "tokenizer")
TAGS = ("ulmo", "audio", "bioacoustics", "spectrogram", "tokenizer", "vq-vae")
UNKNOWN = "unknown"  # the hub's word for no licence
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")


class Exported(NamedTuple):
    """A folder that was written."""

    folder: Path
    files: dict[str, int]  # bytes by name
    fingerprint: str
    license: str


def export_hub(
    place: Path | str,
    folder: Path,
    *,
    described: str,
    license: str = UNKNOWN,
    limits: Limits = LIMITS,
) -> Exported:
    """Write a bundle and its card into a new folder.

    place: the bundle, as `read_bundle` takes it.
    described: what it is, in plain text, for the card.
    license: an identifier of the hub, such as cc-by-4.0, under which the weights are shared.

    UserError if the bundle is refused, or if the folder holds anything: a card that somebody
    corrected by hand would be lost.
    """
    if not _LICENSE.fullmatch(license):
        raise UserError(f"--license must be an identifier such as cc-by-4.0, not {license!r}")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name a new folder")
    bundle = read_bundle(place, limits)
    files = {
        README: _card(bundle.manifest, described, license).encode(),
        CONFIG: (json.dumps(_config(bundle.manifest), indent=2) + "\n").encode(),
        **_files(bundle),
    }
    REPOSITORY.write(folder, files)
    sizes = {name: len(content) for name, content in files.items()}
    return Exported(folder, sizes, bundle.manifest.fingerprint, license)


def _files(bundle: Bundle) -> dict[str, bytes]:
    files = {MANIFEST: bundle.manifest.text(), WEIGHTS: bundle.packed, ENCODER: bundle.encoder}
    if bundle.packed_scores is not None:
        files[SCORES] = bundle.packed_scores
    return files


def _config(manifest: BundleManifest) -> dict[str, Any]:
    prep, model = manifest.prep, manifest.model
    return {
        "model_type": "ulmo-tokenizer",
        "schema_version": manifest.schema_version,
        "fingerprint": manifest.fingerprint,
        "sample_rate": prep.true_rate,
        "bands": model.bands,
        "column_seconds": model.time_stride * prep.frame_s,
        "codebook_size": model.codebook_size,
        "vocabulary_size": manifest.vocabulary_size,
    }


def _card(manifest: BundleManifest, described: str, license: str) -> str:
    """README.md: metadata in YAML, then Markdown."""
    prep, model = manifest.prep, manifest.model
    column = 1000 * model.time_stride * prep.frame_s
    runs = re.findall(r"`+", described)
    fence = "`" * max(3, *(len(run) + 1 for run in runs)) if runs else "```"
    tags = "\n".join(f"- {tag}" for tag in TAGS)
    return f"""---
license: {json.dumps(license)}
library_name: ulmo
tags:
{tags}
---

# A tokenizer of sound: {manifest.fingerprint[:8]}

It turns any recording into a grid of ids: {model.bands} bands every {column:.4g} ms, each one of \
{model.codebook_size} codes. It hears recordings at {prep.true_rate:g} Hz; others are resampled.

## Use it

Replace OWNER/NAME by the name of this repository.

```
pip install 'ulmo[hub]'
ulmo inspect hf://OWNER/NAME
ulmo-tokenize bird.wav --tokenizer hf://OWNER/NAME
```

```python
import ulmo

tokens = ulmo.load_tokenizer("hf://OWNER/NAME").encode("bird.wav")
tokens.ids  # (time, band)
```

Add `@` and a commit to the name, and it stays the same tokenizer. A downloaded folder, or a \
zip file of it, is used by its path. ulmo checks every byte before it uses a tokenizer, and none \
of it is code.

`encoder.onnx` runs in any program that knows ONNX. `tokenizer.json` is ulmo's own, and not a file \
of the package tokenizers.

## What it is

{fence}
{described.strip()}
{fence}
{_corpora(manifest.card.corpora)}"""


def _corpora(corpora: Iterable[Corpus]) -> str:
    """All corpora with their licences, which may ask for this list."""
    lines = [
        f"- {_plain(corpus.name or 'unnamed recordings')}: {corpus.recordings} recordings, "
        f"{corpus.hours:.3g} hours; licence {_plain(corpus.licence or 'not stated')}\n"
        for corpus in corpora
    ]
    return "\n## What it was trained on\n\n" + "".join(lines) if lines else ""


def _plain(text: str) -> str:
    """A text as Markdown that shows it, and means nothing else."""
    return re.sub(r"([^\w\s,.:;()-])", r"\\\1", text)
