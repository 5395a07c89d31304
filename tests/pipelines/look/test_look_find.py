"""Finding a selection elsewhere, decoded codes as sound, and two fingers, in a real browser."""

import numpy as np
import pytest

from tests.conftest import SAMPLES
from tests.pipelines.look.conftest import READY, Parts
from ulmo.pipelines.look.html import make_page
from ulmo.pipelines.look.likeness import STEP_BITS, likeness_values


def matches(page, start, end, low=0, high=8000):
    wanted = {"from": start, "to": end, "low": low, "high": high}
    return page.evaluate("wanted => ulmo.findLike(wanted)", wanted)


def slow_matches(ids, scores, first, count, bands):
    """(column, bits) of all stretches that do not overlap, the best first."""
    query = ids[first : first + count, bands]
    found = []
    for column in range(len(ids) - count + 1):
        other = ids[column : column + count, bands]
        bits = sum(
            float(np.rint(scores[band, a, b] / STEP_BITS)) * STEP_BITS
            for row, others in zip(query, other, strict=True)
            for band, a, b in zip(bands, row, others, strict=True)
        )
        found.append((bits, column))
    kept = [first]
    for bits, column in sorted(found, key=lambda each: (-each[0], each[1])):
        if bits > 0 and all(abs(column - other) >= count for other in kept):
            kept.append(column)
            yield column, bits / found[first][0]


def test_it_is_what_the_scores_say(page, tokenizer):
    ids, scores = tokenizer.encode(SAMPLES / "harmonic_calls.wav").ids, tokenizer.bundle.scores()
    found = matches(page, 4.4, 5.2, 700, 3700)
    expected = list(slow_matches(ids, scores.astype(np.float32), 110, 20, [1, 2]))[:10]
    assert [round(each["from"] / 0.04) for each in found] == [column for column, _ in expected]
    shares = [min(share, 1) for _, share in expected]
    assert [each["share"] for each in found] == pytest.approx(shares, abs=1e-4)
    first = expected[0][0]
    same = int((ids[first : first + 20, 1:3] == ids[110:130, 1:3]).sum())
    assert (found[0]["same"], found[0]["of"]) == (same, 40)


def test_a_call_is_found_where_it_is_made_again(page):
    """The call at 4.4 s is that at 7.0 s."""
    best = matches(page, 4.4, 5.2)[0]
    assert best["from"] == pytest.approx(7.0, abs=0.05)
    assert best["share"] > 0.7


def test_the_button_lists_matches_which_play(page):
    page.evaluate("ulmo.select({ from: 4.4, to: 5.2, low: 0, high: 8000 })")
    page.locator("#find-selection").click()
    panel = page.locator("#matches")
    assert "Most like 4.400 s to 5.200 s on this page" in panel.text_content()
    assert "most alike are listed" not in panel.text_content()
    first = panel.locator("button").first
    assert first.text_content().startswith("\u25b6 7.00 s, ")
    first.click()
    page.wait_for_function("() => ulmo.player.isPlaying && ulmo.player.time > 6.9")
    page.keyboard.press("Escape")  # stops the sound
    assert not page.evaluate("ulmo.player.isPlaying")
    assert panel.is_visible()
    assert page.locator("#selection").is_visible()
    page.keyboard.press("Escape")
    assert panel.is_hidden()
    assert page.locator("#selection").is_hidden()
    page.evaluate("ulmo.select({ from: 4.4, to: 4.44, low: 0, high: 8000 })")
    page.keyboard.press("f")
    assert "The 10 most alike are listed." in panel.text_content()
    assert panel.locator("button").count() == 10 + 1  # and one to play all
    page.evaluate("ulmo.select({ from: 1, to: 1.2, low: 9000, high: 10000 })")
    page.keyboard.press("f")
    assert "is heard by the tokenizer: select lower frequencies" in panel.text_content()


def test_a_stretch_with_left_out_time_is_no_match(opened, calls_page, tmp_path):
    """The recording as if it had been switched off for a second within the last call."""
    payload = Parts(calls_page.read_bytes()).payload
    payload["tokens"]["segments"] = [[0, 0], [180, 8.2]]
    path = tmp_path / "gap.html"
    path.write_bytes(make_page("gap", payload))
    found = matches(opened(path), 4.4, 5.2)
    assert found
    assert all(each["to"] - each["from"] < 0.81 for each in found)


def test_what_a_code_decodes_to_is_heard_in_its_band(page):
    code = page.evaluate("ulmo.given.codes.findIndex(code => code.bands[2] > 3)")
    made = "([code, band]) => [...ulmo.madeSound(ulmo.given.codes[code], band)]"
    samples = np.array(page.evaluate(made, [code, 2]))
    assert len(samples) == 0.32 * 48000
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.01)
    power = np.abs(np.fft.rfft(samples)) ** 2
    low, high = page.evaluate("ulmo.given.tokens.edges_hz.slice(2, 4)")
    hertz = np.fft.rfftfreq(len(samples), 1 / 48000)
    inside = (hertz > low - 50) & (hertz < high + 50)
    assert power[inside].sum() > 0.99 * power.sum()
    page.evaluate("ulmo.player.setSpeed(0.1)")  # as for bats: ten times as low
    slowed = page.evaluate(made, [code, 2])
    assert len(slowed) == 2 * 48000  # 3.2 s would be too long
    assert np.abs(np.fft.rfft(slowed)).argmax() / 2 < high / 9
    page.evaluate("ulmo.select({ from: 1, to: 1.2, low: 0, high: 4000 })")
    page.locator("#codes article").first.locator("button", has_text="\u25b6").last.click()
    page.keyboard.press("Escape")  # stops this sound, too
    assert page.locator("#selection").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#selection").is_hidden()


def test_two_fingers_zoom_where_they_are(browser, calls_page):
    viewport = {"width": 390, "height": 800}
    context = browser.new_context(viewport=viewport, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(calls_page.as_uri())
    page.wait_for_selector(READY)
    box = page.locator("#spectrogram").bounding_box()
    y, middle = box["y"] + 50, box["x"] + box["width"] / 2
    session = context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": x, "y": y, "id": number} for number, x in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", middle - 30, middle + 30)
    for apart in (60, 90, 120):
        touch("touchMove", middle - apart, middle + apart)
    # 8 s, where 240 pixels are instead of 60
    page.wait_for_function("() => Math.abs(ulmo.view.to - ulmo.view.from - 2) < 0.05")
    page.wait_for_function("() => Math.abs(ulmo.view.to + ulmo.view.from - 8) < 0.1")
    before = page.evaluate("ulmo.view.from")
    touch("touchMove", middle - 180, middle + 60)  # both to the left: later
    page.wait_for_function("from => ulmo.view.from > from + 0.2", arg=before)
    touch("touchEnd")
    assert not page.evaluate("ulmo.player.isPlaying")
    touch("touchStart", middle)
    touch("touchEnd")
    page.wait_for_function("() => ulmo.player.isPlaying")
    context.close()


def test_a_page_without_scores_cannot_look(opened, calls_page, tmp_path):
    payload = {**Parts(calls_page.read_bytes()).payload, "likeness": None}
    path = tmp_path / "none.html"
    path.write_bytes(make_page("none", payload))
    page = opened(path)
    page.evaluate("ulmo.select({ from: 1, to: 1.2, low: 0, high: 4000 })")
    page.keyboard.press("f")
    assert page.locator("#find-selection").is_hidden()
    assert page.locator("#matches").is_hidden()


def test_scores_that_are_too_many_are_left_out():
    ids = np.arange(3000, dtype=np.int32)[:, None]
    random = np.random.default_rng(0).normal(0, 20, (1, 3000, 3000)).astype(np.float16)
    assert likeness_values(ids[:100], random) is not None
    assert likeness_values(ids, random) is None
    assert likeness_values(ids, None) is None
