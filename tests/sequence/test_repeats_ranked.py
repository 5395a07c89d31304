"""Repeats ranked by latents: which of the candidates are the surest."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.sequence.test_find_repeats import equal_scores, everything, planted
from ulmo.sequence import repeats
from ulmo.sequence.classes import Likeness, ranked
from ulmo.sequence.repeats import find_repeats


def dealt_rates(rates, alike, spans, apart):
    """The rates of events, the least to the one that six events elsewhere support most."""
    usual = sorted(float(value) for row in alike for value in row)
    middle = (usual[len(usual) // 2] + usual[(len(usual) - 1) // 2]) / 2
    said = []
    for one, (first, end) in enumerate(spans):
        likes = [
            float(alike[one, other]) if begin - end >= apart or first - last >= apart else -1.0
            for other, (begin, last) in enumerate(spans)
        ]
        above = [max(like - middle, -0.5) for like in sorted(likes, reverse=True)[:6]]
        said.append(max(sum(above[:n]) / n**0.5 for n in range(1, len(above) + 1)))
    order = sorted(range(len(rates)), key=lambda one: (-said[one], rates[one]))
    dealt = dict(zip(order, sorted(rates), strict=True))
    return [dealt[one] for one in range(len(rates))]


@given(st.integers(2, 12), st.integers(0, 99))
def test_rates_are_dealt_out_by_the_likeness_of_events_elsewhere(count, seed):
    rng = np.random.default_rng(seed)
    firsts = np.sort(rng.integers(0, 300, count))
    spans = np.stack([firsts, firsts + rng.integers(1, 40, count)], axis=1)
    alike = rng.random((count, count), np.float32)
    alike = (alike + alike.T) / 2
    np.fill_diagonal(alike, 1)
    rates = rng.exponential(1, count)
    found = ranked(rates, Likeness(None, spans, 25, alike, None))
    assert found.tolist() == dealt_rates(rates.tolist(), alike, spans.tolist(), 25)


def with_latents(ids, sounds):
    """Latents (columns, 6) of noise, and of each sound (length, 6) at its places."""
    latents = np.random.default_rng(0).normal(0, 1, (len(ids), 6)).astype(np.float32)
    for place, sound in sounds:
        latents[place : place + len(sound)] += sound
    return latents


def test_latents_say_which_repeats_are_the_surest():
    """Of two sounds with the same evidence by ids, the one whose latents come back is surer."""
    places, others = (400, 1500, 2600), (800, 1900, 2300)
    ids = planted(places=(*places, *others))
    sounds = np.random.default_rng(1).normal(0, 4, (4, 20, 6)).astype(np.float32)
    pairs = [*((place, sounds[0]) for place in places), *zip(others, sounds[1:], strict=True)]
    both = {"column_s": 0.04, "false_per_hour": 100.0}
    by_ids = find_repeats(ids, everything(ids), equal_scores(2), **both)
    found = find_repeats(
        ids, everything(ids), equal_scores(2), latents=with_latents(ids, pairs), **both
    )
    assert sorted(row.false_per_hour for row in found) == sorted(
        row.false_per_hour for row in by_ids
    )
    first = [row.first for row in sorted(found, key=lambda row: row.false_per_hour)[:3]]
    assert all(min(abs(place - one) for one in first) <= 2 for place in places)


def test_what_is_asked_does_not_change_the_rates_by_latents():
    ids = planted(places=(400, 1000, 1500, 2600))
    ways = {"column_s": 0.04, "latents": with_latents(ids, [])}
    every = find_repeats(ids, everything(ids), equal_scores(2), false_per_hour=300, **ways)
    limits = sorted(row.false_per_hour for row in every)
    assert len(every) == len(set(limits)) == 4
    for count, limit in enumerate(limits, 1):
        found = find_repeats(ids, everything(ids), equal_scores(2), false_per_hour=limit, **ways)
        told = [(row.first, row.false_per_hour) for row in every if row.false_per_hour <= limit]
        assert len(told) == count
        # One sound alone is no repeat.
        expected = told if count > 1 else []
        assert [(row.first, row.false_per_hour) for row in found] == expected


def test_the_limit_holds_for_events_that_are_compared_with_the_surest_alone(monkeypatch):
    """Whether it lies below the rates of the surest, between them, or among those of the others."""
    ids = planted(places=(400, 1000, 1500, 2600))
    ways = {"column_s": 0.04, "latents": with_latents(ids, [])}
    every = find_repeats(ids, everything(ids), equal_scores(2), false_per_hour=300, **ways)
    limits = sorted(row.false_per_hour for row in every)
    monkeypatch.setattr(repeats, "_MOST", 2)
    for count, limit in enumerate(limits, 1):
        found = find_repeats(ids, everything(ids), equal_scores(2), false_per_hour=limit, **ways)
        expected = limits[:count] if count > 1 else []
        assert sorted(row.false_per_hour for row in found) == expected
        assert all(0 <= row.match < len(found) for row in found)
