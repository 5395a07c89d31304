import pytest

from tests.outputs import make_audio
from tests.pipelines.tokenizing import tokenize
from tests.small_tokenizers import RATE


@pytest.fixture
def tokens(tokenizer_of, tmp_path):
    """A folder of tokens of three recordings: its files of tokens are below tokens/."""
    audio = make_audio(tmp_path / "audio", lengths=(3000, 2000, 3000), rate=RATE)
    tokenize(tokenizer_of(), audio, out=tmp_path / "tokens")
    return tmp_path / "tokens"
