"""The NumPy arrays that every room hands on, by what they hold."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]  # samples, power, tiles, latents, codes
Ids = NDArray[np.int32]  # token ids (time, band)
Indices = NDArray[np.int64]  # places in another array
Mask = NDArray[np.bool_]
