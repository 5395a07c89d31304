"""train.json: the settings that a run was trained with.

Known without TensorFlow, as are the run's checkpoints (checkpoint_files.py) and logs (csv_log.py).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ulmo.config import ModelSettings, Settings, TrainSettings, UserError
from ulmo.storage.manifest import Hash
from ulmo.storage.names import Name
from ulmo.storage.sealed import read_json

RUN_MANIFEST = "train.json"
_AGAIN = "train again, into a new folder"


class RunManifest(Settings):
    """train.json."""

    # Version 1 had other names of objectives, and none that needed a second folder of tiles.
    schema_version: Literal[2] = 2
    model: ModelSettings
    train: TrainSettings
    tiles: Name  # folder of the tiles, by `portable`, as are the paths in `train`
    tiles_fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    # Their settings and numbers, from which a resumed run says what has changed.
    tiles_contents: Annotated[dict[str, Any], Field(default_factory=dict)]
    beside_fingerprints: tuple[str, ...] = ()  # of the tiles in `train.beside`, in their order
    pairs_hash: Hash | None = None  # SHA-256 of the file `train.pairs`
    versions: dict[str, str]  # of ulmo, TensorFlow, Keras and NumPy


def read_run(run_dir: Path) -> RunManifest:
    """Read and check train.json; UserError if there is none, or it is damaged."""
    path = run_dir / RUN_MANIFEST
    if not path.is_file():
        raise UserError(f"{run_dir} holds no run: make one with ulmo-train TILES_DIR {run_dir}")
    return read_json(
        path, RunManifest, newest=2, oldest=2, remedy=_AGAIN, outdated=_AGAIN, sealed=True
    )
