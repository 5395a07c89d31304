"""Read malicious files, each in a child of a warm process that records what the child does.

Input, a line of JSON: kind, path, a valid output of the kind, a watched folder. Output, a line: the
refusal, processor seconds, megabytes of growth, and forbidden actions. The child reads the valid
output first, so that library pages mapped on first use are not counted.
"""

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet  # noqa: F401

from ulmo.bundle.bundle import read_bundle
from ulmo.config import UserError, read_toml
from ulmo.formats.folder import folder_ledger
from ulmo.formats.header import read_stored
from ulmo.formats.read import read_corpus
from ulmo.jobs.outcome import Prepared
from ulmo.no_pandas import hide_pandas
from ulmo.pipelines.evaluate.labelled import find_labelled
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import TilesManifest, TileStore
from ulmo.storage.checkpoint_files import damaged_files, numbers
from ulmo.storage.csv_log import read_log
from ulmo.storage.ledger import Ledger
from ulmo.storage.lock import LOCK
from ulmo.storage.manifest import LedgerFiles
from ulmo.storage.run_manifest import read_run

FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork")
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate")
CHANGES += ("os.chmod", "os.chown", "os.utime", "shutil.", "pickle.find_class", "ctypes.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SECONDS = 20


def read_tiles(path):
    """Read all of a folder of tiles."""
    store = TileStore(path)
    store.read(range(len(store)))
    files = LedgerFiles.inside(path, "prep")
    Ledger(files, TilesManifest, Prepared, remedy="", anew="").check_rows()


def read_checkpoints(path):
    """Read the logs, and what a run reads before it returns to a checkpoint."""
    read_run(path)
    for name in ("losses.csv", "epochs.csv"):
        try:
            read_log(path / name)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from None
    for number in numbers(path / "checkpoints"):
        if damaged := damaged_files(path / "checkpoints", number):
            raise UserError(f"{damaged[0]} is damaged")


READERS = {
    "bundle": read_bundle,
    "tokens": lambda path: list(read_corpus(path)),
    "header": read_stored,
    "tiles": read_tiles,
    "run": read_checkpoints,
    "table": lambda path: folder_ledger(path.parent).check_rows(),
    "toml": read_toml,
    "labels": lambda path: find_labelled(path.parent, path),
}
VERIFIED = {"bundle", "tokens", "tiles", "run"}  # kinds that `ulmo verify` reads, too


def watch(done, bait):
    """Record what a reader must not do: open sockets, run programs, write, read files outside."""

    def hook(event, arguments):
        if event.startswith((*FORBIDDEN, *CHANGES)):
            done.append(f"{event} {arguments!r}"[:200])
        elif event == "open":
            path, mode, flags = arguments
            # A lock is only asked for: its file is opened to read and write, and never made.
            mask = WRITING ^ os.O_RDWR if str(path).endswith(LOCK) else WRITING
            writes = any(c in (mode or "") for c in "wax+") or (flags or 0) & mask
            if writes or (isinstance(path, str) and os.path.realpath(path).startswith(bait)):
                done.append(f"open {path!r} {mode} {flags}"[:200])

    sys.addaudithook(hook)


def peak():
    """Peak memory in megabytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def attempt(kind, path, good, bait):
    """The outcome of reading."""
    done = []
    READERS[kind](good)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = peak(), time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    watch(done, bait)
    refusal = crash = None
    try:
        READERS[kind](path)
    except UserError as error:
        refusal = str(error)
    except BaseException as error:
        crash = f"{type(error).__name__}: {error}"[:500]
    faults = None
    if kind in VERIFIED and crash is None:
        try:
            faults = len(verify(path).faults)
        except UserError as error:
            faults = str(error)
        except BaseException as error:
            crash = f"verify: {type(error).__name__}: {error}"[:500]
    return {
        "refusal": refusal,
        "crash": crash,
        "faults": faults,
        "done": done,
        "seconds": time.process_time() - began,
        "megabytes": peak() - before,
    }


def in_child(kind, path, good, bait):
    """The same in a fork; returns how the child died, if it did."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), os.fdopen(writing, "w") as out:
            json.dump(attempt(kind, Path(path), Path(good), bait), out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(content) if content else {"crash": f"ended with {status}"}


if __name__ == "__main__":
    np.zeros(1)
    hide_pandas()
    for line in sys.stdin:
        print(json.dumps(in_child(*json.loads(line))), flush=True)
