"""Reason codes are a promise: each that the reader knows stands on the page."""

import ast
import pickle
from pathlib import Path

from ulmo.preprocessing.reading.refusal import RefusedError

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


def test_every_reason_stands_on_the_page():
    page = (ROOT / "docs" / "recordings.md").read_text()
    assert len(reasons()) > 12
    assert [reason for reason in sorted(reasons()) if f"`{reason}`" not in page] == []


def test_its_text_is_one_line_that_a_pickle_keeps():
    refusal = RefusedError("not_audio", "no sound", declared=7, missing=None)
    text = "not_audio: no sound: how many frames are missing is not known"
    for each in (refusal, pickle.loads(pickle.dumps(refusal))):
        assert (str(each), each.declared, each.missing) == (text, 7, None)
