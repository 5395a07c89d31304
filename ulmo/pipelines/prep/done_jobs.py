"""Which jobs of ulmo-prep are done, and by which keys their rows are found."""

from collections.abc import Iterable, Sequence

from ulmo.pipelines.prep.job import PrepJob


class DoneJobs:
    """Jobs that are done, and the keys of their rows: those of the plan, if nothing changed."""

    def __init__(self, jobs: Iterable[PrepJob] = ()) -> None:
        """`jobs` are done, and nothing changed."""
        self._indices = {job.index for job in jobs}
        self._changed: dict[int, list[str]] = {}

    def add(self, job: PrepJob, keys: Sequence[str]) -> None:
        """Note a job, and the keys of its rows."""
        self._indices.add(job.index)
        if keys != job.keys:
            self._changed[job.index] = list(keys)

    def __contains__(self, job: PrepJob) -> bool:
        return job.index in self._indices

    def __len__(self) -> int:
        return len(self._indices)

    def keys_of(self, job: PrepJob) -> list[str]:
        """The keys of the rows of a job that is done."""
        return self._changed.get(job.index, job.keys)
