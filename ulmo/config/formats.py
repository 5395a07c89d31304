"""The formats of tokens: their descriptions, which `--help` shows without importing NumPy."""

from typing import NamedTuple


class FormatTraits(NamedTuple):
    """What `--help` needs to know of a format. Its class is in `ulmo.formats.FORMATS`."""

    words: str  # what the format is


FORMAT_TRAITS = {
    "npy": FormatTraits("NumPy array, int32 (time, band), a file a recording"),
    "parquet": FormatTraits(
        "a table with a row per 4096 columns, for pandas, Polars, DuckDB and datasets"
    ),
    "jsonl": FormatTraits("JSON lines, a row an object"),
    "csv": FormatTraits("a line a token, with its times and hertz, for spreadsheets and R"),
    "megatron": FormatTraits("uint16 stream and index, as Megatron-LM reads them"),
    "bin": FormatTraits("uint16 stream, as nanoGPT reads it"),
    "raven": FormatTraits("selection table for Raven Pro and Raven Lite"),
    "audacity": FormatTraits("label track for Audacity"),
}
