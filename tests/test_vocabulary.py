from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import ModelSettings
from ulmo.vocabulary import Vocabulary

LARGEST = 65_472


def test_golden_ids():
    vocabulary = Vocabulary(512)
    assert vocabulary.specials() == {
        "<unk>": 512,
        "<pad>": 513,
        "<bos>": 514,
        "<eos>": 515,
        "<mask>": 516,
        "<gap>": 517,
    }
    assert list(vocabulary.specials()) == ["<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "<gap>"]
    assert vocabulary.unk == 512
    assert vocabulary.size == 576


@given(codes=st.integers(2, LARGEST))
def test_size_is_the_least_multiple_of_64_that_holds_every_id(codes):
    vocabulary = Vocabulary(codes)
    assert vocabulary.size % 64 == 0
    assert vocabulary.size - 64 <= max(vocabulary.specials().values()) < vocabulary.size


def test_the_largest_codebook_fits_uint16():
    bounds = ModelSettings.model_fields["codebook_size"].metadata
    assert max(bound.le for bound in bounds if hasattr(bound, "le")) == LARGEST
    assert Vocabulary(LARGEST).size - 1 <= 0xFFFF
