"""What a command says where its packages are not installed; which extra brings what."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ulmo.config import EXTRAS

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "pywt": "PyWavelets",
    "cv2": "opencv-python-headless",
    "google_crc32c": "google-crc32c",
    "tomli_w": "tomli-w",
}
RUN = """
import sys
for name in sys.argv.pop(1).split():
    sys.modules[name] = None
from ulmo import cli
sys.exit(cli.ulmo())
"""
RESYNTHESIZE = """
import sys
sys.modules["librosa"] = None
import numpy as np
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.inverse import invert
from ulmo.preprocessing.normalize import Normalization
try:
    invert(np.zeros((32, 4), np.float32), PrepSettings(tile_size=32, normalization="tile"), None)
except UserError as error:
    print(error)
settings = PrepSettings(frontend="stft", tile_size=32)
try:
    invert(np.zeros((32, 4), np.float32), settings, Normalization(offset=0, scale=1))
except UserError as error:
    print(error)
"""


def run(missing, *arguments):
    command = [sys.executable, "-c", RUN, missing, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("missing", ["tensorflow", "keras", "tensorboard"])
def test_training_says_what_to_install_before_it_does_anything(missing, tiny_tiles, tmp_path):
    done = run(missing, "train", tiny_tiles, tmp_path / "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"ulmo: this needs {missing}, which is not installed: pip install 'ulmo[train]'\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("frontend", "workers"), [("cqt", 1), ("dwt", 2)])
def test_a_front_end_says_what_to_install(frontend, workers, tmp_path):
    done = run(
        *(
            "scipy pywt",
            "prep",
            ROOT / "data_samples" / "speech",
            tmp_path / "tiles",
            "--frontend",
            frontend,
        ),
        *("--workers", workers, "-M", "32"),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].endswith("pip install 'ulmo[frontends]'")
    assert "Traceback" not in done.stderr


def test_sound_says_what_to_install():
    done = subprocess.run(
        [sys.executable, "-c", RESYNTHESIZE], capture_output=True, text=True, check=True
    )
    mode, sound = done.stdout.splitlines()
    assert mode.startswith("normalization 'tile' keeps its constants")
    assert sound == "this needs librosa, which is not installed: pip install 'ulmo[sound]'"


def requirements():
    """Names of the distributions: those of the core, and those of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: {each.split(">")[0].split("[")[0] for each in found}
        for extra, found in groups.items()
    }


def imported():
    """Packages that ulmo imports, wherever it does."""
    for path in (ROOT / "ulmo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module.partition(".")[0]


def test_every_package_is_in_the_core_or_in_its_extra():
    found, packages = requirements(), set(imported()) - sys.stdlib_module_names - {"ulmo"}
    assert packages > {"numpy", "tensorflow", "cv2"}
    for package in packages:
        assert DISTRIBUTIONS.get(package, package) in found[EXTRAS.get(package, "")]


def test_all_brings_every_extra_of_users():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (everything,) = project["optional-dependencies"]["all"]
    assert set(everything.removeprefix("ulmo[").rstrip("]").split(",")) == set(EXTRAS.values())
