"""Mimi, SNAC and EnCodec, in an interpreter of their own: `python -m benchmarks.peers WAV`.

moshi 0.2.13 asks for torch < 2.10, NumPy < 2.3, bitsandbytes and a sound device (its Mimi needs
none of them), and for a huggingface-hub that transformers 5 refuses: `make peers` makes a place
for them. This module is run with its Python, and imports nothing of ulmo's. It tells in a line of
JSON what it has, then for each name that it reads how long the encoder took, from the file to the
codes. `Peers` is the other end.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

THREADS = 2
RATE = 24_000
"""Of all three, in hertz."""
PACKAGES = ("moshi", "snac", "transformers", "torch", "soundfile")
SNAC_24KHZ = {
    "sampling_rate": RATE,
    "encoder_dim": 48,
    "encoder_rates": [2, 4, 8, 8],
    "decoder_dim": 1024,
    "decoder_rates": [8, 8, 4, 2],
    "attn_window_size": None,
    "vq_strides": [4, 2, 1],
}
"""config.json of hubertsiuzdak/snac_24khz, the smallest and fastest of the three published."""
ROOT = Path(__file__).parent.parent


class Encoded(NamedTuple):
    """One call of an encoder."""

    seconds: float
    tokens: int


class Peers:
    """The peers' process, with the models loaded and each called once."""

    def __init__(self, python: str, recording: Path) -> None:
        executable = Path(shutil.which(python) or python).absolute()  # from here, not from ROOT
        self._process = subprocess.Popen(
            [str(executable), "-m", "benchmarks.peers", str(recording.resolve())],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions: dict[str, str] = self._answer()

    def encode(self, name: str) -> Encoded:
        """One call of `mimi`, `snac` or `encodec`."""
        assert self._process.stdin
        print(name, file=self._process.stdin, flush=True)
        return Encoded(**self._answer())

    def __enter__(self) -> "Peers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the peers' process ended; its error stands above")
        return json.loads(line)


def check_peers(python: str) -> None:
    """End the program, with a remedy, where a Python lacks the peers' packages."""
    found = "; ".join(f"find_spec({name!r}) or missing.append({name!r})" for name in PACKAGES)
    code = f"from importlib.util import find_spec; missing = []; {found}; print(*missing)"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        missing = done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        missing = "all of it"
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
    """Samples (1, 1, n) to a list of codes, a codebook each."""
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
    """Load all, call each once, then answer one name after the other."""
    import soundfile
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    encoders = {name: build() for name, build in PEERS.items()}

    @torch.inference_mode()
    def encode(name: str) -> Encoded:
        begun = time.perf_counter()
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        codes = encoders[name](torch.from_numpy(samples)[None, None])
        parts = [part.numpy() for part in (codes if isinstance(codes, list) else [codes])]
        return Encoded(time.perf_counter() - begun, sum(part.size for part in parts))

    for name in encoders:
        encode(name)
    print(json.dumps({name: version(name) for name in PACKAGES}), flush=True)
    for line in sys.stdin:
        print(json.dumps(encode(line.strip())._asdict()), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
