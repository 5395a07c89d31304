"""A process of another interpreter that answers questions: a line of JSON each way."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.report import ROOT


class Child:
    """`python` running a module of this package, which first prints its `versions`."""

    def __init__(
        self, python: str, module: str, arguments: Sequence[object], *, quiet: bool = False
    ) -> None:
        executable = Path(shutil.which(python) or python).absolute()  # from here, not from ROOT
        self._process = subprocess.Popen(
            [str(executable), "-m", module, *map(str, arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
        )
        self.versions: dict[str, str] = self._answer()

    def ask(self, question: object) -> Any:
        """Send one question, and wait for its answer."""
        assert self._process.stdin
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} ended before it answered")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
