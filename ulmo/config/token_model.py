"""The settings of the token model (`ulmo lm`), and of its training."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ulmo.config.base import Settings

CHUNK = 64  # columns that are computed at once, on a grid that begins at a recording's first column
GUESSES = 5  # at each token: of the network, the copies, and three of habits
GATES = 4  # how near the nearest moment of the past is; each has weights of its own
DECAY = 8.0  # c of RG-LRU (De et al. 2024, equation 4)
LEAST = 1e-6  # that 1 - a^2 of RG-LRU is taken to be, so that its root has a slope
NORM_EPSILON = 1e-5  # of the normalisation between blocks
BlockKind = Literal["recurrent", "attention"]


class TokenModelSettings(Settings):
    """The sizes of a token model. Those of the grid are the tokenizer's."""

    groups: ClassVar = {"Model": ("width", "hidden", "blocks", "attention_every", "heads")}

    bands: Annotated[int, Field(ge=1, le=256)] = 4
    """Tokens of a column."""
    codebook_size: Annotated[int, Field(ge=2, le=4096)] = 512
    """Codes that are predicted; special tokens are only inputs."""
    embedding_dim: Annotated[int, Field(ge=2, le=1024)] = 32
    """Dimensions of a code's vector."""
    width: Annotated[int, Field(ge=2, le=1024)] = 144
    """Numbers that stand for a column between the blocks."""
    hidden: Annotated[int, Field(ge=2, le=4096)] = 192
    """Inner width of the gated MLPs."""
    blocks: Annotated[int, Field(ge=1, le=32)] = 3
    """Blocks, one behind the other."""
    attention_every: Annotated[int, Field(ge=0, le=32)] = 2
    """Every N-th block attends to the last 64 columns; the others are recurrent. 0: none does."""
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    """Heads of the attention; they divide the width."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads {self.heads} must divide width {self.width}")
        return self

    @property
    def kinds(self) -> tuple[BlockKind, ...]:
        """The kind of each block."""
        every = self.attention_every
        return tuple(
            "attention" if every and not number % every else "recurrent"
            for number in range(1, self.blocks + 1)
        )


def attention_slopes(heads: int) -> list[float]:
    """How fast the attention of each head falls with distance (Press et al. 2022, ALiBi).

    >>> attention_slopes(8)[:2]
    [0.5, 0.25]
    """
    return [2.0 ** -(1 + 7 * head / max(heads - 1, 1)) for head in range(heads)]


# 0.75 and 4 million weights, with the grid of the tokenizer that ships.
SIZES: dict[str, dict[str, int]] = {
    "small": {"width": 144, "hidden": 192, "blocks": 3},
    "base": {"width": 304, "hidden": 448, "blocks": 4},
}


class TokenTrainSettings(Settings):
    """How a token model is trained."""

    groups: ClassVar = {
        "Optimisation": (
            *("streams", "columns", "epochs", "max_minutes", "patience", "validation_fraction"),
            *("learning_rate", "final_learning_rate", "weight_decay", "dropout", "planted"),
            *("devices", "threads", "seed"),
        ),
        "Output": ("checkpoint_minutes",),
    }

    streams: Annotated[int, Field(ge=1, le=4096)] = 16
    """Streams of tokens that are learned from side by side."""
    columns: Annotated[int, Field(ge=CHUNK, le=4096, multiple_of=CHUNK)] = 128
    """Columns of each stream in a step, through which gradients flow back; the state goes on."""
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 4
    """Most passes over the training tokens."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Stop after this many minutes (steps, validation, checkpoints), even within an epoch."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """Adam's learning rate at the start."""
    final_learning_rate: Annotated[float, Field(ge=0, le=1)] = 5e-5
    """Learning rate at the end, reached along half a cosine (Loshchilov and Hutter 2017)."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Decoupled weight decay (Loshchilov and Hutter 2019)."""
    dropout: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share of the numbers between blocks that a training step leaves out."""
    planted: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the streams in which stretches of 0.3 to 4 s come again, 1 s to an hour later."""
    validation_fraction: Annotated[float, Field(ge=0, le=0.9)] = 0.02
    """Share of the recordings held out."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Stop after this many epochs without fewer bits for a token of held-out recordings."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """Minutes between checkpoints within an epoch; each epoch ends with one, too."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the split, the order of the recordings and the initial weights."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that share the streams; without a GPU, parts of the CPU."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0 uses all cores. With 1, the same seed and tokens give the same weights."""
