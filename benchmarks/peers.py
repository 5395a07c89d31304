"""Mimi, SNAC and EnCodec, in an interpreter of their own: `python -m benchmarks.peers WAV`.

moshi 0.2.13 requires torch < 2.10, NumPy < 2.3, bitsandbytes and a sound device (its Mimi needs
none of them), and a huggingface-hub that transformers 5 rejects: `make peers` creates an
environment for them. This module runs there, and imports nothing of ulmo. It prints the versions,
then for each name that it reads the time that the encoder took, from the file to the codes.
`Peers` is the other end.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.child import Child

THREADS = 2
RATE = 24_000  # hertz, for all three
PACKAGES = ("moshi", "snac", "transformers", "torch", "soundfile")
# config.json of hubertsiuzdak/snac_24khz, the smallest and fastest of the three published models.
SNAC_24KHZ = {
    "sampling_rate": RATE,
    "encoder_dim": 48,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 1024,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "vq_strides": [4, 2, 1],
}


class EncoderCall(NamedTuple):
    """One call of an encoder."""

    seconds: float
    tokens: int


class Peers(Child):
    """The peers' process, with the models loaded and each called once."""

    def __init__(self, python: str, recording: Path) -> None:
        super().__init__(python, "benchmarks.peers", [recording.resolve()])

    def encode(self, name: str) -> EncoderCall:
        """One call of `mimi`, `snac` or `encodec`."""
        return EncoderCall(**self.ask(name))


def check_peers(python: str) -> None:
    """End the program, with a remedy, if a Python lacks the peers' packages."""
    found = "; ".join(f"find_spec({name!r}) or missing.append({name!r})" for name in PACKAGES)
    code = f"from importlib.util import find_spec; missing = []; {found}; print(*missing)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        missing = done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        missing = "all of them"
    if missing:
        raise SystemExit(
            f"{python} lacks {missing}: run `make peers`, and give the script "
            "--peers-python .peers/bin/python"
        )


def mimi() -> Callable[[Any], Any]:
    """Samples (1, 1, n) to codes of 8 codebooks, as Moshi uses it."""
    from moshi.models.loaders import get_mimi

    encode: Callable[[Any], Any] = get_mimi(None).encode
    return encode


def snac() -> Callable[[Any], Any]:
    """Samples (1, 1, n) to a list of codes, one item for each codebook."""
    from snac import SNAC

    encode: Callable[[Any], Any] = SNAC(**SNAC_24KHZ).eval().encode
    return encode


def encodec() -> Callable[[Any], Any]:
    """Samples (1, 1, n) to codes of 8 codebooks: 6 kbit/s."""
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(EncodecConfig()).eval()
    return lambda samples: model.encode(samples, bandwidth=6.0).audio_codes


PEERS = {"mimi": mimi, "snac": snac, "encodec": encodec}


def serve(path: str) -> None:
    """Load all encoders, call each once, then answer one name after the other."""
    import soundfile
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    encoders = {name: build() for name, build in PEERS.items()}

    @torch.inference_mode()
    def encode(name: str) -> EncoderCall:
        begun = time.perf_counter()
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        codes = encoders[name](torch.from_numpy(samples)[None, None])
        parts = [part.numpy() for part in (codes if isinstance(codes, list) else [codes])]
        return EncoderCall(time.perf_counter() - begun, sum(part.size for part in parts))

    for name in encoders:
        encode(name)
    print(json.dumps({name: version(name) for name in PACKAGES}), flush=True)
    for line in sys.stdin:
        print(json.dumps(encode(json.loads(line))._asdict()), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
