"""What a tokenizer costs: bytes at once, and operations for a second of sound."""

from functools import lru_cache

from ulmo.config import Cost, Limits, ModelSettings, PrepSettings, UserError, encoder_cost
from ulmo.encoding import decoding_cost, encoding_cost
from ulmo.preprocessing.spectrogram import sound_cost

REMEDY = "set larger strides or hop_length, or a smaller width, codebook_size or tile_size"


@lru_cache(maxsize=16)  # it is asked before each recording
def tokenizer_cost(prep: PrepSettings, model: ModelSettings, *, batch: int = 1) -> Cost:
    """From sound to tokens and back, with `batch` windows at once.

    A front end whose settings are not valid costs nothing here: `build_frontend` refuses it.
    """
    try:
        sound = sound_cost(prep)
    except (UserError, ArithmeticError):
        sound = Cost({}, {})
    frames_per_second = prep.true_rate / prep.hop_length
    encoding = encoding_cost(model, frames_per_second, batch=batch)
    return sound + encoding + decoding_cost(model, frames_per_second)


def check_tokenizer(prep: PrepSettings, model: ModelSettings, limits: Limits) -> None:
    """Raise UserError for a tokenizer that costs more than a limit allows."""
    tokenizer_cost(prep, model).check(limits, REMEDY)


def most_windows(prep: PrepSettings, model: ModelSettings, limits: Limits) -> int:
    """Windows that may be computed at once within the limit of memory; at least 1."""
    one, two = (tokenizer_cost(prep, model, batch=batch).bytes for batch in (1, 2))
    return 1 + max(int((limits.bytes - one) / (two - one)), 0)


def most_tiles(model: ModelSettings, limits: Limits) -> int:
    """Tiles that may be computed at once within the limit of memory. UserError for none."""
    one, two = (
        encoder_cost(
            model, frames=model.tile_size, kept=model.columns, frames_per_second=0, batch=batch
        )
        for batch in (1, 2)
    )
    one.check(limits, REMEDY)
    return 1 + int((limits.bytes - one.bytes) / (two.bytes - one.bytes))
