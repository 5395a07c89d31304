"""Reason codes are a promise: each that the reader knows stands on the page."""

import ast
import pickle
from pathlib import Path

import pytest

from ulmo import RefusedError, load_tokenizer
from ulmo.config import printable
from ulmo.preprocessing.reading.audio import open_recording

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "ulmo").rglob("*.py"))


def reasons():
    """The first argument of every RefusedError, and every cause of a plan."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "RefusedError":
                found.add(node.args[0])
            if isinstance(node, ast.keyword) and node.arg == "cause":
                found.add(node.value)
    return {node.value for node in found if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("name", ["nothere.wav", "a\nb.wav", "empty.wav"])
def test_the_text_names_the_file_on_one_line(name, tmp_path):
    path = tmp_path / name
    if name == "empty.wav":
        path.touch()
    with pytest.raises(RefusedError) as caught, open_recording(path):
        pass
    refusal = caught.value
    for each in (refusal, pickle.loads(pickle.dumps(refusal))):
        shown = printable(str(path))
        assert str(each) == f"{shown}: {refusal.reason}: {refusal.detail}"
        assert each.args == (refusal.reason, refusal.detail)
        assert each.facts() == refusal.facts()


def test_the_text_of_bytes_names_no_file():
    with pytest.raises(RefusedError, match=r"^empty_file: the file has no bytes$"):
        load_tokenizer().encode(b"")


def test_every_reason_stands_on_the_page():
    page = (ROOT / "docs" / "recordings.md").read_text()
    known = sorted(reasons())
    assert len(known) > 12
    assert [reason for reason in known if f"`{reason}`" not in page] == []


def test_its_text_is_one_line_that_a_pickle_keeps():
    refusal = RefusedError("not_audio", "no sound", declared=7, missing=None)
    text = "not_audio: no sound: how many frames are missing is not known"
    for each in (refusal, pickle.loads(pickle.dumps(refusal))):
        assert (str(each), each.declared, each.missing) == (text, 7, None)
