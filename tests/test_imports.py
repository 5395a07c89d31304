"""Who may know whom, read from the source; and what a command loads, seen by running it."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

import ulmo
from tests.bundles import write_small_bundle
from tests.formats.streams import header_of, random_ids, save
from ulmo.config import PrepSettings

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "ulmo"
BASE = {"arrays", "config", "vocabulary", "tokens"}
FILES = {*BASE, "storage"}
TOKENIZING = {
    *FILES,
    *("preprocessing", "bundle", "encoding", "pictures", "decoding", "tokenizer"),
}
SCORING = {*BASE, "storage", "preprocessing", "bundle", "sequence"}
ARRAYS = {"models", "evaluation", "sequence"}
OTHERS = {"token_model", "data", "dataset", "formats", "jobs", "listening", "pictures"}
COMMANDS = {*TOKENIZING, *ARRAYS, *OTHERS}
ROOMS = {
    "arrays": set(),
    "config": set(),
    "no_pandas": set(),
    "vocabulary": set(),
    "tokens": {"pictures"},
    "storage": {"config"},
    "preprocessing": FILES,
    "models": FILES,
    "evaluation": FILES,
    "sequence": FILES,
    "formats": {*FILES, "jobs"},
    "jobs": {"config", "no_pandas", "storage"},
    "bundle": {*FILES, "preprocessing", "encoding"},
    "encoding": {"arrays", "config"},
    "decoding": {*BASE, "preprocessing", "bundle", "encoding", "pictures"},
    "tokenizer": TOKENIZING,
    "token_model": SCORING,
    "data": {*BASE, "storage", "formats"},
    "dataset": {*TOKENIZING, "evaluation"},
    "listening": {*TOKENIZING, "sequence", "formats", "jobs"},
    "pictures": {"config", "storage", "tokens"},
    "pipelines": COMMANDS,
    "reports": {*COMMANDS, "pipelines"},
    "cli": {*COMMANDS, "no_pandas", "pipelines", "reports", ""},
    "__main__": {"cli"},
    "": {*BASE, "formats", "pipelines", "preprocessing", "token_model", "tokenizer"},
}
"""Each room, and the rooms that it may import; "" is ulmo/__init__.py."""
INSIDE = {"reading": {"reading"}, "times": {"reading", "times"}}
"""Each folder of preprocessing that knows few others, and the parts of it that it may import."""
EAGER = {
    "cli": {"config", "cli", "no_pandas", ""},
    "": set(),
    "tokens": set(),
}
"""What these rooms may import outside functions: `--help` stays cheap, and tokens know no room."""
FRAMEWORKS = {"tensorflow", "keras"}
KERAS_ROOMS = {"models", "pipelines"}


class Import(NamedTuple):
    """One imported module, and where."""

    file: str
    room: str  # of the importing module
    module: str
    late: bool  # inside a function, or under TYPE_CHECKING


def room_of(module):
    """ulmo.preprocessing.reading.audio is in the room preprocessing."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imported(node):
    """Modules that a statement names; `from ulmo import config` is of ulmo.config."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert node.level == 0, "a relative import"
    below = [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in below if name in MODULES] or [node.module]


def walk(node, late=False):
    """Every import statement, and whether it runs late."""
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, late
        yield from walk(child, late or typing or function)


@cache
def imports_of(name):
    path = MODULES[name]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        Import(path.relative_to(ROOT).as_posix(), room_of(name), module, late)
        for statement, late in walk(tree)
        for module in imported(statement)
    ]


def command_of(module):
    """`prep` of ulmo.pipelines.prep.job; empty for a module that no command owns."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["ulmo", "pipelines"] and len(parts) > 3 else ""


def part_of(module):
    """`reading` of ulmo.preprocessing.reading.audio; empty outside preprocessing."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["ulmo", "preprocessing"] and len(parts) > 2 else ""


def is_allowed(importer, found):
    target = room_of(found.module)
    allowed = INSIDE.get(part_of(importer))
    if allowed and target == "preprocessing" and part_of(found.module) not in allowed:
        return False
    if found.room in EAGER and not found.late and target not in EAGER[found.room]:
        return False
    own, other = command_of(importer), command_of(found.module)
    if found.room == "pipelines" and other and other != own:
        return False
    return target == found.room or target in ROOMS[found.room]


def test_every_module_is_in_a_room():
    assert {room_of(name) for name in MODULES} == set(ROOMS)


def test_who_may_know_whom():
    every = [(name, found) for name in MODULES for found in imports_of(name)]
    ours = [(name, found) for name, found in every if found.module.split(".")[0] == "ulmo"]
    assert [found for name, found in ours if not is_allowed(name, found)] == []


def test_no_module_imports_itself_by_a_detour():
    """TopologicalSorter raises CycleError; imports for types alone count, too."""
    graph = {name: {found.module for found in imports_of(name)} & set(MODULES) for name in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_frameworks_stay_in_their_rooms():
    importing = {
        name
        for name in MODULES
        if FRAMEWORKS & {found.module.split(".")[0] for found in imports_of(name)}
    }
    assert importing
    assert {room_of(name) for name in importing} <= KERAS_ROOMS


@pytest.mark.parametrize(
    ("importer", "module", "late", "allowed"),
    [
        ("ulmo.preprocessing.reading.audio", "ulmo.storage.atomic", False, True),
        ("ulmo.preprocessing.reading.audio", "ulmo.models.vqvae", True, False),
        ("ulmo.preprocessing.reading.audio", "ulmo.preprocessing.times.clock", True, False),
        ("ulmo.preprocessing.times.clock", "ulmo.preprocessing.reading.riff", False, True),
        ("ulmo.models.vqvae", "ulmo.evaluation.tally", False, False),
        ("ulmo.storage.ledger", "ulmo.jobs.outcome", True, False),
        ("ulmo.tokenizer", "ulmo.bundle.graph", True, True),
        ("ulmo.tokenizer", "ulmo.models", True, False),
        ("ulmo.tokens", "ulmo.config", False, False),
        ("ulmo.tokens", "ulmo.pictures.notebook", True, True),
        ("ulmo.tokens", "ulmo.pictures.notebook", False, False),
        ("ulmo.pipelines.prep.prep", "ulmo.reports.prep", True, False),
        ("ulmo.pipelines.prep.prep", "ulmo.pipelines.prep.job", False, True),
        ("ulmo.pipelines.verify.tiles", "ulmo.pipelines.prep.job", True, False),
        ("ulmo.pipelines.convert.convert", "ulmo.pipelines.tokenize.plan", False, False),
        ("ulmo.pipelines.train.train", "ulmo.dataset", False, True),
        ("ulmo.pipelines.regions.regions", "ulmo.listening.listen", False, True),
        ("ulmo.pipelines.repeats.repeats", "ulmo.pipelines.regions.regions", True, False),
        ("ulmo.listening.regions", "ulmo.sequence.regions", False, True),
        ("ulmo.listening.listen", "ulmo.pipelines.regions.regions", True, False),
        ("ulmo.cli.train", "ulmo.pipelines.train.train", True, True),
        ("ulmo.cli.train", "ulmo.pipelines.train.train", False, False),
    ],
)
def test_the_rule_itself(importer, module, late, allowed):
    assert is_allowed(importer, Import("x", room_of(importer), module, late)) is allowed


def test_imports_are_found_wherever_they_stand(tmp_path, monkeypatch):
    path = tmp_path / "ulmo" / "cli.py"
    path.parent.mkdir()
    path.write_text(
        "import ulmo.config as c\n"
        "from ulmo import tokens, __version__\n"
        "if TYPE_CHECKING:\n    from ulmo.models import x\n"
        "class A:\n    def f(self):\n        with y:\n            import keras.layers\n"
        "try:\n    import ulmo.bundle.graph\nexcept ImportError:\n    pass\n"
    )
    monkeypatch.setitem(MODULES, "ulmo.cli", path)
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    found = [(found.module, found.late) for found in imports_of.__wrapped__("ulmo.cli")]
    assert found == [
        ("ulmo.config", False),
        ("ulmo.tokens", False),
        ("ulmo.models", True),
        ("keras.layers", True),
        ("ulmo.bundle.graph", False),
    ]


RUNNER = """
import atexit, sys
names = {names!r}
atexit.register(lambda: print("loaded", *(names & sys.modules.keys()), file=sys.stderr))
sys.argv[0] = "command"
{statement}
"""
EACH = """
import contextlib
from ulmo.cli.main import ulmo
for words in {commands!r}:
    with contextlib.suppress(SystemExit):
        ulmo.main([*words.split(), "--help"])
"""


def run(statement, *arguments, heavy=frozenset({*FRAMEWORKS, "pandas"})):
    """Run a statement with arguments; it must end well, and load nothing heavy."""
    script = RUNNER.format(names=heavy, statement=statement)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "loaded"
    return done.stdout


def entry_point(command):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts[command].split(":")
    return f"from {module} import {function}; {function}()"


def test_the_runner_sees_a_framework():
    """The check itself: what is loaded is told."""
    script = RUNNER.format(names={"json"}, statement="import json")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == "loaded json\n"


def test_import_ulmo_is_light_and_its_names_are_loaded_when_they_are_used():
    run(
        "import ulmo; assert ulmo.__version__; assert 'numpy' not in sys.modules; "
        "[getattr(ulmo, name) for name in ulmo.__all__]"
    )
    names = ["Tokenizer", "Tokens", "load_tokenizer", "preprocess"]
    assert [getattr(ulmo, name).__name__ for name in names] == names
    assert set(names) <= set(ulmo.__all__)
    with pytest.raises(AttributeError, match="module 'ulmo' has no attribute 'tokenise'"):
        _ = ulmo.tokenise


@pytest.mark.parametrize("command", ["ulmo", "ulmo-prep", "ulmo-train", "ulmo-tokenize"])
def test_help_is_light(command):
    output = run(entry_point(command), "--help")
    assert re.match(r"Usage: command .*\n", output)


COMMANDS_OF_ARRAYS = ["look", "regions", "repeats"]
COMMANDS_OF_ARRAYS += [f"lm {name}" for name in ("train", "score", "curve", "sample")]


def test_help_of_events_is_light():
    heavy = {*FRAMEWORKS, "pyarrow", "matplotlib", "onnxruntime", "scipy", "sklearn", "numba"}
    output = run(EACH.format(commands=COMMANDS_OF_ARRAYS), heavy=heavy)
    for command in COMMANDS_OF_ARRAYS:
        assert re.search(rf"^Usage: command {command} .*\n", output, re.MULTILINE)


def test_help_of_tokenize_loads_no_arrays():
    run(entry_point("ulmo-tokenize"), "--help", heavy={*FRAMEWORKS, "numpy", "onnxruntime"})


@pytest.fixture
def bundle(tmp_path):
    prep = PrepSettings(frontend="stft", tile_size=32, sample_rate=2000, hop_length=20)
    return write_small_bundle(tmp_path / "tokenizer", prep)


def test_tokenizing_is_light(bundle, tmp_path):
    recording = tmp_path / "x.wav"
    soundfile.write(recording, np.sin(np.arange(4000) / 5), 2000)
    heavy = {*FRAMEWORKS, "pyarrow", "matplotlib"}
    output = run(entry_point("ulmo-tokenize"), recording, "--tokenizer", bundle, heavy=heavy)
    target = tmp_path / "x.tokens.npy"
    assert output == f"{recording}: 2.00 s -> 13 x 2 tokens -> {target}\n"
    assert np.load(target).shape == (13, 2)


def test_regions_are_light(bundle, tmp_path):
    recording, table = tmp_path / "x.wav", tmp_path / "x.csv"
    soundfile.write(recording, np.sin(np.arange(4000) / 5), 2000)
    heavy = {*FRAMEWORKS, "pyarrow", "matplotlib", "scipy", "sklearn"}
    arguments = ("regions", recording, "--tokenizer", bundle, "--out", table)
    assert run(entry_point("ulmo"), *arguments, heavy=heavy).endswith(f"output      {table}\n")


def test_scores_are_light(tmp_path):
    recording, table = tmp_path / "x.wav", tmp_path / "x.csv"
    soundfile.write(recording, np.sin(np.arange(16_000) / 5), 16_000)
    heavy = {*FRAMEWORKS, "pyarrow", "matplotlib", "scipy", "sklearn", "numba"}
    output = run(entry_point("ulmo"), "lm", "score", recording, "--out", table, heavy=heavy)
    assert output.endswith(f"output      {table}\n")
    assert len(table.read_text().splitlines()) == 26


def test_inspecting_and_verifying_are_light(bundle, tiny_tiles):
    output = run(entry_point("ulmo"), "inspect", bundle)
    assert output.startswith(f"{bundle}\n  schema        2\n  fingerprint   ")
    for place in (bundle, tiny_tiles):
        assert run(entry_point("ulmo"), "verify", place).endswith("\n  all is well\n")


def test_reading_a_bundle_does_not_load_onnx(bundle):
    run(
        "import pathlib; from ulmo.bundle.bundle import read_bundle; "
        "read_bundle(pathlib.Path(sys.argv[1])).weights(); "
        "assert not {'onnx', 'onnxruntime', 'pyarrow'} & sys.modules.keys()",
        bundle,
    )


def test_formats_load_pyarrow_only_for_parquet():
    run("import ulmo.formats.read, sys; assert 'pyarrow' not in sys.modules")


def test_converting_is_light(tmp_path):
    header = header_of(ids := random_ids(5))
    path = save(tmp_path / "x.tokens.npy", "npy", [(header, ids)])
    out = tmp_path / "x.tokens.parquet"
    output = run(entry_point("ulmo"), "convert", path, "--format", "parquet", "--out", out)
    assert output.startswith(f"{path}: 5 x 3 tokens -> {out}\n")
