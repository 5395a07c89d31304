"""A bundle of hf://owner/name: a server of this test stands for the hub."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import pytest

from tests.bundles import ENCODER, MANIFEST, PREP, WEIGHTS, contents, refusal, replace
from tests.commands import assert_refused, run
from tests.conftest import SAMPLES
from tests.hub import COMMIT, OLDER, serving
from ulmo.bundle.bundle import read_bundle
from ulmo.cli.main import ulmo
from ulmo.config import UserError, extras
from ulmo.tokenizer import load_tokenizer

constants = pytest.importorskip("huggingface_hub.constants")
NAME, PINNED = "hf://owner/name", f"hf://owner/name@{COMMIT}"


@pytest.fixture(scope="module")
def running():
    with serving() as found:
        yield found


@pytest.fixture
def hub(running, tmp_path, monkeypatch):
    """A hub with no repository, and an empty cache."""
    found, address = running
    found.__init__()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    return found


def test_it_is_the_bundle_and_only_its_files_are_fetched(hub, folder):
    (folder / "README.md").write_text("---\nlicense: cc0-1.0\n---\n")
    hub.put(folder)["pytorch_model.bin"] = b"a pickle"
    bundle = read_bundle(NAME)
    assert bundle == read_bundle(folder)._replace(place=PINNED)
    assert hub.fetched() == [MANIFEST, ENCODER, WEIGHTS]


def test_a_commit_that_was_read_is_read_again_without_a_request(hub, folder):
    hub.put(folder)
    tokenizer = load_tokenizer(NAME, threads=1)
    hub.asked.clear()
    again = pickle.loads(pickle.dumps(tokenizer))  # as for another process
    assert again.manifest == tokenizer.manifest
    assert load_tokenizer(PINNED).bundle.place == PINNED
    assert hub.asked == []


def test_without_a_connection_it_is_what_was_read_last(hub, folder, monkeypatch):
    hub.put(folder)
    read_bundle(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert read_bundle(NAME).place == PINNED
    assert refusal("hf://owner/other").startswith("hf://owner/other: the hub cannot be reached")


def test_a_revision_is_another_bundle(hub, folder, make_bundle, tmp_path):
    hub.put(folder)
    older = make_bundle(tmp_path / "older", PREP, seed=1)
    hub.put(older, revision=OLDER)
    bundle = read_bundle(f"{NAME}@{OLDER}")
    assert bundle.manifest == read_bundle(older).manifest
    assert bundle.place == f"{NAME}@{OLDER}"
    assert read_bundle(NAME).manifest == read_bundle(folder).manifest


def test_every_command_takes_it(hub, folder, tmp_path):
    hub.put(folder)
    said = run(ulmo, "inspect", NAME, "--json")
    assert json.loads(said.stdout)["folder"] == PINNED
    named = ("--tokenizer", NAME)
    sound = shutil.copy(SAMPLES / "click_train.wav", tmp_path)
    for command in (("tokenize", sound), ("regions", sound, "--out", tmp_path / "r.csv")):
        assert run(ulmo, *command, *named).exit_code == 0
    assert run(ulmo, "export-hub", NAME, tmp_path / "out").exit_code == 0
    assert contents(tmp_path / "out").items() >= contents(folder).items()


def test_only_the_text_is_an_address(hub, tmp_path, monkeypatch):
    """A folder whose path looks like one is a folder."""
    monkeypatch.chdir(tmp_path)
    for place in ("./hf://owner/name", tmp_path / "hf://owner/name"):
        with pytest.raises(UserError, match="not a tokenizer"):
            read_bundle(place)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("name", "size", "fetched"),
    [
        (MANIFEST, 1 << 17, []),
        (ENCODER, 1 << 40, [MANIFEST]),
        (WEIGHTS, 10**6, [MANIFEST, ENCODER]),
    ],
)
def test_a_file_that_is_too_long_is_not_fetched(name, size, fetched, hub, folder):
    hub.put(folder)
    hub.sizes[name] = size
    assert f"{PINNED}/{name} has {size} bytes, not " in refusal(NAME)
    assert hub.fetched() == fetched


def test_a_file_that_never_ends_is_cut_off_and_not_kept(hub, folder, tmp_path):
    hub.put(folder)
    hub.endless = WEIGHTS
    assert f"{PINNED}/{WEIGHTS} has " in refusal(NAME)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in left) < 1 << 20


def test_another_file_than_the_hash_says_is_refused_with_a_remedy(hub, folder):
    files = hub.put(folder)
    files[WEIGHTS] = files[WEIGHTS][:-1] + b"\1"
    line = refusal(NAME)
    assert line.startswith(f"{PINNED}/{WEIGHTS} is not the file that the settings name: remove ")
    assert "models--owner--name" in line


def test_a_bundle_that_is_damaged_under_fitting_hashes_is_refused(hub, folder):
    replace(folder, ENCODER, (folder / ENCODER).read_bytes()[:-1] + b"\1")
    hub.put(folder)
    assert f"{PINNED}/{ENCODER} does not fit its settings and weights" in refusal(NAME)


def missing(hub):
    del hub.repositories["owner/name"]["main"][WEIGHTS]


def other(hub):
    hub.repositories["owner/name"]["main"] = {"config.json": b"{}"}


def gone(hub):
    hub.repositories.clear()


def down(hub):
    hub.status = 500


def impostor(hub):
    hub.header = "../../somewhere"


@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        (missing, NAME, f"{PINNED} lacks {WEIGHTS}: tell its author"),
        (other, NAME, f"{NAME} is not a tokenizer: it has no {MANIFEST}"),
        (gone, NAME, f"{NAME}: the hub has no such repository, or it is private"),
        (down, NAME, f"{NAME}: the hub answers with an error (500)"),
        (impostor, NAME, "does not answer as the hub does: look at HF_ENDPOINT"),
        (None, f"{NAME}@v2", f"{NAME}@v2: the repository has no such revision"),
        (None, "hf://owner", "names no repository of the hub: write hf://OWNER/NAME"),
        (None, "hf://../../etc", "names no repository"),
        (None, f"{NAME}@../x", "names no repository"),
        (None, "hf://a--b/c", "hf://a--b/c names no repository of the hub"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(change, name, words, hub, folder):
    hub.put(folder)
    if change:
        change(hub)
    assert words in refusal(name)
    assert_refused(run(ulmo, "inspect", name), words)


def test_a_repository_that_changes_meanwhile_is_told(hub, folder):
    """All files are of the commit of the first, which is gone when the second is asked for."""
    hub.put(folder)
    hub.vanishes = MANIFEST
    assert refusal(NAME) == f"{PINNED} changed while it was read: run the same again"
    assert hub.fetched() == [MANIFEST]


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert refusal(NAME).endswith("which is not installed: pip install 'ulmo[hub]'")


def test_a_process_of_its_own_takes_the_address_from_the_environment(running, folder, tmp_path):
    found, address = running
    found.__init__()
    found.put(folder)
    surroundings = {
        **os.environ,
        **{"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"},
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-m", "ulmo", "inspect", NAME, "--json"]
    said = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=True)
    assert json.loads(said.stdout)["folder"] == PINNED
    assert {path.partition("?")[0].rpartition("/")[2] for _, path in found.asked} == {
        *(MANIFEST, ENCODER, WEIGHTS)
    }
