"""The plain autoencoder: what is shown is to be given back."""

from typing import Any


class Reconstruction:
    """Shows tiles as they are."""

    def shown(self, tiles: Any, step: Any) -> Any:
        """Tiles (B, M, frames, 1) for the encoder: the tiles themselves."""
        return tiles
