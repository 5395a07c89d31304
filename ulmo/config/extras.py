"""Packages that only some commands need, and the extra of `ulmo` that installs each."""

from ulmo.config.errors import UserError

EXTRAS = {  # by import name
    "tensorflow": "train",
    "keras": "train",
    "tensorboard": "train",
    "sklearn": "eval",
    "scipy": "wavelets",
    "pywt": "wavelets",
    "librosa": "sound",
}


def not_installed(package: str) -> UserError:
    """The error to raise if a package of an extra cannot be imported."""
    return UserError(
        f"this needs {package}, which is not installed: pip install 'ulmo[{EXTRAS[package]}]'"
    )
