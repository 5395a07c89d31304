"""A windowed transformer in PyTorch: `python -m benchmarks.windowed_peer DATA CPU_SECONDS`.

Run with the Python of `make peers`; it imports nothing of ulmo. DATA is a folder that
benchmarks.equal_time writes. It trains for so many seconds of CPU time, then prints a line of JSON:
its size, what it learned from, and the bits of each test set.

A usual small GPT: columns of tokens flattened, the lowest band first, each band with codes of its
own; rotary positions (Su et al. 2021), pre-norm blocks, tied embeddings. It sees a window of 1,024
tokens in training; in the test each token has at least the 512 before it, and at most 1,023.
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

THREADS = 1  # waiting threads would count as CPU time
WIDTH, INNER, LAYERS, HEADS = 128, 384, 3, 4
COLUMNS = 256  # of a window: 1,024 tokens of four bands
BATCH = 8  # windows: as many tokens in a step as `ulmo lm train` takes
LEARNING_RATE, LAST_RATE, WARM_UP = 2e-3, 5e-5, 0.05  # share of the time that warms up
DECAY, CLIP = 0.05, 1.0
BITS = 1 / math.log(2)


class Block(nn.Module):
    """Attention, and a multilayer perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wider, self.back = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)

    def forward(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        """(windows, tokens, WIDTH)."""
        windows, tokens, _ = x.shape
        parts = self.into(self.before(x)).view(windows, tokens, 3, HEADS, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            turned(query, angles), turned(key, angles), value, is_causal=True
        )
        x = x + self.out(mixed.transpose(1, 2).reshape(windows, tokens, WIDTH))
        return x + self.back(functional.gelu(self.wider(self.between(x))))


def turned(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotary positions: halves of each head are turned by angles (tokens, half)."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Transformer(nn.Module):
    """Logits of each token from those before it."""

    def __init__(self, bands: int, codes: int, specials: int) -> None:
        super().__init__()
        self.codes, self.bands = codes, bands
        self.table = nn.Parameter(torch.randn(bands, codes + specials, WIDTH) / math.sqrt(WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        half = WIDTH // HEADS // 2
        self.register_buffer("rates", 10_000.0 ** (-torch.arange(half) / half), persistent=False)

    def bits(self, ids: torch.Tensor) -> torch.Tensor:
        """Bits (windows, columns, bands) of all columns but the first; 0 for special tokens.

        ids: (windows, columns + 1, bands).
        """
        every = torch.arange(self.bands)
        vectors = self.table[every, ids].flatten(1, 2) * math.sqrt(WIDTH)
        x = vectors[:, self.bands - 1 : -1]
        angles = torch.arange(x.shape[1])[:, None] * self.rates
        for block in self.blocks:
            x = block(x, angles)
        x = self.norm(x).unflatten(1, (-1, self.bands))
        logits = torch.einsum("wtbd,bcd->wtbc", x, self.table[:, : self.codes])
        right = ids[:, 1:]
        nats = functional.cross_entropy(
            logits.flatten(0, 2), right.clamp(max=self.codes - 1).flatten(), reduction="none"
        )
        return nats.view(right.shape) * (right < self.codes) * BITS


def train(model: Transformer, row: np.ndarray, seconds: float) -> tuple[int, float]:
    """Train on windows of a row (columns, bands) for some CPU seconds; steps, and bits at last."""
    rng, used, step, recent = np.random.default_rng(0), 0.0, 0, 0.0
    adam = torch.optim.AdamW(
        model.parameters(), LEARNING_RATE, betas=(0.9, 0.95), weight_decay=DECAY
    )
    while used < seconds:
        begun = time.process_time()
        share = used / seconds
        rate = LAST_RATE + (LEARNING_RATE - LAST_RATE) * (1 + math.cos(math.pi * share)) / 2
        adam.param_groups[0]["lr"] = rate * min(max(share / WARM_UP, 0.01), 1)
        firsts = rng.integers(0, len(row) - COLUMNS, BATCH)
        ids = torch.from_numpy(np.stack([row[at : at + COLUMNS + 1] for at in firsts]))
        bits = model.bits(ids)
        loss = bits.sum() / (ids[:, 1:] < model.codes).sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        adam.step()
        recent += (float(loss.detach()) - recent) * max(0.02, 1 / (step + 1))
        used, step = used + time.process_time() - begun, step + 1
    return step, recent


def windows(recording: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Each window of a recording behind `<bos>`, and how many of its last columns are judged."""
    half = COLUMNS // 2
    for start in range(1, len(recording), half):
        end = min(start + half, len(recording))
        yield recording[max(start - half, 1) - 1 : end], end - start


@torch.inference_mode()
def judge(model: Transformer, recordings: list[np.ndarray]) -> float:
    """Bits a token of recordings (columns, bands), each alone."""
    total = count = 0.0
    for recording in recordings:
        for ids, judged in windows(recording):
            bits = model.bits(torch.from_numpy(ids)[None])[0, -judged:]
            total += float(bits.sum())
            count += int((ids[-judged:] < model.codes).sum())
    return total / count


def main(folder: str, seconds: str) -> None:
    """Train, judge, and print."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    data = Path(folder)
    facts = json.loads((data / "facts.json").read_text())
    row = np.load(data / "train.npy").astype(np.int64)
    model = Transformer(row.shape[1], facts["codes"], facts["specials"])
    steps, bits = train(model, row, float(seconds))
    answer = {
        "torch": version("torch"),
        "weights": sum(each.numel() for each in model.parameters()),
        "steps": steps,
        "tokens": steps * BATCH * COLUMNS * row.shape[1],
        "train_bits": bits,
        "bits": {},
    }
    for name, lengths in facts["tests"].items():
        columns = np.load(data / f"{name}.npy").astype(np.int64)
        answer["bits"][name] = judge(model, np.split(columns, np.cumsum(lengths)[:-1]))
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
