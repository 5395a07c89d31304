"""ulmo: large acoustic models. Any recording to tokens.

The public names are imported when they are first used. `import ulmo` loads neither TensorFlow nor
Keras.

>>> tokenizer = load_tokenizer()
>>> tokens = tokenizer.encode("data_samples/harmonic_calls.wav")
"""

from importlib import import_module

TYPE_CHECKING = False  # as of typing, which a command imports once Ctrl-C has a meaning
if TYPE_CHECKING:
    from typing import Any

    from ulmo.config import ModelSettings, PrepSettings, TrainSettings, UserError
    from ulmo.formats.read import read_corpus, read_tokens
    from ulmo.pipelines.regions.regions import regions
    from ulmo.pipelines.repeats.repeats import repeats
    from ulmo.preprocessing import preprocess
    from ulmo.preprocessing.reading.audio import RefusedError
    from ulmo.token_model import TokenModel, load_token_model
    from ulmo.tokenizer import Tokenizer, load_tokenizer
    from ulmo.tokens import Tokens

__version__ = "0.1.0"

_HOME = {
    "Tokenizer": "ulmo.tokenizer",
    "load_tokenizer": "ulmo.tokenizer",
    "TokenModel": "ulmo.token_model",
    "load_token_model": "ulmo.token_model",
    "Tokens": "ulmo.tokens",
    "read_tokens": "ulmo.formats.read",
    "read_corpus": "ulmo.formats.read",
    "preprocess": "ulmo.preprocessing",
    "regions": "ulmo.pipelines.regions.regions",
    "repeats": "ulmo.pipelines.repeats.repeats",
    "RefusedError": "ulmo.preprocessing.reading.audio",
    "UserError": "ulmo.config",
    "PrepSettings": "ulmo.config",
    "ModelSettings": "ulmo.config",
    "TrainSettings": "ulmo.config",
}

__all__ = [
    "ModelSettings",
    "PrepSettings",
    "RefusedError",
    "TokenModel",
    "Tokenizer",
    "Tokens",
    "TrainSettings",
    "UserError",
    "__version__",
    "load_token_model",
    "load_tokenizer",
    "preprocess",
    "read_corpus",
    "read_tokens",
    "regions",
    "repeats",
]


def __getattr__(name: str) -> "Any":
    if name not in _HOME:
        raise AttributeError(f"module 'ulmo' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
