"""A folder of tokens, as ulmo-tokenize writes it, and what lies beside a timeline.

OUT/tokenize.json         the settings, sealed
OUT/recordings.parquet    a row for each recording
OUT/tokens/               tokens, and nothing else
OUT/token_headers/        their headers, in the same folders
OUT/README.md             for tables: what Hugging Face datasets loads (formats/readme.py)
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from ulmo.config import ClockSettings, FullScale, TimeExpansion
from ulmo.formats.header import Gaps, Stored
from ulmo.formats.places import COMMAND
from ulmo.formats.publish import tokens_hash
from ulmo.jobs.outcome import Tokenized
from ulmo.storage.manifest import Hash, LedgerFiles, LedgerManifest

if TYPE_CHECKING:
    from ulmo.storage.ledger import Ledger

AGAIN = "run the same ulmo-tokenize again"
DELETE = f"delete it, then {AGAIN}"

TokensLedger: TypeAlias = "Ledger[TokenizeManifest, Tokenized]"


class TokenizeManifest(LedgerManifest):
    """tokenize.json: everything that decides about tokens, but the recordings."""

    schema_version: Literal[2] = 2  # 1 had no hashes of tokens in recordings.parquet
    tokenizer: Hash  # the tokenizer's fingerprint
    unk_quantile: Annotated[float, Field(gt=0, lt=1)] | None
    time_expansion: TimeExpansion = 1.0
    full_scale: FullScale = 1.0
    file_format: str
    channels: str
    clock: ClockSettings
    gaps: Gaps = "keep"  # how time that was left out is written
    ids: tuple[int, ...] | None  # sorted; only their runs are labelled
    min_columns: int  # shorter runs are not labelled


def folder_ledger(folder: Path) -> TokensLedger:
    """The ledger of a folder of tokens."""
    return _ledger(LedgerFiles.inside(folder, COMMAND))


def timeline_ledger(output: Path) -> TokensLedger:
    """The ledger beside a timeline, which is one file."""
    return _ledger(LedgerFiles.beside(output, COMMAND))


def contradiction(stored: Stored, rows: Iterable[Tokenized], endings: Iterable[str]) -> str:
    """Which part of a timeline differs from its rows: "recordings", "tokens" or nothing."""
    left = Counter(segment.recording for segment in stored.header.segments)
    hashes = set()
    for row in rows:
        if row.stretches > left[row.path]:
            return "recordings"
        if row.stretches:
            left[row.path] -= row.stretches
            hashes.add(row.tokens_sha256)
    if left.total():
        return "recordings"
    return "tokens" if hashes - {tokens_hash([stored], endings)} else ""


def _ledger(files: LedgerFiles) -> TokensLedger:
    from ulmo.storage.ledger import Ledger  # brings pyarrow, which one file does not need

    return Ledger(files, TokenizeManifest, Tokenized, remedy=AGAIN, anew=DELETE)
