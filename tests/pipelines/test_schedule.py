import pytest

from ulmo.config import TrainSettings
from ulmo.pipelines.schedule import Schedule

SETTINGS = TrainSettings(learning_rate=1e-3, final_learning_rate=1e-4)
BY_CLOCK = SETTINGS.model_copy(update={"max_minutes": 2})


@pytest.mark.parametrize(
    ("progress", "rate"), [(0, 1e-3), (0.5, 5.5e-4), (1, 1e-4), (1 / 3, 7.75e-4)]
)
def test_the_rate_falls_along_half_a_cosine(progress, rate):
    by_steps = Schedule(SETTINGS, 300).at(round(300 * progress), 1e9)
    by_clock = Schedule(BY_CLOCK, 300).at(0, 120 * progress)
    assert by_steps.learning_rate == pytest.approx(rate)
    assert by_clock.learning_rate == pytest.approx(rate)


def test_the_rate_never_rises():
    low = TrainSettings(learning_rate=1e-6, final_learning_rate=1e-3)
    found = [Schedule(low, 9).at(step, 0) for step in range(10)]
    assert [now.learning_rate for now in found] == [1e-6] * 10


@pytest.mark.parametrize(("steps", "revives"), [(0, True), (89, True), (90, False), (100, False)])
def test_codes_revive_in_the_first_nine_tenths(steps, revives):
    assert Schedule(SETTINGS, 100).at(steps, 0).revives is revives
    assert Schedule(BY_CLOCK, 100).at(0, 1.2 * steps).revives is revives


def test_whichever_ends_first_rules():
    late = Schedule(BY_CLOCK, 100).at(10, 119)
    early = Schedule(SETTINGS, 100).at(10, 119)
    assert late.learning_rate < early.learning_rate
    over = Schedule(BY_CLOCK, 100).at(200, 900)
    assert over.learning_rate == pytest.approx(1e-4)
