"""No link among files that ulmo wrote is followed; a path that the user names may be one."""

import os
import re
import shutil
import sys

import numpy as np
import pytest

from tests import commands
from tests.formats.test_sources import make_output
from tests.outputs import make_tiles, make_tokens
from ulmo.cli.main import ulmo
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.read import read_corpus, read_tokens
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import TileStore

READABLE = [name for name, kind in FORMATS.items() if kind.readable]


def link_away(path, elsewhere):
    """Move a file or folder, and leave a link to it."""
    elsewhere.mkdir(exist_ok=True)
    shutil.move(path, elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)


WATCHED = []
"""Lists that get the real path of all that is opened. A hook cannot be removed."""


def _watch(event, arguments):
    if WATCHED and event == "open" and isinstance(arguments[0], str | bytes):
        WATCHED[-1].append(os.path.realpath(os.fsdecode(arguments[0])))


@pytest.fixture(scope="module")
def hook():
    sys.addaudithook(_watch)


@pytest.fixture
def opened(hook):
    """Real paths of all that is opened from now on."""
    WATCHED.append([])
    yield WATCHED[-1]
    WATCHED.clear()


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("part", ["tokens", "header", "beside"])
def test_tokens_and_headers(name, part, tmp_path, opened):
    path = make_tokens(tmp_path / "stranger", name)
    header = path.with_name("x.tokens.json")
    beside = path.with_suffix(".bin") if name == "megatron" else path
    link_away({"tokens": path, "header": header, "beside": beside}[part], tmp_path / "secret")
    opened.clear()
    with pytest.raises(UserError, match=r"it is a link, and ulmo follows no links|is missing"):
        list(read_corpus(path.parent))
    assert verify(path.parent).faults
    assert not [each for each in opened if str(tmp_path / "secret") in each]
    verify(path.parent, repair=True)
    assert len(list((tmp_path / "secret").iterdir())) == 1


def test_converting_refuses_them_one_by_one(tmp_path):
    out = make_output(tmp_path / "out", ["a", "b", "c", "d"])
    link_away(out / "tokens" / "b.tokens.npy", tmp_path / "secret")
    link_away(out / "token_headers" / "c.tokens.json", tmp_path / "secret")
    made = convert([out], tmp_path / "c.csv", "csv", done=lambda _: None)
    refused = {each.source.name: each.refusal for each in made if each.refusal}
    assert sorted(refused) == ["b.tokens.npy", "c.tokens.npy"]
    assert all("it is a link" in why for why in refused.values())
    assert len(list(read_corpus(tmp_path / "c.csv"))) == 2


@pytest.mark.parametrize("name", ["token_headers", "token_headers/s"])
def test_folders_of_headers(name, tmp_path, opened):
    out = make_output(tmp_path / "out", ["s/a"])
    link_away(out / name, tmp_path / "secret")
    opened.clear()
    with pytest.raises(UserError, match="it is a link, and ulmo follows no links"):
        list(read_corpus(out))
    assert not [each for each in opened if str(tmp_path / "secret") in each]


@pytest.mark.parametrize("name", ["tokenize.json", "recordings.parquet"])
def test_ledgers(name, tmp_path):
    out = make_output(tmp_path / "out", ["a"])
    link_away(out / name, tmp_path / "secret")
    with pytest.raises(UserError, match="may lack recordings"):
        list(read_corpus(out))
    assert verify(out).faults


@pytest.mark.parametrize(
    "name", ["prep.json", "tiles.parquet", "tiles", "tiles/000000-0000.npy", "recordings.parquet"]
)
def test_tiles(name, tmp_path, opened):
    tiles = make_tiles(tmp_path / "tiles")
    link_away(tiles / name, tmp_path / "secret")
    opened.clear()
    if name != "recordings.parquet":  # which training does not read
        with pytest.raises(UserError, match=r"is a link|no plain file|is damaged"):
            TileStore(tiles).read([0])
    assert verify(tiles).faults
    assert not [each for each in opened if str(tmp_path / "secret") in each]


def test_a_path_that_the_user_names_may_be_a_link(tmp_path):
    out, path = make_output(tmp_path / "out", ["a"]), make_tokens(tmp_path / "x", columns=3)
    links = tmp_path / "links"
    links.mkdir()
    for name, target in (("x.tokens.npy", path), ("out", out), ("tokens", out / "tokens")):
        (links / name).symlink_to(target)
    assert np.array_equal(read_tokens(links / "x.tokens.npy").ids, read_tokens(path).ids)
    for name in ("out", "tokens"):
        assert len(list(read_corpus(links / name))) == 1
        csv = links / f"{name}.csv"
        result = commands.run(ulmo, "convert", links / name, "--format", "csv", "--out", csv)
        assert result.exit_code == 0
        assert len(list(read_corpus(csv))) == 1
    for name in ("x.tokens.npy", "out"):
        assert verify(links / name).faults == []
    result = commands.run(
        ulmo, "convert", links / "x.tokens.npy", "--format", "csv", "--out", links / "y.csv"
    )
    assert re.search(r"x.tokens.npy: 3 x 3 tokens", result.stdout)
