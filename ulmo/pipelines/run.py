"""train.json: what a run was made with."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ulmo.config import ModelSettings, Settings, TrainSettings, UserError


class RunManifest(Settings):
    """train.json."""

    schema_version: Literal[1] = 1
    model: ModelSettings
    train: TrainSettings
    tiles: str
    """Folder of the tiles."""
    tiles_fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    versions: dict[str, str]


def read_run(run_dir: Path) -> RunManifest:
    """train.json of a run, strictly checked."""
    path = run_dir / "train.json"
    if not path.is_file():
        raise UserError(f"{run_dir} holds no run: make one with ulmo-train TILES_DIR {run_dir}")
    try:
        return RunManifest.read(json.loads(path.read_bytes()))
    except (ValueError, RecursionError, UserError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
