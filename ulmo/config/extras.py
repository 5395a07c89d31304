"""Packages that only some commands need, and the extra of `ulmo` that installs each."""

from importlib.util import find_spec

from ulmo.config.errors import UserError

EXTRAS = {  # by import name
    "tensorflow": "train",
    "keras": "train",
    "tensorboard": "train",
    "sklearn": "eval",
    "scipy": "wavelets",
    "pywt": "wavelets",
    "librosa": "sound",
    "huggingface_hub": "hub",
    "distributed": "dask",
    "fsspec": "urls",
    "s3fs": "s3",
}


def not_installed(package: str) -> UserError:
    """The error to raise if a package of an extra cannot be imported."""
    return UserError(
        f"this needs {package}, which is not installed: pip install 'ulmo[{EXTRAS[package]}]'"
    )


def require(*packages: str) -> None:
    """UserError that says what to install, if one of the packages is not installed."""
    for package in packages:
        if find_spec(package) is None:
            raise not_installed(package)
