"""A context manager made of a generator hides no error: read from the source."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "ulmo"


def managers(source):
    """The functions decorated with `contextmanager` in a text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and any(
            isinstance(each, ast.Name) and each.id == "contextmanager"
            for each in node.decorator_list
        ):
            yield node


def faults(function):
    """What could replace or swallow an error that is thrown in at a `yield`."""
    found = []

    def walk(node, around):
        """`around`: what an error passes on its way out of this node."""
        if isinstance(node, ast.Yield):
            found.extend(around)
        if isinstance(node, ast.With) and "suppress" in ast.unparse(node.items):
            around = [*around, f"line {node.lineno}: suppress around a yield"]
        if isinstance(node, ast.Try):
            silent = [
                f"line {handler.lineno}: a handler around a yield does not end in raise"
                for handler in node.handlers
                if not isinstance(handler.body[-1], ast.Raise)
            ]
            for each in node.body:
                walk(each, [*around, *silent])
            late = [f"line {node.lineno}: a yield after an error"]
            for part in (*node.handlers, *node.finalbody):
                walk(part, [*around, *late])
            for each in node.orelse:
                walk(each, around)
            return
        for child in ast.iter_child_nodes(node):
            walk(child, around)

    for statement in function.body:
        walk(statement, [])
    return found


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("try:\n  yield\n except ValueError:\n  yield", 2),
        ("try:\n  yield\n except OSError as error:\n  raise JobError(str(error)) from None", 0),
        ("with suppress(OSError):\n  yield", 1),
        ("try:\n  yield\n finally:\n  close()", 0),
        ("try:\n  yield\n finally:\n  yield", 1),
        ("try:\n  yield\n except OSError as error:\n  if wrong(error):\n   raise", 1),
    ],
)
def test_the_rule(body, count):
    (function,) = managers(f"@contextmanager\ndef f():\n {body}\n")
    assert len(faults(function)) == count


def test_no_wrapper_hides_an_error():
    found = {
        f"{path.relative_to(SOURCE)}: {function.name}": faults(function)
        for path in SOURCE.rglob("*.py")
        for function in managers(path.read_text())
    }
    assert len(found) > 15
    assert {name: each for name, each in found.items() if each} == {}
