"""A read of a recording that fails (EIO), at every read of a small ulmo-prep and ulmo-tokenize.

python -m tests.crash.reads 30
"""

import errno
import json
import shutil
import sys
from collections import Counter
from functools import partial

from tests.crash.campaign import in_memory, said, spread
from tests.crash.faults import READ, Faults
from tests.crash.jobs import ONE, PREP, main, make_bundle
from tests.pipelines.recordings import by_path, noise, write

LENGTH = 3000  # samples of each recording


def run(count):
    """Fail so many reads; what became of the recordings in all of the runs."""
    statuses, worst = Counter(), 0
    with in_memory() as folder:
        audio, out = folder / "audio", folder / "out"
        for seed, recording in enumerate(["a.wav", "b.wav", "c.wav"]):
            write(audio / recording, noise(LENGTH, seed))
        bundle = make_bundle(folder / "bundle")
        faults = Faults()
        commands = [
            ["prep", audio, out, *PREP],
            ["tokenize", audio, "--out-dir", out, "--tokenizer", bundle, *ONE],
        ]
        reads = [faults.run(partial(main, c), audio, mode=READ).calls for c in commands]
        points = [(number, at) for number, most in enumerate(reads) for at in range(1, most + 1)]
        for number, at in spread(points, count):
            shutil.rmtree(out, ignore_errors=True)
            job = commands[number]
            outcome = faults.run(partial(main, job), audio, at=at, mode=READ, error=errno.EIO)
            point = f"{job[0]}, read {at}: {said(outcome)}"
            assert outcome.status in (0, 3), point
            assert not any("Traceback" in line for line in said(outcome)), point
            rows = by_path(out)
            assert sorted(rows) == ["a.wav", "b.wav", "c.wav"], point
            bad = [row for row in rows.values() if row["status"] != "ok"]
            assert {row["reason"] for row in bad} <= {"unreadable"}, point
            read = [row for row in rows.values() if row["status"] != "refused"]
            assert {(row["frames"], row["frames_missing"]) for row in read} == {(LENGTH, 0)}, point
            assert outcome.status == (3 if bad else 0), point
            worst = max(worst, len(bad))
            statuses.update(row["status"] for row in rows.values())
    assert worst == 1, "one read is one recording's"
    return {"points": count, "of": len(points), "recordings": 3, "statuses": dict(statuses)}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]))))
