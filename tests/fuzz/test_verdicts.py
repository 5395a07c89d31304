"""Files that others have collected: each ends in a verdict, and with a reason unless it is ok."""

import pytest

from tests.fuzz.seeds import MALFORMED, SCIPY
from tests.fuzz.verdicts import files, verdict_of

FIELD = {
    "FL001_stub44.wav": ("refused", "no_samples", 0, 0),
    "FL003_dsize44_half_nul.wav": ("repaired", "header_sizes", 48000, 48000),
    "FL005_sizes_plus44.wav": ("repaired", "header_sizes", 96000, 0),
    "FL012_dsize0_riff36.wav": ("repaired", "header_sizes", 96000, 0),
    "OE004_empty.wav": ("refused", "empty_file", 0, 0),
    "OE005_null_128k.wav": ("refused", "not_audio", 0, 0),
    "WA004_noise_noheader.wav": ("refused", "not_audio", 0, 0),
    "ch0.wav": ("refused", "bad_channels", 0, 0),
    "ch65535.wav": ("refused", "bad_channels", 0, 1),
    "dsize_7fffffff.wav": ("repaired", "header_sizes", 96000, 0),
    "dsize_ffffffff.wav": ("repaired", "header_sizes", 96000, 0),
    "float_nan_inf.wav": ("repaired", "non_finite", 24000, 0),
    "fmt_after_bigsr.wav": ("ok", None, 96000, 0),
    "gsm610.wav": ("ok", None, 32000, 0),
    "html_named.wav": ("refused", "not_audio", 0, 0),
    "list_chunk_4g.wav": ("repaired", "header_fields", 96000, 0),
    "mp3_named.wav": ("refused", "not_audio", 0, 0),
    "ok_16_mono.wav": ("ok", None, 96000, 0),
    "rf64_lie_2e62.wav": ("repaired", "header_sizes", 96000, 0),
    "rf64_nods64.wav": ("repaired", "header_sizes", 96000, 0),
    "rf64_ok.wav": ("ok", None, 96000, 0),
    "riff0_dsize0.wav": ("repaired", "header_sizes", 96000, 0),
    "sr_4e9.wav": ("refused", "bad_rate", 0, 96000),
    "trunc_data_half.wav": ("partial", "truncated", 47978, 48022),
    "trunc_odd_byte.wav": ("partial", "truncated", 95999, 1),
    "two_data_chunks.wav": ("partial", "more_data", 96000, 96000),
}


@pytest.fixture(scope="module")
def rows():
    return [verdict_of(*each) for each in files()]


@pytest.mark.skipif(not (SCIPY.is_dir() or MALFORMED.is_dir()), reason="no such files")
def test_every_odd_file_has_a_verdict_and_a_reason(rows):
    wanted = (186 if MALFORMED.is_dir() else 0) + (20 if SCIPY.is_dir() else 0)
    assert len(rows) >= wanted
    for row in rows:
        assert (row["status"] == "ok") == (row["reason"] is None), row
        assert (row["status"] == "refused") == (row["frames"] == 0), row


WRONG_SIZES = {"header_sizes", "lost_sizes", "more_data"}
"""What is declared is not what the file holds."""


@pytest.mark.skipif(not (SCIPY.is_dir() or MALFORMED.is_dir()), reason="no such files")
def test_what_is_read_and_what_is_missing_is_what_was_declared(rows):
    told = [row for row in rows if row["frames_declared"] is not None]
    assert len(told) > 10
    for row in told:
        if row["reason"] not in WRONG_SIZES:
            assert row["frames"] + row["frames_missing"] == row["frames_declared"], row


@pytest.mark.skipif(not SCIPY.is_dir(), reason="SciPy without its tests")
def test_scipys_files(rows):
    """Those that are whole are read, whichever way round their bytes are; 64 bits are not."""
    found = {row["file"]: (row["status"], row["reason"]) for row in rows}
    found = {name: verdict for name, verdict in found.items() if name.startswith("scipy/")}
    assert found["scipy/test-44100Hz-be-1ch-4bytes.wav"] == ("ok", None)
    assert found["scipy/test-44100Hz-le-1ch-4bytes-rf64.wav"] == ("ok", None)
    assert found["scipy/test-44100Hz-le-1ch-4bytes-early-eof.wav"] == ("partial", "truncated")
    assert found["scipy/test-8000Hz-le-3ch-5S-64bit.wav"] == ("refused", "unsupported_coding")
    assert sum(status == "ok" for status, _ in found.values()) >= 15


@pytest.mark.skipif(not (MALFORMED / "field").is_dir(), reason="no malformed files")
@pytest.mark.parametrize("name", FIELD)
def test_what_recorders_leave(name, rows):
    (row,) = (row for row in rows if row["file"] == f"field/{name}")
    columns = ("status", "reason", "frames", "frames_missing")
    assert tuple(row[column] for column in columns) == FIELD[name]
