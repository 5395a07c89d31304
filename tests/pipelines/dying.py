"""Jobs in which one recording, `c.wav`, ends its worker each time, as one that takes all memory."""

import os
import signal
from pathlib import Path
from unittest.mock import patch

from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.tokenize import job as tokenize_job
from ulmo.preprocessing.reading.audio import open_recording


def deadly(path, **how):
    if Path(path).name == "c.wav":
        os.kill(os.getpid(), signal.SIGKILL)
    return open_recording(path, **how)


def run_jobs(jobs):
    with patch.object(prep_job, "open_recording", deadly):
        return prep_job.run_jobs(jobs)


def tokenize_recording(*job):
    with patch.object(tokenize_job, "open_recording", deadly):
        return tokenize_job.tokenize_recording(*job)


def always_deadly(*job):
    """The same in a worker that does several recordings at a time: nothing is put back."""
    tokenize_job.open_recording = deadly
    return tokenize_job.tokenize_recording(*job)
