"""ulmo verify --audio: recordings read to their ends, by the reader of prep and tokenize."""

import json

import pyarrow.parquet as pq
import pytest

from tests.commands import TINY, assert_refused, run
from tests.oracles import wav_bytes
from ulmo.cli import exits
from ulmo.cli.main import ulmo
from ulmo.cli.prep import prep as prep_command
from ulmo.jobs.spread import Spread
from ulmo.pipelines.verify.recordings import verify_recordings


@pytest.mark.parametrize("workers", [1, 2])
def test_it_says_what_prep_would(workers, troubled, tmp_path):
    """Each recording that is not whole, and all frames that are missing."""
    run(prep_command, troubled, tmp_path / "tiles", *TINY, "--workers", 1)
    rows = pq.read_table(tmp_path / "tiles" / "recordings.parquet").to_pylist()
    found = verify_recordings(troubled, spread=Spread(workers))
    wrong = {row["path"]: row for row in rows if row["status"] in ("partial", "refused")}
    assert {fault.path: fault.what for fault in found.faults} == {
        path: row["status"] for path, row in wrong.items()
    }
    for fault in found.faults:
        assert fault.detail.startswith(f"{wrong[fault.path]['reason']} (")
    assert found.counts["recordings"] == len(rows) == 7
    assert (found.counts["ok"], found.counts["repaired"]) == (3, 1)
    for name in ("read", "missing"):
        column = "frames" if name == "read" else "frames_missing"
        assert found.counts[f"frames {name}"] == sum(row[column] for row in rows)


def test_as_a_user_meets_it(troubled, tmp_path):
    (troubled / "x.wac").touch()
    before = {path: path.read_bytes() for path in troubled.rglob("*") if path.is_file()}
    result = run(ulmo, "verify", "--audio", troubled)
    assert result.exit_code == exits.SOME_REFUSED
    assert "7 recordings, 3 ok, 1 partial, 2 refused, 1 repaired, " in result.stdout
    assert ", 1 .wac left out" in result.stdout
    assert (
        "  partial     cut.wav: truncated (the file ends 80011 frames before its header says); "
        "79,989 frames read, 80,011 missing"
    ) in result.stdout.splitlines()
    assert "  to do       copy it again if there is a better copy; " in result.stdout
    values = json.loads(run(ulmo, "verify", troubled, "--audio", "--json").stdout)
    assert (values["kind"], len(values["faults"])) == ("recordings", 3)
    whole = run(ulmo, "verify", "--audio", troubled / "zero.wav")
    assert (whole.exit_code, "all is well" in whole.stdout) == (0, True)
    assert run(ulmo, "verify", "--audio", troubled / "zero.wav", "--quiet").output == ""
    assert before == {path: path.read_bytes() for path in troubled.rglob("*") if path.is_file()}


def test_what_is_no_recording(tmp_path):
    assert_refused(run(ulmo, "verify", "--audio", tmp_path), "no recordings below")
    assert_refused(run(ulmo, "verify", "--audio", tmp_path / "no"), "neither a file nor a folder")
    both = run(ulmo, "verify", "--audio", "--repair", tmp_path)
    assert_refused(both, "--repair never changes recordings: leave it out")


def test_a_recording_that_nothing_triggered_is_no_fault(tmp_path):
    (tmp_path / "20230101_120000T.WAV").write_bytes(wav_bytes(b"", sample_rate=8000, bits=16))
    result = run(ulmo, "verify", "--audio", tmp_path)
    assert (result.exit_code, "1 recording, 1 ok, 0 frames read" in result.stdout) == (0, True)
