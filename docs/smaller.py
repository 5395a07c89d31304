"""Make pictures smaller: 256 colours each, chosen for the picture.

python docs/smaller.py PICTURE.png...
"""

import sys
from pathlib import Path

from PIL import Image


def shrink(path: Path) -> None:
    """Replace a PNG by one of 256 colours, unless it has so few already."""
    with Image.open(path) as picture:
        if picture.mode == "P":
            return
        # This method keeps rare colours too, such as those of thin lines.
        few = picture.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    few.save(path, optimize=True)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        shrink(Path(name))
