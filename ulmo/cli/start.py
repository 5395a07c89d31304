"""Where commands begin, and what Ctrl-C does from the first import to the end of the process.

Before and after a command, there is nothing to undo: Ctrl-C ends the process at once. While the
command runs, Ctrl-C raises KeyboardInterrupt, which undoes what is half done; a second Ctrl-C ends
the process at once. This module imports nothing slow.
"""

import gc
import os
import signal
from importlib import import_module

from ulmo.no_pandas import hide_pandas, show_pandas

TYPE_CHECKING = False  # as of typing, which is slow to import
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_INTERRUPTED = 130
_IMPORTING = "<frozen importlib"  # how the file names of the import system's frames begin
# New objects after which Python looks for garbage: some 10 MB. With its own 700 it does so hundreds
# of times while modules are imported, which was a seventh of a short command.
_GARBAGE = 150_000

_heard: list[int] = []  # the signal, once it was heard while a command ran


def ulmo(**how: "Any") -> None:
    """The command ulmo."""
    _run("main", "ulmo", how)


def prep() -> None:
    """The command ulmo-prep."""
    _run("prep", "prep", {})


def train() -> None:
    """The command ulmo-train."""
    _run("train", "train", {})


def tokenize() -> None:
    """The command ulmo-tokenize."""
    _run("tokenize", "tokenize", {})


def _run(module: str, name: str, how: "dict[str, Any]") -> None:
    """Run a command, without pandas.

    Nothing looks for garbage when the process ends: what must be closed is closed by its block.
    """
    hide_pandas()
    try:
        _run_interruptible(module, name, how)
    finally:
        show_pandas()
        gc.freeze()


def _run_interruptible(module: str, name: str, how: "dict[str, Any]") -> None:
    """Run a command. Workers inherit its environment."""
    from ulmo.jobs.environment import FOREIGN

    gc.set_threshold(_GARBAGE)
    for setting in [each for each in os.environ if each.startswith(FOREIGN)]:
        del os.environ[setting]
    # Arrow's own allocator keeps what was freed: of a large table, tens of megabytes.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # Else pydantic asks each installed package whether it extends pydantic.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # nohup, or `&`
        getattr(import_module(f"ulmo.cli.{module}"), name)(**how)
        return
    signal.signal(signal.SIGINT, _leave)
    command = getattr(import_module(f"ulmo.cli.{module}"), name)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        command(**how)
    except SystemExit as ended:
        raise SystemExit(_INTERRUPTED if _heard and ended.code else ended.code) from None
    except BaseException:
        if not _heard:
            raise
        _leave()
    finally:
        signal.signal(signal.SIGINT, _leave)


def _interrupt(number: int, frame: "FrameType | None") -> None:
    """Raise KeyboardInterrupt; end the process during a command's imports, which may catch it."""
    if _imports_for_command(frame):
        _leave()
    _heard.append(number)
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _imports_for_command(frame: "FrameType | None") -> bool:
    """Whether a module is being imported on behalf of a module of ulmo.cli."""
    inside, asking = False, ""  # the module that asked for the outermost import
    while frame is not None:
        imports = frame.f_code.co_filename.startswith(_IMPORTING)
        if inside and not imports:
            asking = str(frame.f_globals.get("__name__"))
        inside, frame = imports, frame.f_back
    return asking.startswith("ulmo.cli.")


def _leave(*_: object) -> None:
    """End the process now. Its outputs are as after a kill: the same command goes on."""
    try:
        os.write(2, b"ulmo: interrupted\n")
    finally:
        os._exit(_INTERRUPTED)
