"""Keys of what is planned: what decides about the tokens of each recording."""

from collections.abc import Iterable, Iterator

from ulmo.jobs.inputs import input_file
from ulmo.pipelines.tokenize.plan import Planned
from ulmo.storage.remote_path import may_be_asked_at_once
from ulmo.storage.together import each_together


def keyed(plan: Iterable[Planned], settings: str) -> Iterator[Planned]:
    """The plan with its keys: those of the files as they are now; `settings` is their hash."""

    def with_key(planned: Planned) -> Planned:
        planned = planned._replace(settings=settings)
        return planned._replace(key=planned.key_of(input_file(planned.source)))

    return each_together(with_key, plan, lambda planned: may_be_asked_at_once(planned.source))
