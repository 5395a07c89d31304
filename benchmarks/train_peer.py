"""The VQ-VAE in PyTorch, with vector-quantize-pytorch: `python -m benchmarks.train_peer DATA PLAN`.

Run with the Python of `make peers`; it imports nothing of ulmo. DATA is a folder that
benchmarks.train writes. There are two plans: `usual` halves the map in every layer, as models in
PyTorch usually do; `ulmo` has the strides of ulmo's defaults, to separate the framework's share.
"""

import argparse
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from vector_quantize_pytorch import VectorQuantize

from benchmarks.learners import BATCH, LEARNING_RATE, THREADS, serve

EMB, CODES = 32, 512
DECAY = 0.99
COMMITMENT = 0.25
DEAD_BELOW = 2  # threshold_ema_dead_code in the README of vector-quantize-pytorch


def usual() -> tuple[nn.Module, nn.Module]:
    """Four layers of stride 2, and their mirror of transposed convolutions."""
    channels = (1, 32, 64, 128, 128)
    encoder = [nn.Conv2d(*ends, 4, stride=2, padding=1) for ends in pairwise(channels)]
    back = (EMB, 128, 64, 32, 1)
    decoder = [nn.ConvTranspose2d(*ends, 4, stride=2, padding=1) for ends in pairwise(back)]
    return nn.Sequential(*_rectified(encoder), nn.Conv2d(128, EMB, 1)), _without_last(decoder)


def as_ulmo() -> tuple[nn.Module, nn.Module]:
    """Strides 4, 2, 2, 1, and back; the last layer outputs 4 x 4 cells at low resolution."""
    encoder = [
        nn.Conv2d(1, 64, 8, stride=4, padding=2),
        nn.Conv2d(64, 128, 4, stride=2, padding=1),
        nn.Conv2d(128, 128, 4, stride=2, padding=1),
        nn.Conv2d(128, 128, 3, padding=1),
    ]
    decoder = [
        nn.Conv2d(EMB, 128, 3, padding=1),
        nn.ConvTranspose2d(128, 128, 4, stride=2, padding=1),
        nn.ConvTranspose2d(128, 128, 4, stride=2, padding=1),
        nn.Conv2d(128, 16, 3, padding=1),
    ]
    return (
        nn.Sequential(*_rectified(encoder), nn.Conv2d(128, EMB, 1)),
        nn.Sequential(_without_last(decoder), nn.PixelShuffle(4)),
    )


def _rectified(layers: list[nn.Module]) -> list[nn.Module]:
    return [part for layer in layers for part in (layer, nn.ReLU(inplace=True))]


def _without_last(layers: list[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*_rectified(layers)[:-1])


PLANS = {"usual": usual, "ulmo": as_ulmo}


class Peer:
    """The model, Adam and the tiles."""

    def __init__(self, data: Path, plan: str, *, bf16: bool) -> None:
        torch.set_num_threads(THREADS)
        torch.manual_seed(0)
        self._tiles = {name: np.load(data / f"{name}.npy", mmap_mode="r") for name in _PARTS}
        self._valid = {name: np.load(data / f"{name}_valid.npy") for name in _PARTS}
        self.tiles = len(self._tiles["train"])
        self._bf16 = bf16
        encoder, decoder = PLANS[plan]()
        quantizer = VectorQuantize(
            dim=EMB,
            codebook_size=CODES,
            decay=DECAY,
            commitment_weight=COMMITMENT,
            kmeans_init=True,
            threshold_ema_dead_code=DEAD_BELOW,
            accept_image_fmap=True,
        )
        self._model = nn.ModuleList([encoder, quantizer, decoder])
        self._model.to(memory_format=torch.channels_last)
        self._adam = torch.optim.Adam(self._model.parameters(), LEARNING_RATE, fused=True)

    def start(self) -> None:
        """Do nothing: the first step does k-means."""

    def step(self, rows: NDArray[np.int64]) -> None:
        """Forward, backward, Adam."""
        x, mask = self._read("train", rows)
        made, commitment = self._forward(x)
        loss = functional.mse_loss(made * mask, x) * (mask.numel() / mask.sum()) + commitment
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        self._adam.step()

    @torch.inference_mode()
    def error(self) -> float:
        """The mean squared error on the validation tiles."""
        self._model.eval()
        squares = cells = 0.0
        for start in range(0, len(self._tiles["validation"]), BATCH):
            rows = np.arange(start, min(start + BATCH, len(self._tiles["validation"])))
            x, mask = self._read("validation", rows)
            made, _ = self._forward(x)
            squares += float(torch.square(made * mask - x).sum())
            cells += float(mask.sum()) * x.shape[2]
        self._model.train()
        return squares / cells

    def _forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        encoder, quantizer, decoder = self._model
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            latents = encoder(x)
        quantized, _, commitment = quantizer(latents.float())
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            made = decoder(quantized)
        return made.float(), commitment.sum()

    def _read(self, name: str, rows: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tiles (B, 1, M, M), zero after their valid frames, and a mask (B, 1, 1, M)."""
        valid = torch.from_numpy(self._valid[name][rows])[:, None, None, None]
        x = torch.from_numpy(self._tiles[name][rows]).permute(0, 3, 1, 2)
        mask = (torch.arange(x.shape[3]) < valid).float()
        return (x * mask).contiguous(memory_format=torch.channels_last), mask


_PARTS = ("train", "validation")


def main() -> None:
    """Train as benchmarks.learners asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("plan", choices=PLANS)
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    peer = Peer(options.data, options.plan, bf16=options.bf16)
    serve(peer, {name: version(name) for name in ("torch", "vector-quantize-pytorch")})


if __name__ == "__main__":
    main()
