"""The page of ulmo look in a real browser: Debian's Chromium, by playwright. Nothing is online."""

import re
from threading import Thread

import numpy as np
import pytest
import soundfile

from tests.conftest import SAMPLES
from tests.pipelines.look.conftest import READY, Parts
from ulmo.jobs.spread import Spread
from ulmo.listening.listen import Wanted
from ulmo.listening.recordings import Sources
from ulmo.pipelines.look.html import make_page
from ulmo.pipelines.look.recording import LookSettings
from ulmo.pipelines.look.serve import Pages, Server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
PIXEL = """([x, y]) => {  // of the token rows, by a copy: to read a canvas makes it slow
    const copy = document.createElement("canvas").getContext("2d");
    copy.drawImage(document.getElementById("tokens"), -x, -y);
    return [...copy.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}"""


def middle_of(page, column, band):
    """The place in the window of a token in its row."""
    box = page.locator("#tokens").bounding_box()
    time = page.evaluate("c => ulmo.columnStart(c) + ulmo.given.tokens.column_s / 2", column)
    x = page.evaluate("([t, w]) => ulmo.xOf(t, w)", [time, box["width"]])
    bands = page.evaluate("ulmo.given.tokens.bands")
    return box["x"] + x, box["y"] + (bands - band - 0.5) * box["height"] / bands


def test_a_click_plays_from_that_column(page):
    x, _ = middle_of(page, 60, 2)
    page.mouse.click(x, page.locator("#spectrogram").bounding_box()["y"] + 20)
    page.wait_for_function("() => ulmo.player.isPlaying && ulmo.player.time > 60 * 0.04 + 0.02")
    assert 2.4 <= page.evaluate("ulmo.player.time") < 3.5
    assert page.locator("#play").text_content() == "Pause"
    page.locator("#play").click()
    assert not page.evaluate("ulmo.player.isPlaying")


def test_the_sound_that_is_played_is_that_of_the_column(page):
    """The first call begins at 0.5 s: before it is near silence."""
    loud = """([from, to]) => {
        const { buffer } = ulmo.player;
        const rate = buffer.sampleRate;
        const part = buffer.getChannelData(0).subarray(from * rate, to * rate);
        return Math.max(...part.map(Math.abs));
    }"""
    before, inside = (page.evaluate(loud, each) for each in ([0.1, 0.4], [0.5, 0.9]))
    assert inside > 5 * before


def test_a_token_has_the_colour_of_its_code_and_its_id_as_hover_text(page, calls_page, tokenizer):
    ids = tokenizer.encode(SAMPLES / "harmonic_calls.wav").ids
    payload = Parts(calls_page.read_bytes()).payload
    colours = {each["id"]: each["colour"] for each in payload["codes"]}
    page.evaluate("ulmo.showWindow(0.4, 1.4)")
    page.wait_for_timeout(100)
    for column, band in ((12, 0), (16, 2), (25, 3)):
        x, y = middle_of(page, column, band)
        page.mouse.move(x, y)
        assert f"code {ids[column, band]}," in page.locator("#tip").text_content()
        box = page.locator("#tokens").bounding_box()
        place = [x - box["x"] - 8, y - box["y"] - 7]  # beside the number in the cell
        pixel = page.evaluate(PIXEL, place)
        assert "#{:02x}{:02x}{:02x}".format(*pixel) == colours[ids[column, band]]


def test_a_click_on_a_token_lights_up_all_its_places(page, tokenizer):
    ids = tokenizer.encode(SAMPLES / "harmonic_calls.wav").ids
    page.mouse.click(*middle_of(page, 16, 2))
    code = int(ids[16, 2])
    assert page.evaluate("ulmo.view.lit") == code
    words = page.locator("#lit strong").text_content()
    assert words.startswith(f"code {code}: {int((ids == code).sum())} place")
    page.locator("#lit button", has_text="Clear").click()
    assert page.evaluate("ulmo.view.lit") is None


def test_the_keyboard_alone_reaches_everything(page, tokenizer):
    ids = tokenizer.encode(SAMPLES / "harmonic_calls.wav").ids
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        if page.evaluate("document.activeElement.id") == "stack":
            break
    names = {"play", "speed", "loop", "nearer", "farther", "whole", "drag", "scale", "floor"}
    assert names | {"ceiling", "show-regions", "show-repeats", "show-grid", "theme"} <= reached
    for key in ("Home", *(["ArrowRight"] * 16), "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    sync_api.expect(page.locator("#readout")).to_contain_text(f"code {ids[16, 2]},")
    page.keyboard.press("Enter")
    assert page.evaluate("ulmo.view.lit") == int(ids[16, 2])
    page.keyboard.press("[")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("]")
    assert page.locator("#from").input_value() == "0.640"
    assert page.locator("#to").input_value() == "1.040"
    page.keyboard.press("+")
    assert page.evaluate("ulmo.view.to - ulmo.view.from") < 6
    page.keyboard.press(" ")
    page.wait_for_function("() => ulmo.player.isPlaying")
    page.keyboard.press(" ")
    page.keyboard.press("Escape")
    assert page.locator("#selection").is_hidden()
    page.keyboard.press("/")
    page.keyboard.type(str(ids[16, 2]))
    page.keyboard.press("Enter")
    assert page.evaluate("ulmo.view.lit") == int(ids[16, 2])
    assert page.locator("#codes article").first.get_attribute("id") == f"code-{ids[16, 2]}"


def test_keys_act_on_a_fresh_page_and_after_a_button(page):
    page.keyboard.press("+")
    assert page.evaluate("ulmo.view.to - ulmo.view.from") < 6
    page.keyboard.press("0")
    page.locator("#nearer").click()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("ulmo.player.time") == pytest.approx(0.04)
    before = page.evaluate("ulmo.view.to - ulmo.view.from")
    page.keyboard.press(" ")  # presses the button alone
    page.wait_for_function("length => ulmo.view.to - ulmo.view.from < length", arg=before)
    assert not page.evaluate("ulmo.player.isPlaying")
    page.locator("#search").focus()
    page.keyboard.press("+")
    page.locator("#floor").focus()
    page.keyboard.press("End")
    assert page.evaluate("ulmo.player.time") == pytest.approx(0.04)
    page.locator("#floor").blur()
    page.evaluate("ulmo.player.playAll([[1, 3], [4, 6]])")
    page.wait_for_function("() => ulmo.player.isPlaying")
    page.keyboard.press("Escape")
    assert not page.evaluate("ulmo.player.isPlaying")


def test_a_code_that_is_not_here_is_said_and_the_exact_number_is_first(page):
    used = page.evaluate("ulmo.given.codes.map(code => code.id)")
    exact = max(used, key=lambda code: sum(str(each).startswith(str(code)) for each in used))
    search, said = page.locator("#search"), page.locator("#codes-count")
    search.fill(f"0{exact}")
    assert page.locator("#codes article").first.get_attribute("id") == f"code-{exact}"
    last = page.evaluate("ulmo.given.tokens.unk") - 1
    search.fill(str(last + 1))
    assert said.text_content().startswith(f"codes end at {last};")
    other = next(code for code in range(last) if code not in used)
    search.fill(str(other))
    assert said.text_content().startswith(f"code {other} is not used here;")


def test_no_frequency_is_above_half_the_rate_of_the_recording(opened, write_page, tmp_path):
    recording = tmp_path / "low.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * 8000)
    soundfile.write(recording, noise, 8000)
    page = opened(write_page(recording, tmp_path / "low.html", impulses=False).page)
    words = " ".join(page.locator("#codes article p").all_text_contents())
    hertz = [float(each) for each in re.findall(r"to ([\d.]+) kHz", words)]
    assert hertz
    assert max(hertz) == 4.0
    times = page.locator("#codes article").first.locator(".pictures button").all_text_contents()
    assert len(set(times)) == len(times)


def test_what_is_in_no_class_has_a_lane_and_its_match_in_words(opened, calls_page, tmp_path):
    payload = Parts(calls_page.read_bytes()).payload
    box, match = [1.0, 1.4, 100.0, 2000.0], [6.8, 7.2, 100.0, 2000.0]
    given = {"number": None, "kind": "sound", "medoid": 0, "period": None, "period_n": None}
    given |= {"intervals": [], "boxes": [box], "bits": [60.0], "false_per_hour": [0.025]}
    known = {**given, "number": 1, "boxes": [box, match], "bits": [60.0, 50.0]}
    known |= {"intervals": [5.8], "false_per_hour": [0.025, 900.0], "matches": [match, box]}
    train = {**known, "number": 2, "kind": "impulses", "intervals": [0.006, 0.006]}
    train |= {"period": [0.006, 0.0001], "false_per_hour": [None, None], "matches": [None, None]}
    payload["classes"] = [known, train, {**given, "matches": [match]}]
    path = tmp_path / "alone.html"
    path.write_bytes(make_page("alone", payload))
    page = opened(path)
    assert page.locator("#lanes-name button").all_text_contents()[-1] == "in no class \u00d71"
    first, second, third = (page.locator("#repeats article").nth(each) for each in range(3))
    assert "once more, 5.80 s later" in first.text_content()
    assert "about one such in 40 hours by chance" in first.text_content()
    assert first.locator("canvas").count() == 1  # one interval needs no bars
    assert "167 a second" in second.text_content()
    assert "at most about one such train in an hour" in second.text_content()
    lanes = page.locator("#lanes").bounding_box()
    x, y = lanes["x"] + lanes["width"] * 1.2 / 8, lanes["y"] + 2.5 * lanes["height"] / 3
    page.mouse.move(x, y)
    assert "most like 6.80 s" in page.locator("#tip").text_content()
    page.mouse.click(x, y)
    page.wait_for_function("() => ulmo.player.isPlaying")
    page.keyboard.press("Escape")
    third.locator("button", has_text="6.80 s").click()
    page.wait_for_function("() => ulmo.player.isPlaying && ulmo.player.time > 6")


def test_times_have_the_decimals_that_tell_columns_apart(opened, calls_page, tmp_path):
    """As if a column took 4 ms, as of bats."""
    payload = Parts(calls_page.read_bytes()).payload
    payload["tokens"]["column_s"] = 0.004
    peak = payload["surprise"]["peaks"][0]
    payload["surprise"]["peaks"] = [{**peak, "column": column} for column in (100, 101)]
    payload["classes"] = [
        {
            **{"number": None, "kind": "sound", "medoid": 0, "period": None, "period_n": None},
            **{"intervals": [], "bits": [60.0, 50.0], "false_per_hour": [0.025, 0.025]},
            "boxes": [[0.5, 0.508, 1000.0, 2000.0], [0.6, 0.608, 1000.0, 2000.0]],
            "matches": [[0.512, 0.52, 1000.0, 2000.0], None],
        }
    ]
    path = tmp_path / "fast.html"
    path.write_bytes(make_page("fast", payload))
    page = opened(path)
    assert page.locator("#peaks button").all_text_contents() == ["0.400 s", "0.404 s"]
    words = page.locator("#repeats article p.group").all_text_contents()
    assert words[0].startswith("\u25b6 0.500 smost like \u25b6 0.512 s (about one such")
    assert words[1].startswith("\u25b6 0.600 sits parts are alike (about one such")


def test_wheel_zooms_at_the_pointer_and_drag_selects(page):
    box = page.locator("#spectrogram").bounding_box()
    x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    page.wait_for_function("() => ulmo.view.to - ulmo.view.from < 4")
    view = page.evaluate("[ulmo.view.from, ulmo.view.to]")
    assert view[0] + (view[1] - view[0]) / 4 == pytest.approx(2.0, abs=0.05)
    page.mouse.down()
    page.mouse.move(x + 200, y + 60, steps=4)
    page.mouse.up()
    assert page.locator("#selection").is_visible()
    assert float(page.locator("#from").input_value()) == pytest.approx(2.0, abs=0.05)
    assert not page.evaluate("ulmo.player.isPlaying")


def test_a_flat_drag_selects_all_frequencies(page, tmp_path):
    box = page.locator("#spectrogram").bounding_box()
    x, y = box["x"] + box["width"] * 4.4 / 8, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] * 0.8 / 8, y + 1, steps=4)
    page.mouse.up()
    frequencies = page.locator("#low"), page.locator("#high")
    assert [each.input_value() for each in frequencies] == ["0", "8000"]
    page.keyboard.press("f")
    assert "Most like" in page.locator("#matches").text_content()
    for each in frequencies:  # the same by numbers
        each.fill("500")
    frequencies[1].blur()
    with page.expect_download() as download:
        page.locator("[data-save=csv]").click()
    download.value.save_as(tmp_path / "saved")
    assert b",0.0,8000.0," in (tmp_path / "saved").read_bytes()


def test_what_is_unusual_is_played_by_a_click_and_by_keys(page):
    peaks = page.evaluate("ulmo.surprise.peaks")
    first, second = (each["start"] for each in peaks[:2])
    playing = "start => ulmo.player.isPlaying && Math.abs(ulmo.player.time - start) < 0.33"
    box = page.locator("#surprise").bounding_box()
    x = page.evaluate("([t, w]) => ulmo.xOf(t, w)", [first + 0.02, box["width"]])
    page.mouse.move(box["x"] + x, box["y"] + 40)
    tip = page.locator("#tip").text_content()
    assert f"unusual here: {peaks[0]['above']:.0f} bits above" in tip
    assert "anomaly" not in page.locator("body").text_content()
    page.mouse.click(box["x"] + x, box["y"] + 40)
    page.wait_for_function(playing, arg=first)
    page.locator("#stack").focus()
    page.keyboard.press("u")
    page.wait_for_function(playing, arg=second)
    page.keyboard.press("Shift+U")
    page.wait_for_function(playing, arg=first)
    button = page.locator("#peaks button").nth(1)
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(playing, arg=second)
    page.keyboard.press("Escape")
    sync_api.expect(page.locator("#surprise-name")).to_contain_text("bits a column")


def test_the_curve_of_surprise_is_as_high_as_its_bits(page):
    """A column of pixels above the highest column is empty; within it, it is filled."""
    bits = page.evaluate("[...ulmo.surprise.bits]")
    column = max(range(len(bits)), key=bits.__getitem__)
    box = page.locator("#surprise").bounding_box()
    top = page.evaluate("3 * ulmo.surprise.step")
    page.evaluate("t => ulmo.showWindow(t - 0.5, t + 0.5)", column * 0.04)
    page.wait_for_timeout(100)
    x = page.evaluate("([t, w]) => ulmo.xOf(t, w)", [column * 0.04 + 0.005, box["width"]])
    edge = box["height"] * (1 - bits[column] / top)
    pixel = PIXEL.replace("tokens", "surprise")
    inside, above = (page.evaluate(pixel, [x, edge + each]) for each in (3, -3))
    assert inside != above
    other = min(range(column - 10, column), key=lambda each: bits[each])
    x = page.evaluate("([t, w]) => ulmo.xOf(t, w)", [other * 0.04 + 0.005, box["width"]])
    assert page.evaluate(pixel, [x, edge + 3]) == above


SAVED = [  # what is saved, how the name of its file ends, and how the file begins
    ("csv", ".csv", b"recording,channel,start_s,end_s,low_hz,high_hz,start_utc\r\n"),
    ("raven", ".selections.txt", b"Selection\tView\tChannel\tBegin Time (s)"),
    ("audacity", ".labels.txt", b"1.000000\t1.500000\tharmonic_calls.wav\n\\\t200.0"),
    ("wav", ".wav", b"RIFF"),
]


def test_a_selection_is_saved(page, tmp_path):
    page.evaluate("ulmo.select({ from: 1, to: 1.5, low: 200, high: 4000 })")
    for kind, ending, begin in SAVED:
        with page.expect_download() as download:
            page.locator(f"[data-save={kind}]").click()
        assert download.value.suggested_filename == f"harmonic_calls_1.00-1.50s{ending}"
        download.value.save_as(tmp_path / kind)
        content = (tmp_path / kind).read_bytes()
        assert content.startswith(begin)
        if kind == "csv":
            assert b"harmonic_calls.wav,,1.000000,1.500000,200.0,4000.0," in content


def test_a_selection_is_played_in_a_loop(page):
    page.evaluate("ulmo.select({ from: 1, to: 1.2, low: 0, high: 4000 })")
    page.locator("#loop").check()
    page.locator("#play-selection").click()
    page.wait_for_timeout(500)
    assert page.evaluate("ulmo.player.isPlaying")
    assert 1 <= page.evaluate("ulmo.player.time") <= 1.2


def test_slow_speeds_are_true_time_expansion(opened, write_page, tmp_path):
    recording = SAMPLES / "ultrasound" / "bat_pass.wav"
    page = opened(write_page(recording, tmp_path / "bat.html", time_expansion=10).page)
    lines = page.locator("#lines").text_content()
    assert re.search(r"reaches to \d+ kHz.*1/10", lines)
    assert page.evaluate("ulmo.player.speed") == 0.1 or page.evaluate("ulmo.given.sound.slowed") < 5
    page.locator("#speed").select_option("0.05")
    page.locator("#stack").focus()
    page.keyboard.press(" ")
    page.wait_for_timeout(400)
    assert 0 < page.evaluate("ulmo.player.time") < 0.05
    seconds = page.evaluate("ulmo.given.recording.seconds * ulmo.given.sound.slowed")
    assert page.evaluate("ulmo.player.buffer.duration") == pytest.approx(seconds, abs=0.05)


def test_a_name_with_html_is_inert(opened, write_page, tmp_path):
    recording = tmp_path / "<img src=x onerror=document.title=1>.wav"
    recording.write_bytes((SAMPLES / "harmonic_calls.wav").read_bytes())
    plain = {"impulses": False, "surprise": False}
    page = opened(write_page(recording, tmp_path / "evil.html", **plain).page)
    assert page.locator("#name").text_content() == recording.name
    assert page.locator("img").count() == 0
    assert page.title() == f"{recording.name} - ulmo look"


def test_served_pages_ask_this_computer_alone(browser, tokenizer):
    sources = Sources.of(tokenizer, [SAMPLES / "harmonic_calls.wav"], Wanted(), spread=Spread(1))
    requests, complaints = [], []
    with Server(Pages(sources, LookSettings(impulses=False))) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        page = browser.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(server.address)
        page.locator("ol a").click()
        page.wait_for_selector(READY)
        page.locator("#links a", has_text="All recordings").click()
        page.wait_for_selector("ol a")
        page.close()
        server.shutdown()
    assert complaints == []
    assert all(url.startswith(server.address) for url in requests)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1240, "light")])
def test_all_people_can_use_it(browser, calls_page, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    viewport = {"width": width, "height": 800}
    # axe is a script of its own, which the page's policy would not let in.
    context = browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(calls_page.as_uri())
    page.wait_for_selector(READY)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.evaluate("ulmo.select({ from: 1, to: 1.5, low: 200, high: 4000 })")
    page.locator("#find-selection").click()
    page.evaluate("ulmo.light(ulmo.given.codes[0].id)")
    found = axe.Axe().run(page)
    assert [each["id"] for each in found.response["violations"]] == []
    context.close()
