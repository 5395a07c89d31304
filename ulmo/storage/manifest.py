"""The sealed manifest of a ledger, and where a ledger's files lie."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, TypeVar

from pydantic import Field

from ulmo.config import Settings
from ulmo.storage.faults import unreadable
from ulmo.storage.names import Name
from ulmo.storage.plain_file import LinkError
from ulmo.storage.sealed import read_json

TABLE = "recordings.parquet"
_COMMANDS = ("prep", "tokenize")  # those whose folders have a TABLE
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LedgerManifest(Settings):
    """What is the same for all rows of a job. A command adds its settings in a subclass."""

    schema_version: int
    complete: bool = False
    hashes: dict[Name, Hash] = Field(default_factory=dict)  # SHA-256 of each table, by file name

    @classmethod
    def newest(cls) -> int:
        """The schema version that this ulmo writes: the default of `schema_version`."""
        version: int = cls.model_fields["schema_version"].default
        return version

    def deciding(self) -> dict[str, Any]:
        """The settings by name; an output with others is another job's."""
        return self.model_dump(mode="json", exclude=set(LedgerManifest.model_fields))


M = TypeVar("M", bound=LedgerManifest)


def read_manifest_file(path: Path, manifest: type[M], remedy: str) -> M:
    """A manifest, strictly checked.

    Raises UserError if it is damaged, of another version, or cannot be read.
    """
    version = manifest.newest()
    try:
        return read_json(
            path,
            manifest,
            newest=version,
            oldest=version,
            remedy=remedy,
            outdated=remedy,
            sealed=True,
        )
    except LinkError:
        raise
    except OSError as error:
        raise unreadable(path, error) from error


class LedgerFiles(NamedTuple):
    """Where the three files lie."""

    manifest: Path
    table: Path
    journal: Path

    @classmethod
    def inside(cls, folder: Path, command: str) -> Self:
        """Those of an output folder: prep.json for `prep`."""
        return cls(folder / f"{command}.json", folder / TABLE, folder / f".{command}.jsonl")

    @property
    def of_others(self) -> dict[str, Path]:
        """The manifests of the other commands whose tables have the same place, by command."""
        names = {command: f"{command}.json" for command in _COMMANDS}
        if self.manifest.name not in names.values():
            return {}
        paths = {command: self.manifest.with_name(name) for command, name in names.items()}
        return {command: path for command, path in paths.items() if path != self.manifest}

    @classmethod
    def beside(cls, output: Path, command: str) -> Self:
        """Those of an output that is one file: x.npy.tokenize.json for x.npy."""
        return cls(
            output.with_name(f"{output.name}.{command}.json"),
            output.with_name(f"{output.name}.{TABLE}"),
            output.with_name(f".{output.name}.{command}.jsonl"),
        )
