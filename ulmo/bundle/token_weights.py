"""Names and shapes of the tensors of a token model: they follow from its settings."""

from ulmo.config.token_model import GATES, GUESSES, TokenModelSettings
from ulmo.vocabulary import SPECIAL_TOKENS

_Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(settings: TokenModelSettings) -> _Shapes:
    """Name and shape of every tensor of model.safetensors, in the order of their names.

    usual: log2 of the probability of each id. scores: substitution scores of the tokenizer.
    mixture: the weights of the guesses that a recording begins with.
    """
    bands, codes = settings.bands, settings.codebook_size
    shapes = {
        **weight_shapes(settings),
        "usual": (bands, codes),
        "scores": (bands, codes, codes),
        "mixture": (GATES, bands, GUESSES),
    }
    return dict(sorted(shapes.items()))


def weight_shapes(settings: TokenModelSettings) -> _Shapes:
    """Name and shape of every weight.

    >>> weight_shapes(TokenModelSettings())["block_0.in.kernel"]
    (144, 576)
    """
    width, hidden, bands = settings.width, settings.hidden, settings.bands
    size = settings.embedding_dim
    shapes: _Shapes = {
        "codes": (settings.codebook_size, size),
        "specials": (len(SPECIAL_TOKENS), size),
        **_dense("embed", bands * size, width),
    }
    for number, kind in enumerate(settings.kinds):
        name, parts = f"block_{number}", 4 if kind == "recurrent" else 3
        if kind == "recurrent":
            shapes[f"{name}.decay"] = (width,)
        shapes |= {
            f"{name}.norm": (width,),
            **_dense(f"{name}.in", width, parts * width),
            **_dense(f"{name}.out", width, width),
            f"{name}.mlp.norm": (width,),
            **_dense(f"{name}.mlp.in", width, 2 * hidden),
            **_dense(f"{name}.mlp.out", hidden, width),
        }
    for band in range(1, bands):
        shapes |= _dense(f"band_{band}", band * size, width)
    return {
        **shapes,
        "norm": (width,),
        "bands": (bands, width),
        **_dense("head.in", width, 2 * width),
        **_dense("head.out", width, width),
        "logits.kernel": (width, settings.codebook_size),
        "logits.bias": (bands, settings.codebook_size),
    }


def _dense(name: str, inputs: int, outputs: int) -> _Shapes:
    return {f"{name}.kernel": (inputs, outputs), f"{name}.bias": (outputs,)}
