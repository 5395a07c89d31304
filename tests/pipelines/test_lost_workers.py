"""A recording that ends its worker each time gets a row, and the job goes on."""

import pytest

from tests.bounded import in_make_crash
from tests.pipelines import dying
from tests.pipelines.recordings import TINY, contents, rows_of
from tests.pipelines.tokenizing import tokenize
from ulmo.jobs.progress import TRIES
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep import output as prep_output
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.tokenize import tokenize as tokenize_module

LOST = [("c.wav", "refused", "worker_lost")]
DETAIL = (
    f"each of {TRIES} workers that read it was lost, perhaps for want of memory: run the same "
    "again with fewer workers"
)


def bad_rows(out):
    rows = rows_of(out)
    assert [row["detail"] for row in rows if row["reason"]] == [DETAIL]
    return [(row["path"], row["status"], row["reason"]) for row in rows if row["reason"]]


@in_make_crash
def test_tokens(tokenizer, audio, tmp_path):
    pytest.importorskip("distributed", reason="needs ulmo[dask]")
    tokenize(tokenizer, audio, out=tmp_path / "fresh")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenize_module, "tokenize_recording", dying.tokenize_recording)
        tokenize(tokenizer, audio, out=tmp_path / "out", workers=2, dask="local")
    assert bad_rows(tmp_path / "out") == LOST
    tokenize(tokenizer, audio, out=tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_tiles(audio, tmp_path):
    prepare(audio, tmp_path / "fresh", TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prep_output, "run_jobs", dying.run_jobs)
        summary = prepare(audio, tmp_path / "out", TINY, spread=Spread(2))
    assert [name for name, *_ in summary.refused] == ["c.wav"]
    assert bad_rows(tmp_path / "out") == LOST
    prepare(audio, tmp_path / "out", TINY)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
