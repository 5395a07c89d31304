"""ulmo export-hub: a bundle, and the card that the hub shows."""

import json

import pytest

from tests.bundles import PREP, contents
from tests.commands import assert_refused, run
from ulmo.bundle.bundle import read_bundle, rebuilt, write_bundle
from ulmo.bundle.card import Card, Corpus
from ulmo.cli.main import ulmo

HOSTILE = "``` <script>alert(1)</script> [x](javascript:1) --- # title"


@pytest.fixture(scope="module")
def bundle(make_bundle, tmp_path_factory):
    folder = make_bundle(tmp_path_factory.mktemp("bundle") / "tokenizer", PREP)
    corpora = tuple(Corpus(name=f"{HOSTILE} {n}", licence="", recordings=3, hours=1) for n in "abc")
    built = rebuilt(read_bundle(folder), card=Card(corpora=corpora, notes=HOSTILE), scores=None)
    write_bundle(folder, built)
    return folder


def metadata(card):
    """The lines of a card's metadata as a reader of YAML sees them, and the text below."""
    yaml = pytest.importorskip("yaml")
    start, head, text = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head), text


def test_it_is_the_bundle_with_a_card_and_is_read_as_one(bundle, tmp_path):
    folder = tmp_path / "shared"
    said = run(ulmo, "export-hub", bundle, folder, "--license", "cc-by-4.0")
    assert said.exit_code == 0, said.output
    assert f"to share it: hf upload OWNER/NAME {folder}" in said.stdout
    assert "unknown" not in said.stdout
    assert contents(folder).items() > contents(bundle).items()
    assert read_bundle(folder) == read_bundle(bundle)._replace(place=folder)
    head, text = metadata((folder / "README.md").read_text())
    assert head["license"] == "cc-by-4.0"
    assert head["library_name"] == "ulmo"
    assert {"ulmo", "audio", "tokenizer"} <= set(head["tags"])
    assert read_bundle(bundle).manifest.fingerprint in text
    assert str(bundle.parent) not in text
    config = json.loads((folder / "config.json").read_text())
    assert config["fingerprint"] == read_bundle(bundle).manifest.fingerprint
    assert config["codebook_size"] == 16


def test_words_of_the_bundle_are_text_in_the_card(bundle, tmp_path):
    assert run(ulmo, "export-hub", bundle, tmp_path / "x", "--quiet").stdout == ""
    _, text = metadata((tmp_path / "x" / "README.md").read_text())
    before, described, after = text.split("````\n")
    assert "Codebook" in described
    for part in (before, after):
        assert "<" not in part.replace(r"\<", "")
        assert "](" not in part.replace(r"\](", "")
    assert after.count("\n- ") == 3


@pytest.mark.parametrize("license", ["unknown", "no"])
def test_the_licence_is_a_text(license, bundle, tmp_path):
    said = run(ulmo, "export-hub", bundle, tmp_path / "x", "--license", license, "--json")
    assert json.loads(said.stdout)["license"] == license
    assert metadata((tmp_path / "x" / "README.md").read_text())[0]["license"] == license


def test_nothing_is_written_over(bundle, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    assert_refused(run(ulmo, "export-hub", bundle, tmp_path), "is not empty: name a new folder")
    assert contents(tmp_path) == {"README.md": b"mine"}
    new = tmp_path / "new"
    assert_refused(run(ulmo, "export-hub", tmp_path, new), "has no tokenizer.json")
    refused = run(ulmo, "export-hub", bundle, new, "--license", "a\nb: c")
    assert_refused(refused, "--license must be an identifier such as cc-by-4.0")
    assert not new.exists()
