"""Tokens that are removed: wherever a job is killed on the way, the next one removes the rest."""

import pytest

from tests.bounded import some_of
from tests.pipelines.recordings import contents, noise, write
from tests.pipelines.tokenizing import FIRST, SECOND, moments, tokenize


@pytest.fixture
def beside(tokenizer, tmp_path):
    """A recording of three channels, and a function that makes its tokens, below its folder."""
    write(tmp_path / "field" / "x.wav", noise(3000, 1, channels=3))

    def again(*sources, **how):
        return tokenize(tokenizer, *(sources or [tmp_path / "field"]), channels="each", **how)

    again()
    return again


class TestBeside:
    """Tokens that lie beside the recordings, which have no table."""

    @pytest.mark.kills
    @pytest.mark.parametrize("channels", [1, 2])
    def test_channels_that_are_gone(self, channels, tokenizer, beside, tmp_path, monkeypatch):
        """They go once the new ones are there, wherever the job is killed."""
        field = tmp_path / "field"
        write(field / "x.wav", noise(3000, 2, channels=channels))
        how = {"make": without_out, "channels": "each"}
        copies = moments(monkeypatch, tokenizer, field, out=field, **how)
        names = ["x.tokens"] if channels == 1 else ["x.ch0.tokens", "x.ch1.tokens"]
        expected = {"x.wav", *(f"{name}.{end}" for name in names for end in ("json", "npy"))}
        assert contents(field).keys() == expected
        assert len(copies) > 5
        for copy in some_of(copies, str(channels)):
            beside(copy)
            assert contents(copy) == contents(field), copy.name

    def test_another_name_of_the_folder(self, beside, tmp_path):
        write(tmp_path / "field" / "x.wav", noise(3000, 2, channels=2))
        beside(tmp_path / "field" / "x.wav")
        assert not list(tmp_path.rglob("*.ch2.*"))

    def test_what_may_be_of_others_stays(self, tokenizer, beside, tmp_path):
        """Tokens of the mean, and of a recording whose name is that of a channel."""
        field = tmp_path / "field"
        tokenize(tokenizer, field)
        for path in field.glob("x.ch2.*"):
            path.unlink()
        write(field / "x.ch2.wav", noise(3000, 5))
        tokenize(tokenizer, field / "x.ch2.wav")
        write(field / "x.wav", noise(3000, 2, channels=2))
        before = contents(field)
        beside(field / "x.wav")
        assert contents(field).keys() == before.keys()
        for name in ("x.ch2.tokens.npy", "x.tokens.npy"):
            assert contents(field)[name] == before[name]


def without_out(tokenizer, *sources, out, **how):
    """Tokens beside the recordings, which lie in `out`."""
    return tokenize(tokenizer, *sources, **how)


@pytest.mark.parametrize("name", ["all.bin", "all.tokens.bin", "all.idx", "x.csv"])
def test_all_goes_wherever_a_job_is_killed_that_removes(name, tokenizer, tmp_path, monkeypatch):
    """Of a table without a good recording any more, its vocabulary too; of one recording."""
    sources, out = [tmp_path / "field" / each for each in (FIRST, SECOND)], tmp_path / "out" / name
    for number, source in enumerate(sources):
        write(source, noise(3000, number))
    how = {"file_format": {".bin": "bin", ".idx": "megatron", ".csv": "csv"}[out.suffix]}
    out = out.with_suffix(".bin") if out.suffix == ".idx" else out
    given = sources[: 1 if name == "x.csv" else 2]
    tokenize(tokenizer, *given, out=out, **how)
    for source in sources:
        source.write_bytes(b"")
    for copy in moments(monkeypatch, tokenizer, *given, out=out, **how):
        tokenize(tokenizer, *given, out=copy / out.name, **how)
        assert contents(copy) == {}, copy.name
    assert contents(out.parent) == {}
