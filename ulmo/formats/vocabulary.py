"""Each id as text, and the vocabulary file that Hugging Face tokenizers load."""

import json

from ulmo.vocabulary import SPECIAL_TOKENS, Vocabulary


def token_text(vocabulary: Vocabulary, token: int) -> str:
    """c17 for code 17, `<gap>` for a special token, `<id600>` for an unused id."""
    if token < vocabulary.codebook_size:
        return f"c{token}"
    special = token - vocabulary.codebook_size
    return SPECIAL_TOKENS[special] if special < len(SPECIAL_TOKENS) else f"<id{token}>"


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
