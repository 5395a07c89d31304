"""Keeps libraries from importing pandas, which no command needs.

pyarrow, Keras and Matplotlib import it wherever it is installed: a quarter of a second in each
command and each worker. In Python nothing is hidden: a program that imports ulmo may use pandas.
"""

import sys

TYPE_CHECKING = False  # as of typing, which is slow to import
if TYPE_CHECKING:
    from typing import Any


class _NoPandas:
    """A finder of modules, asked before all others: pandas is as if not installed."""

    @staticmethod
    def find_spec(name: str, *_: "Any") -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide_pandas() -> None:
    """Have libraries find no pandas from now on, unless it is imported already."""
    sys.meta_path.insert(0, _NoPandas)


def show_pandas() -> None:
    """Undo one call of `hide_pandas`."""
    sys.meta_path.remove(_NoPandas)
