"""A file that has its recorded hash is whole, whatever its reader says: it stays as it is."""

import json

import pytest

from tests.outputs import make_tokens
from tests.pipelines.recordings import contents
from tests.pipelines.verifying import run_command
from tests.sealed import reseal
from ulmo.formats import FORMATS, read
from ulmo.pipelines.verify.verify import verify
from ulmo.storage import parquet_guard


def assert_stays(place, *words):
    """verify reports, and --repair removes nothing."""
    before = contents(place)
    for options in ((), ("--repair",)):
        status, text = run_command(place, *options)
        assert status == 3
        assert "is as it was written" in text
        assert "damaged" not in text
        for word in words:
            assert word in text
    assert contents(place) == before


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.readable])
def test_tokens_whose_reader_fails(name, tmp_path, monkeypatch):
    make_tokens(tmp_path / "x", name)

    def fail(*_):
        raise ValueError("no reader of today")

    monkeypatch.setattr(FORMATS[name], "read", staticmethod(fail))
    assert_stays(tmp_path / "x", "no reader of today")


@pytest.mark.parametrize("changes", [{"schema_version": 2}, {"later": 1}, {"frames": 1}])
def test_a_header_that_is_sealed_and_not_understood(changes, tmp_path):
    path = make_tokens(tmp_path / "x")
    header = path.with_suffix(".json")
    reseal(header, **changes)
    before = contents(tmp_path / "x")
    faults = verify(tmp_path / "x").faults
    assert [(fault.path, fault.what) for fault in faults] == [("x.tokens.json", "unreadable")]
    assert run_command(tmp_path / "x", "--repair")[0] == 3
    assert contents(tmp_path / "x") == before


@pytest.mark.parametrize("kind", ["tiles", "tokens"])
def test_tables_whose_reader_fails(kind, request, monkeypatch):
    place = request.getfixturevalue(kind)

    def fail(*_, **__):
        raise ValueError("no reader of today")

    monkeypatch.setattr(parquet_guard, "check_pages", fail)
    assert_stays(place, "no reader of today")


def test_a_header_with_any_number_of_brackets_in_names(tmp_path):
    path = make_tokens(tmp_path / "x")
    header = path.with_suffix(".json")
    reseal(header, recording="[{" * 2000)
    assert json.loads(header.read_bytes())["recording"] == "[{" * 2000
    assert len(list(read.read_corpus(path))) == 1
    assert verify(tmp_path / "x").faults == []
