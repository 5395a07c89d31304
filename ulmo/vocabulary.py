"""Code ids, then the special tokens: what each integer in a tokens file means."""

from dataclasses import dataclass

SPECIAL_TOKENS = ("<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "<gap>")
_MULTIPLE = 64


@dataclass(frozen=True)
class Vocabulary:
    """Ids 0 .. codebook_size-1 are codes; the special tokens follow in a fixed order.

    The size is rounded up to a multiple of 64, because GPUs are fastest with embedding tables of
    such heights. The ids between the last special token and the size are unused.

    >>> Vocabulary(512).unk, Vocabulary(512).size
    (512, 576)
    """

    codebook_size: int

    @property
    def size(self) -> int:
        """Height of an embedding table that holds every id."""
        used = self.codebook_size + len(SPECIAL_TOKENS)
        return -(-used // _MULTIPLE) * _MULTIPLE

    @property
    def unk(self) -> int:
        """Id of `<unk>`: a sound that is far from every code. The first special token."""
        return self.special("<unk>")

    @property
    def pad(self) -> int:
        """Id of `<pad>`, which fills up short sequences."""
        return self.special("<pad>")

    @property
    def bos(self) -> int:
        """Id of `<bos>`, which begins a sequence."""
        return self.special("<bos>")

    @property
    def eos(self) -> int:
        """Id of `<eos>`, which ends a sequence."""
        return self.special("<eos>")

    @property
    def mask(self) -> int:
        """Id of `<mask>`, which hides a token from a model that is to guess it."""
        return self.special("<mask>")

    @property
    def gap(self) -> int:
        """Id of `<gap>`: nothing was recorded."""
        return self.special("<gap>")

    def special(self, token: str) -> int:
        """Id of a special token, by its written form."""
        return self.codebook_size + SPECIAL_TOKENS.index(token)

    def specials(self) -> dict[str, int]:
        """Every special token with its id."""
        return {token: self.special(token) for token in SPECIAL_TOKENS}
