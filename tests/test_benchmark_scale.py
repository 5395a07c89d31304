"""The simulation of many workers, where its result is known without it."""

import argparse
import heapq
import math

import pytest

from benchmarks import fleet as simulation
from benchmarks import scale
from benchmarks.fleet import Fleet, Measured, extended, most_workers, simulate
from ulmo.jobs.progress import TRIES

FREE = Measured(jobs=(2.0,), start=5.0, driver=0.0, scheduler=0.0, read=0.0, written=0.0)


def fleet_of(workers, **changes):
    """Workers that are all alike, and stay."""
    alike = Fleet(workers, slow_share=0.0, hours_between_losses=math.inf, storage=math.inf)
    return alike._replace(**changes)


def test_one_worker_takes_the_sum_of_its_jobs():
    found = simulate(FREE, fleet_of(1), 1000)
    assert found.seconds == pytest.approx(5 + 1000 * 2)
    assert found.again == found.refused == 0
    assert found.shares["workers"] == pytest.approx(2000 / 2005)


def test_one_worker_hides_the_driver_while_jobs_are_in_flight():
    """Only the first job is waited for: the driver sends the others while the worker computes."""
    measured = FREE._replace(start=0.0, driver=0.25, scheduler=0.25)
    assert simulate(measured, fleet_of(1), 100).seconds == pytest.approx(0.5 + 100 * 2)


@pytest.mark.parametrize("workers", [3, 10])
def test_equal_jobs_go_round_by_round(workers):
    rounds = -(-100 // workers)
    assert simulate(FREE, fleet_of(workers), 100).seconds == pytest.approx(5 + rounds * 2)


def test_unequal_jobs_go_to_whoever_is_free():
    """As a list of moments at which workers become free, with the same times drawn."""
    jobs = (1.0, 2.0, 3.5, 9.0)
    found = simulate(FREE._replace(jobs=jobs), fleet_of(7, slow_share=2 / 7), 500, seed=3)
    rng = simulation.np.random.default_rng(3)
    rng.exponential(1.0, 7)
    times = rng.choice(simulation.np.asarray(jobs), simulation._DRAWN).tolist()
    free = [(5.0, worker) for worker in range(7)]
    for _ in range(500):
        moment, worker = heapq.heappop(free)
        heapq.heappush(free, (moment + times.pop() * (2 if worker < 2 else 1), worker))
    assert found.seconds == pytest.approx(max(free)[0])


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"driver": 0.1}, "driver"),
        ({"scheduler": 0.1}, "scheduler"),
        ({"read": 8e7, "written": 2e7}, "storage"),
    ],
)
def test_the_slowest_part_sets_the_pace(changes, part):
    """With 100 workers for jobs of 2 s, 0.1 s for each recording are five times too many."""
    measured = FREE._replace(**changes)
    fleet = fleet_of(100, storage=1e9)
    found = simulate(measured, fleet, 2000)
    assert found.seconds == pytest.approx(2000 * 0.1, rel=0.05)
    assert found.fullest == part
    assert found.shares[part] > 0.95
    assert most_workers(measured, fleet)[part] == pytest.approx(20)
    few = simulate(measured, fleet_of(10, storage=1e9), 2000)
    assert few.shares["workers"] > 0.95


def test_slow_workers_do_fewer_jobs():
    fleet = fleet_of(10, slow_share=0.2, slow_factor=2.0)
    seconds = simulate(FREE._replace(start=0.0), fleet, 9000).seconds
    assert seconds == pytest.approx(9000 * 2 / 9, rel=0.01)  # two at half speed are one
    measured = FREE._replace(driver=0.1)
    assert most_workers(measured, fleet)["driver"] == pytest.approx(20 / 0.9)


def test_jobs_of_lost_workers_are_done_again():
    """Each worker works 360 s on average, and is away 90 s: a fifth of the time is lost."""
    fleet = fleet_of(10, hours_between_losses=0.1, away=90.0)
    found = simulate(FREE._replace(start=0.0), fleet, 20_000, seed=1)
    work = 20_000 * 2 / 10
    assert found.again == pytest.approx(work / 360 * 10, rel=0.2)
    assert found.seconds == pytest.approx(work / 0.8, rel=0.1)
    assert found.refused == 0
    assert found == simulate(FREE._replace(start=0.0), fleet, 20_000, seed=1)


def test_a_recording_that_no_worker_survives_is_refused():
    fleet = fleet_of(2, hours_between_losses=1e-9, away=1.0)
    found = simulate(FREE, fleet, 5)
    assert (found.refused, found.again) == (5, 5 * TRIES)


def test_the_last_job_waits_for_no_worker_that_is_gone():
    """It is lost when nothing is left to be sent, and one that is idle does it."""
    fleet = fleet_of(2, hours_between_losses=0.001, away=1.0)
    found = [simulate(FREE, fleet, 2, seed=seed) for seed in range(50)]
    assert max(each.again for each in found) > 0


def test_a_longer_run_goes_on_as_it_was(monkeypatch):
    monkeypatch.setattr(simulation, "MOST", 600)
    monkeypatch.setattr(simulation, "SAMPLE", 600)
    measured = FREE._replace(driver=0.01)
    longer, whole = (f(measured, fleet_of(6), 6000) for f in (extended, simulate))
    assert longer.seconds == pytest.approx(whole.seconds)
    for name, share in whole.shares.items():
        assert longer.shares[name] == pytest.approx(share, rel=0.01)


def test_the_plan_has_a_line_for_each_command_and_length(monkeypatch):
    monkeypatch.setattr(simulation, "MOST", 200)
    monkeypatch.setattr(simulation, "SAMPLE", 200)
    measured = {(name, n): FREE for name in ("tokenize", "prep") for n in scale.LENGTHS}
    prices = argparse.Namespace(core_hour=0.5, gb_month=0.02, faster_storage=1e10)
    text = scale.plan(measured, fleet_of(1), prices)
    assert text.count("| `prep` | 10 min |") == text.count("| `tokenize` | 1 min |") == 6
    hours = 1000 * scale.YEAR / 60 * 2 / 3600
    assert f"| `prep` | 1 min | ${hours * 0.5:,.0f} |" in text


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (scale.span, 89, "89 s"),
        (scale.span, 7200, "2 h"),
        (scale.span, 5 * scale.YEAR, "5 years"),
        (scale.size, 1.92e6, "1.92 MB"),
        (scale.size, 12, "12 bytes"),
        (scale.money, 0.256, "$0.26"),
        (scale.money, 12345.6, "$12,346"),
    ],
)
def test_figures_have_the_unit_that_fits(write, value, text):
    assert write(value) == text
