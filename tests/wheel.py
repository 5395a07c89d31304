"""make wheel: builds the wheel, installs it alone in a fresh environment, and tokenizes with it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import ulmo

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data_samples" / "speech" / "vowels.wav"
ABSENT = (
    "import importlib.util as u; print(*[n for n in ('tensorflow', 'librosa') if u.find_spec(n)])"
)


def main() -> None:
    """Print what the environment holds and what it makes; AssertionError if something is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        wheels = place / "wheels"
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run(*pip, "wheel", "--no-deps", "--wheel-dir", wheels, ROOT, cwd=place)
        (wheel,) = wheels.glob("ulmo-*.whl")
        run(*pip, "download", "--dest", wheels, wheel, cwd=place)
        run(sys.executable, "-m", "venv", place / "env", cwd=place)
        before = megabytes(place / "env")
        offline = ["--quiet", "--disable-pip-version-check", "--no-index", "--find-links", wheels]
        python = place / "env" / "bin" / "python"
        run(python, "-m", "pip", "install", *offline, wheel, cwd=place)
        print(
            f"{wheel.name}: {megabytes(wheels):.0f} MB to download, "
            f"{megabytes(place / 'env') - before:.0f} MB on disk"
        )
        assert run(python, "-c", ABSENT, cwd=place) == "\n"
        check(place / "env" / "bin", place / "empty")


def check(commands: Path, folder: Path) -> None:
    """Tokenize a sample in a new folder, and compare its ids with those of this environment."""
    folder.mkdir()
    shutil.copy(SAMPLE, folder)
    print(run(commands / "ulmo-tokenize", SAMPLE.name, cwd=folder), end="")
    ids = np.load(folder / "vowels.tokens.npy")
    expected = ulmo.load_tokenizer().encode(SAMPLE).ids
    assert ids.dtype == np.int32
    assert ids.ndim == 2
    assert ids.size > 0
    np.testing.assert_array_equal(ids, expected)
    labels = ("vowels.tokens.npy", "--format", "raven", "--out", "labels")
    run(commands / "ulmo", "verify", "vowels.tokens.npy", cwd=folder)
    run(commands / "ulmo", "convert", *labels, cwd=folder)
    run(commands / "ulmo-train", "none", "run", cwd=folder, status=2)
    print(f"{ids.shape[0]} x {ids.shape[1]} ids, as expected")


def megabytes(folder: Path) -> float:
    """Size of all files below a folder, in millions of bytes."""
    return sum(each.lstat().st_size for each in folder.rglob("*") if each.is_file()) / 1e6


def environment() -> dict[str, str]:
    """This environment without the paths that lead to this checkout."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def run(*command: object, cwd: Path, status: int = 0) -> str:
    """Run a command, and return what it prints; AssertionError if it ends with another status."""
    arguments = [str(each) for each in command]
    done = subprocess.run(arguments, cwd=cwd, env=environment(), stdout=subprocess.PIPE, text=True)
    assert done.returncode == status, arguments
    return done.stdout


if __name__ == "__main__":
    main()
