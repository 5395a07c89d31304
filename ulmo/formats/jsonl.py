"""JSON lines: the rows of the Parquet file, an object each."""

import json
from typing import Any

from ulmo.formats.header import utc_text
from ulmo.formats.rows import Row, RowWriter


class Jsonl(RowWriter):
    """One object a line, UTF-8."""

    def _write_row(self, row: Row) -> None:
        values = {**row_start(row), "ids": row.ids.reshape(-1).tolist(), "unk_rate": row.unk_rate}
        values["fingerprint"] = row.header.fingerprint
        line = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._files[0].write(line.encode() + b"\n")


def row_start(row: Row) -> dict[str, Any]:
    """What a row says of its place."""
    return {
        "recording": row.header.recording,
        "channel": row.header.channel,
        "start_utc": None if row.start_utc is None else utc_text(row.start_utc),
        "start_s": row.start_s,
        "hop_s": row.header.hop / row.header.sample_rate,
        "bands": row.header.bands,
    }
