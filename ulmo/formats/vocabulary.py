"""NAME.vocabulary.json beside a corpus: a tokenizer for programs that train on it."""

import json
from pathlib import Path

from ulmo.config import UserError
from ulmo.formats.labels import token_text
from ulmo.storage.plain_file import read_unlinked
from ulmo.vocabulary import Vocabulary

_MOST_BYTES = 1 << 21  # more than the largest codebook needs
_FEWEST, _MOST = 2, 65_472  # codes


def vocabulary_json(codebook_size: int) -> str:
    """A WordLevel tokenizer, as `tokenizers.Tokenizer.from_str` and `from_file` load it.

    It turns "c17 <gap> c3" into ids, and unknown words into `<unk>`.
    """
    vocabulary = Vocabulary(codebook_size)
    codes = {token_text(vocabulary, code): code for code in range(codebook_size)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    values = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **flags, "special": True}
            for token, number in vocabulary.specials().items()
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {**codes, **vocabulary.specials()},
            "unk_token": "<unk>",
        },
    }
    return json.dumps(values, indent=1) + "\n"


def has_vocabulary(path: Path, codebook_size: int) -> bool:
    """Whether a file is the vocabulary of a codebook. UserError or OSError if it cannot be read."""
    expected = vocabulary_json(codebook_size).encode()
    return read_unlinked(path, len(expected)) == expected


def is_vocabulary(path: Path) -> bool:
    """Whether a file is the vocabulary of some codebook, byte by byte."""
    try:
        content = read_unlinked(path, _MOST_BYTES)
    except UserError:
        return False
    # One line for each code, and as many others in each vocabulary.
    lines = content.count(b"\n") - vocabulary_json(_FEWEST).count("\n")
    size = _FEWEST + lines
    return _FEWEST <= size <= _MOST and content == vocabulary_json(size).encode()
