"""What means harm is refused in one line: in a second, in 50 MB, and with nothing done.

Each is read in a child whose opened files, sockets and programs are watched (hostile_child.py).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.hostile import ATTACKS
from tests.outputs import PREP, SMALL, make_run, make_tiles, make_tokens
from tests.pipelines.tokenizing import tokenize

TOKENS = ("npy", "parquet", "jsonl", "csv", "megatron")
KINDS = ("bundle", "tiles", "run", *TOKENS, "table")
MEGABYTES, SECONDS = 50, 1.0
NOISE = 3.0
"""Times that a second may be longer in a test: the cores are shared, and sooner or later slow."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")


@pytest.fixture(scope="module")
def goods(tmp_path_factory, make_bundle, tokenizer_of):
    """A good output of each kind: its folder, and what is read below it."""
    folder = tmp_path_factory.mktemp("goods")
    make_tiles(folder / "tiles" / "tiles")
    make_bundle(folder / "bundle", PREP, **SMALL)
    make_run(folder / "run", make_bundle)
    found = {
        "bundle": (folder / "bundle", ""),
        "tiles": (folder / "tiles" / "tiles", ""),
        "run": (folder / "run", ""),
    }
    for name in TOKENS:
        path = make_tokens(folder / name, name)
        found[name] = (path.parent, path.name)
    tokenize(tokenizer_of(), folder / "tiles" / "audio", out=folder / "table")
    found["table"] = (folder / "table", "recordings.parquet")
    (folder / "toml").mkdir()
    (folder / "toml" / "x.toml").write_text("[prep]\nhop_length = 80\n")
    found["toml"] = (folder / "toml", "x.toml")
    (folder / "labels").mkdir()
    soundfile.write(folder / "labels" / "a.wav", [0.0] * 100, 1000)
    (folder / "labels" / "labels.csv").write_text("file,label\na.wav,x\n")
    found["labels"] = (folder / "labels", "labels.csv")
    return found


@pytest.fixture(scope="module")
def child(goods):
    """The warm process that tries; it answers a line with a line."""
    command = [sys.executable, str(Path(__file__).with_name("hostile_child.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[1], env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:  # fmt: skip

        def attempt(kind, path, bait):
            folder, name = goods[kind]
            tried = ["tokens" if kind in TOKENS else kind, path, folder / name, bait]
            process.stdin.write(json.dumps([str(each) for each in tried]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield attempt
        process.stdin.close()


@pytest.fixture
def bait(tmp_path):
    """What lies outside, and must neither be read nor changed."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


def good_copy(goods, kind, place):
    """A good output of a kind, to be damaged; returns the path that is read."""
    source, path = goods[kind]
    shutil.copytree(source, place)
    return place / path


def test_there_are_sixty():
    assert len(ATTACKS) >= 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_one_is_read(kind, goods, child, tmp_path, bait):
    """The measure itself: what is read in full, and costs next to nothing."""
    path = good_copy(goods, kind, tmp_path / "x")
    found = child(kind, path, bait)
    assert (found["crash"], found["refusal"], found["done"]) == (None, None, [])
    assert not found["faults"]
    assert found["megabytes"] < MEGABYTES


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused(name, goods, child, tmp_path, bait):
    kind, make = ATTACKS[name]
    path = good_copy(goods, kind, tmp_path / "x")
    make(path, bait)
    before = sorted(tmp_path.rglob("*"))
    found = child(kind, path, bait)
    print(f"{name}: {found}")
    assert found["crash"] is None
    assert found["refusal"], "it was read"
    assert found["refusal"].isprintable()
    assert len(found["refusal"]) < 1500
    assert found["faults"] is None or found["faults"], "verify finds nothing"
    assert found["done"] == []
    assert sorted(tmp_path.rglob("*")) == before
    assert (bait / "secret").read_bytes() == b"secret"
    assert found["megabytes"] < MEGABYTES
    assert found["seconds"] < NOISE * SECONDS


def test_the_watch_sees():
    """The harness: what is watched for is noted."""
    script = (
        "from tests.hostile_child import watch; done = []; watch(done, '/etc'); "
        "import os, socket; socket.socket().close(); open('/dev/null', 'w'); open('/etc/hosts'); "
        "os.system(''); print(len({line.split()[0] for line in done}), len(done))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.stdout == "3 4\n", done.stderr
