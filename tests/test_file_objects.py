"""No library opens a file by its path: it may take `file:`, `s3:` or `*` for more than a name."""

import ast
import os
from pathlib import Path

import pytest

from tests.outputs import PREP, make_audio, make_tokens
from tests.pipelines.tokenizing import tokenize
from ulmo.formats.read import read_corpus, read_tokens
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.verify.verify import verify

SOURCE = Path(__file__).parents[1] / "ulmo"
# What takes a path or an open file, by module.
TAKERS = {
    "pyarrow.parquet": {"ParquetFile", "ParquetWriter", "read_schema"},
    "numpy": {"load", "save", "savez", "savetxt", "fromfile", "memmap", "loadtxt", "genfromtxt"},
    "soundfile": {"SoundFile", "read", "write", "info", "blocks"},
    "safetensors.numpy": {"load_file", "save_file"},
    "onnxruntime": {"InferenceSession"},
    "cv2": {"imread", "imwrite", "VideoCapture"},
}
WITHOUT_PATHS = {
    "pyarrow.parquet": TAKERS["pyarrow.parquet"],
    "pyarrow": {
        *("array", "concat_tables", "int32", "int64", "uint16", "uint32", "float64", "list_"),
        *("schema", "string", "timestamp", "chunked_array", "BufferReader"),
    },
}
"""All functions of pyarrow that ulmo calls; those of pyarrow.compute read no files."""
PYARROW = {"pyarrow", "pyarrow.parquet", "pyarrow.compute"}
OPENERS, BINARY = {"open_plain", "open_unlinked", "open", "TemporaryFile"}, {"BinaryIO", "bytes"}
ADDRESSES = ["s3:", "gs:", "mock:", "hdfs:", "file:/etc", os.fsdecode(b"caf\xe9")]


def calls_of(tree):
    """Each call of a function of an imported module: the module, the function, the call."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name] = alias.name
                assert alias.name.partition(".")[0] != "pyarrow" or alias.name in PYARROW
        if isinstance(node, ast.ImportFrom) and node.module in {*TAKERS, *WITHOUT_PATHS}:
            assert not node.names, f"import {node.module} whole, so that its calls are seen"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            module = names.get(ast.unparse(node.func.value))
            if module:
                yield module, node.func.attr, node


def open_attributes(tree):
    """Attributes that are open files or bytes: `self.NAME = PARAMETER` in an `__init__`.

    Or a reader with a buffer, which is made of an open file.
    """
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef) and scope.name == "__init__":
            known = set(open_names(scope))
            for node in ast.walk(scope):
                value = ast.unparse(node.value) if isinstance(node, ast.Assign) else ""
                if value in known or value.startswith("BufferedReader("):
                    yield ast.unparse(node.targets[0])


def open_names(tree):
    """Variables that are open files or bytes: by their annotation, or by a `with`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and ast.unparse(node.annotation or node) in BINARY:
            yield node.arg
        if isinstance(node, ast.withitem) and isinstance(node.context_expr, ast.Call):
            function = ast.unparse(node.context_expr.func).split(".")[-1]
            if function in OPENERS and isinstance(node.optional_vars, ast.Name):
                yield node.optional_vars.id


def paths_given(source):
    """Calls that may give a path to a library, as text."""
    if not any(module in source for module in TAKERS):
        return []
    tree = ast.parse(source)
    wrong = []
    attributes = set(open_attributes(tree))
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {call: scope for scope in scopes for call in ast.walk(scope)}
    for module, function, call in calls_of(tree):
        if function in TAKERS.get(module, ()):
            first = ast.unparse(call.args[0]) if call.args else ""
            scope = inside.get(call)
            known = attributes | set(open_names(scope)) if scope else set()
            if first not in known:
                wrong.append(ast.unparse(call))
        elif module in WITHOUT_PATHS and function not in WITHOUT_PATHS[module]:
            wrong.append(ast.unparse(call))
    return wrong


def test_no_library_is_given_a_path():
    found = {path: paths_given(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "call",
    [
        "pq.ParquetFile(path)",
        "pq.ParquetFile(str(file))",
        "pq.read_table(file)",
        "pa.memory_map(file)",
        "pa.OSFile(path)",
        "np.load(path)",
        "np.load(other)",
        "soundfile.SoundFile(path.name)",
        "soundfile.SoundFile(file.fileno())",
    ],
)
def test_the_rule_itself(call):
    head = "import pyarrow as pa, pyarrow.parquet as pq, numpy as np, soundfile\n"
    body = "def f(path, file: BinaryIO):\n with path.open() as raw:\n  "
    assert paths_given(f"{head}def g(other: BinaryIO): ...\n{body}{call}") == [call]
    assert paths_given(f"{head}{body}pq.ParquetFile(raw), np.load(file)") == []
    body = "class A:\n def __init__(self, {}):\n  self.a = a\n def g(self):\n  np.load(self.a)"
    assert paths_given(head + body.format("a: BinaryIO")) == []
    assert paths_given(head + body.format("a: Path")) == ["np.load(self.a)"]


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_folder_with_a_name_like_an_address(name, tmp_path, monkeypatch, tokenizer_of):
    monkeypatch.chdir(tmp_path)
    place = Path(name)
    place.mkdir(parents=True)
    audio = make_audio(tmp_path / "audio", (4000,), 4000).rename(place / "audio")
    prepare(audio, place / "tiles", PREP)
    (result,) = tokenize(tokenizer_of(), audio, out=place / "tokens", file_format="parquet")
    (stored,) = read_corpus(result.outputs[0])
    assert len(stored.ids) == result.outcome.columns
    tokens = make_tokens(place / "npy")
    (made,) = convert([place / "npy"], place / "c.parquet", "parquet", done=lambda _: None)
    assert made.refusal is None
    assert read_tokens(made.output).ids.tolist() == read_tokens(tokens).ids.tolist()
    for output in (place / "tiles", place / "tokens", place / "npy", place / "c.parquet"):
        assert verify(output).faults == []
    assert {*tmp_path.iterdir()} == {tmp_path / place.parts[0]}
