"""What a command says where its packages are not installed; which extra brings what."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from matplotlib.image import imread

from tests import commands
from ulmo.cli.exits import guarded
from ulmo.cli.main import ulmo
from ulmo.config import EXTRAS
from ulmo.preprocessing.frontends import FRONTENDS

ROOT = Path(__file__).parents[1]
SPEECH = ROOT / "data_samples" / "speech" / "vowels.wav"
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
from ulmo.cli.main import ulmo
sys.exit(ulmo())
"""
EACH_MISSING = """
import sys
from ulmo.cli.main import ulmo
for name in sys.argv[1:4]:
    sys.modules[name] = None
    try:
        ulmo.main(sys.argv[4:])
    except SystemExit as ended:
        print(ended.code)
    del sys.modules[name]
"""
RESYNTHESIZE = """
import sys
sys.modules["librosa"] = None
import numpy as np
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.inverse import invert
from ulmo.preprocessing.normalize import Normalization
for settings, constants in (
    (PrepSettings(tile_size=32, normalization="tile"), None),
    (PrepSettings(frontend="stft", tile_size=32), Normalization(offset=0, scale=1)),
):
    try:
        invert(np.zeros((32, 4), np.float32), settings, constants)
    except UserError as error:
        print(error)
"""

REPEATS = """
import sys
sys.modules["sklearn"] = None
import ulmo
from ulmo.config import UserError
for sources in (sys.argv[1:], [ulmo.load_tokenizer().encode(sys.argv[1])]):
    try:
        ulmo.repeats(sources)
    except UserError as error:
        print(error)
"""


def run(missing, *arguments):
    command = [sys.executable, "-c", RUN, missing, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_training_says_what_to_install_before_it_does_anything(tiny_tiles, tmp_path):
    packages = ("tensorflow", "keras", "tensorboard")
    words = [sys.executable, "-c", EACH_MISSING, *packages, "train", tiny_tiles, tmp_path / "run"]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "2\n" * 3)
    assert done.stderr.splitlines() == [
        f"ulmo: this needs {missing}, which is not installed: pip install 'ulmo[train]'"
        for missing in packages
    ]
    assert list(tmp_path.iterdir()) == []


def prep(out, *flags):
    return run("scipy pywt", "prep", SPEECH.parent, out, "-M", "32", *flags)


@pytest.mark.parametrize(("frontend", "workers"), [("wpt", 1), ("dwt", 2)])
def test_a_front_end_says_what_to_install(frontend, workers, tmp_path):
    done = prep(tmp_path / "tiles", "--frontend", frontend, "--workers", workers)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].endswith("not installed: pip install 'ulmo[wavelets]'")
    assert "Traceback" not in done.stderr


def test_the_other_front_ends_need_no_extra(tmp_path):
    done = prep(tmp_path / "tiles", "--frontend", "cqt", "--normalization", "pcen", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert {"stft", "mel", "cqt", "cwt"} <= {*_installed()}


def _installed():
    return [name for name, kind in FRONTENDS.items() if not kind.packages]


def test_a_picture_has_the_front_ends_that_are_installed(tmp_path):
    pictures = [tmp_path / "few.png", tmp_path / "all.png"]
    done = run("scipy pywt", "show", SPEECH, "--out", pictures[0])
    assert done.returncode == 0, done.stderr
    assert commands.run(ulmo, "show", SPEECH, "--out", pictures[1]).exit_code == 0
    few, everything = (imread(picture).shape[0] for picture in pictures)
    assert few == pytest.approx(everything * len(_installed()) / len(FRONTENDS), rel=0.03)
    done = run("scipy pywt", "show", SPEECH, "--frontend", "dwt", "--out", tmp_path / "dwt.png")
    assert (done.returncode, "ulmo[wavelets]" in done.stderr) == (2, True)
    assert not (tmp_path / "dwt.png").exists()


def test_repeats_say_what_to_install_before_they_do_anything(tmp_path):
    done = run("sklearn", "repeats", SPEECH, "--out", tmp_path / "new" / "repeats.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "ulmo: this needs sklearn, which is not installed: pip install 'ulmo[eval]'\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_repeats_in_python_say_what_to_install():
    done = subprocess.run(
        [sys.executable, "-c", REPEATS, SPEECH], capture_output=True, text=True, check=True
    )
    line = "this needs sklearn, which is not installed: pip install 'ulmo[eval]'"
    assert done.stdout.splitlines() == [line, line]


def test_any_command_says_what_to_install(capsys):
    @guarded
    def command(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    with pytest.raises(SystemExit, match="2"):
        command("sklearn.neighbors")
    assert capsys.readouterr().err == (
        "ulmo: this needs sklearn, which is not installed: pip install 'ulmo[eval]'\n"
    )
    with pytest.raises(ModuleNotFoundError):
        command("ulmo.none")


def test_sound_says_what_to_install():
    done = subprocess.run(
        [sys.executable, "-c", RESYNTHESIZE], capture_output=True, text=True, check=True
    )
    mode, sound = done.stdout.splitlines()
    assert mode.startswith("normalization 'tile' has constants")
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
