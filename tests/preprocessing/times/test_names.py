import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ulmo.preprocessing.times.names import NAME_PATTERNS, read_name, unread_names
from ulmo.preprocessing.times.timestamps import find_time, parse_pattern
from ulmo.preprocessing.times.zones import ZONE_HOURS, parse_zone

PAGE = Path(__file__).parents[3] / "docs" / "clock.md"
EAST = timezone(timedelta(hours=10))
NOON = datetime(2023, 1, 1, 12)
FOREIGN = {
    "OO-HYEA2--YDH-2019-07-04T00:00:15.000015.flac": datetime(2019, 7, 4, 0, 0, 15, 15),
    "20231124_161500.WAV": datetime(2023, 11, 24, 16, 15),
    "24F319016080B3C7_20231124_161500T.WAV": datetime(2023, 11, 24, 16, 15),
    "5E8A1B2C.WAV": datetime.fromtimestamp(0x5E8A1B2C, UTC).replace(tzinfo=None),
    "2023-01-01T12:00:00.250+10:00.wav": NOON + timedelta(milliseconds=250),
}
OFFSETS = {"+1000": 10, "+10:00": 10, "-0400": -4, "Z": 0}


def time_in(name, zone=UTC):
    return read_name(name, zone).utc


@pytest.mark.parametrize(
    ("pattern", "name"), [(p, name) for p in NAME_PATTERNS for name in p.examples]
)
def test_examples(pattern, name):
    """In a zone of ten hours east, unless the name or the recorder says otherwise."""
    local = FOREIGN.get(name, NOON)
    named = [hours for text, hours in OFFSETS.items() if re.search(re.escape(text) + r"[_.]", name)]
    hours = named[0] if named else 0 if pattern.utc else 10
    assert time_in(name, EAST) == local.replace(tzinfo=UTC) - timedelta(hours=hours)


def test_every_example_is_its_own_patterns():
    """A row that another one shadows would be dead."""
    for row in NAME_PATTERNS:
        regex = re.compile(row.regex)
        earlier = NAME_PATTERNS[: NAME_PATTERNS.index(row)]
        for name in row.examples:
            stem = name.rpartition(".")[0]
            assert regex.search(stem)
            assert not any(re.search(other.regex, stem) for other in earlier)


def test_the_page_has_every_pattern():
    table, rest = PAGE.read_text(encoding="utf-8").split("## Names", 1)[1].split("Examples:", 1)
    rows = re.findall(r"^\| `(.+)` \| (.+) \|$", table, re.MULTILINE)
    assert rows == [(row.name, row.recorder) for row in NAME_PATTERNS]
    block = re.match(r"\n\n((?: {4}.*\n)+)", rest)[1]
    expected = [f"{row.name} {' '.join(row.examples)}" for row in NAME_PATTERNS]
    assert block.split() == " ".join(expected).split()


def test_the_page_has_every_name_of_a_zone():
    page = PAGE.read_text(encoding="utf-8")
    assert not [name for name in ZONE_HOURS if not re.search(rf"\b{name}\b", page) and name != "UT"]


NO_TIMES = (
    *("20231324_161500.WAV", "20230229_120000.wav"),  # month 13; no leap year
    *("20230101_240001.wav", "20230101_126000.wav", "19891231_120000.wav", "21010101_120000.wav"),
    *("120230101_120000.wav", "20230101_1200001.wav", "20230101_1200.wav", "20230101.wav"),
    *("2023-01-01.wav", "2023-01-01_12-00_00.wav", "LOCA_2021_09_24_652_3.flac"),
    *("12.230101120000.wav", "5678.2301011200001.wav", "5678.231301120000.wav"),
    "202301011200001.wav",
    *("5e8a1b2c.wav", "58684680.WAV"),  # AudioMoth writes capitals; digits alone may be a number
    "ABCDEF12.WAV",  # 2061
    *("00000ABC.WAV", "5E8A1B2C5E8A1B2C.WAV", "x5E8A1B2C.WAV", "5E8A1B2C_2.WAV"),
    *("198-209-0000.hq.ogg", "456440__inspectorj__bird-whistling-robin-single-13.hq.ogg"),
    *("86f5923d-ef1d-4159-b120-a8dec3f6334e.wav", "ZOOM0001.WAV", "", "\udcff.wav"),
    "٢٠٢٣٠١٠١_١٢٠٠٠٠.wav",
)


@pytest.mark.parametrize("name", NO_TIMES)
def test_names_that_tell_no_time(name):
    assert time_in(name, UTC) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x_20231301_120000_20230101_120000.wav", NOON),  # the first does not exist
        ("20230101T120000_ch1_p2.wav", NOON),
        ("20230101T120000.123456789Z.wav", NOON.replace(microsecond=123456)),
        ("S20230101T120000.5+0000_E20230101T130000.5+0000.wav", NOON.replace(microsecond=500000)),
        ("2023-01-01T12:00:00-03:30.wav", NOON + timedelta(hours=3, minutes=30)),
        ("FNQ-RBS_20230101_120000_010.wav", NOON.replace(microsecond=10000)),
        ("x_20230101_120000_0101.wav", NOON),
        ("20230101-120000Z.mp3", NOON),
        ("20230101_120000.5AFCD4F4.WAV", NOON),
        ("20230101_120000 [27.2819 90.1361].wav", NOON),
        ("OWL_123456_2023-01-01_T12-00-00.WAV", NOON),
        ("5B07C752.flac", datetime(2018, 5, 25, 8, 20, 34)),
    ],
)
def test_names_as_they_are_met(name, expected):
    assert time_in(name, UTC) == expected.replace(tzinfo=UTC)


# What follows a time. Sources: opensoundscape#457 (zones), Vesper#215 (_Z) and #216, the list of
# QUT Ecoacoustics (docs/basics/dates.md in audio-analysis), macOS and Windows (AM and PM), PAMGuard
# and Song Meter (milliseconds), Triton (.x and .d100.x), EMU (several files of one day).
WHOLE = {
    "20230101_120000Z.wav": NOON,
    "20230101_120000z.wav": NOON,
    "Queens_20230101_120000_Z.WAV": NOON,
    "20230101_120000UTC.wav": NOON,
    "20230101_120000_utc.wav": NOON,
    "20230101_120000_GMT.wav": NOON,
    "20230101_120000_EST.wav": datetime(2023, 1, 1, 17),
    "20230101_120000EST_site.wav": datetime(2023, 1, 1, 17),
    "20230101_120000 (EDT).wav": datetime(2023, 1, 1, 16),
    "20230101_120000-MST.wav": datetime(2023, 1, 1, 19),
    "20230101-120000_PDT.wav": datetime(2023, 1, 1, 19),
    "20230101_120000.AKST.wav": datetime(2023, 1, 1, 21),
    "20230101_120000_HST.wav": datetime(2023, 1, 1, 22),
    "20230101_120000_CET.wav": datetime(2023, 1, 1, 11),
    "20230101_120000_CEST.wav": datetime(2023, 1, 1, 10),
    "20230101_120000_AEST.wav": datetime(2023, 1, 1, 2),
    "20230101_120000_AEDT.wav": datetime(2023, 1, 1, 1),
    "20230101_120000_ACST.wav": datetime(2023, 1, 1, 2, 30),
    "20230101_120000_AWST.wav": datetime(2023, 1, 1, 4),
    "20230101_120000_NZDT.wav": datetime(2022, 12, 31, 23),
    "20230101_120000_JST.wav": datetime(2023, 1, 1, 3),
    "20230101_120000UTC-5.wav": datetime(2023, 1, 1, 17),
    "20230101_120000_UTC-05.wav": datetime(2023, 1, 1, 17),
    "20230101_120000 UTC+05:30.wav": datetime(2023, 1, 1, 6, 30),
    "20230101_120000(UTC+7).wav": datetime(2023, 1, 1, 5),
    "20230101_120000GMT+1.wav": datetime(2023, 1, 1, 11),
    "20230101_120000+10.wav": datetime(2023, 1, 1, 2),
    "20230101_120000+1000.wav": datetime(2023, 1, 1, 2),
    "20230101_120000+0545_x.wav": datetime(2023, 1, 1, 6, 15),
    "20230101_120000-05:00.wav": datetime(2023, 1, 1, 17),
    "20230101_120000\u221205:00.wav": datetime(2023, 1, 1, 17),  # a true minus sign
    "20230101_120000_-0400.wav": datetime(2023, 1, 1, 16),  # Swift
    "2023-01-01 12-00-00 -0400.wav": datetime(2023, 1, 1, 16),
    "20230101T120000-0400.wav": datetime(2023, 1, 1, 16),
    "2023-01-01T12:00:00-04:00_x.wav": datetime(2023, 1, 1, 16),
    "20230101T1200-0400.wav": datetime(2023, 1, 1, 16),
    "Recording 2023-01-01 09.15.00 PM.wav": datetime(2023, 1, 1, 21, 15),
    "Recording 2023-01-01 at 9.15.00\u202fPM.wav": datetime(2023, 1, 1, 21, 15),
    "2023-01-01_12-00-00_am.wav": datetime(2023, 1, 1),
    "2023-01-01_12-00-00pm_x.wav": NOON,
    "2023-01-01 12.00.00 p.m. (1).wav": NOON,
    "20230101_111500AM.wav": datetime(2023, 1, 1, 11, 15),
    "2023-01-01 09.15.00 PM EST.wav": datetime(2023, 1, 2, 2, 15),
    "20230101_120000.123.wav": NOON.replace(microsecond=123000),
    "20230101_120000,5.wav": NOON.replace(microsecond=500000),
    "20230101_120000_123.wav": NOON.replace(microsecond=123000),
    "20230101_120000_123456.wav": NOON.replace(microsecond=123456),
    "LI192_20230101_120000.1234567.wav": NOON.replace(microsecond=123456),
    "20230101_120000.250_EST.wav": datetime(2023, 1, 1, 17, 0, 0, 250000),
    "20230101T120000347-MicWaveIn.flac": NOON.replace(microsecond=347000),
    "2023_01_01_12_00_00_123456-0500.wav": datetime(2023, 1, 1, 17, 0, 0, 123456),  # OSEkit
    "20230101_120000T_site.WAV": NOON,
    "20230101_120000_REC.wav": NOON,
    "20230101_120000_TEST.wav": NOON,
    "20230101_120000_S4A01234.wav": NOON,
    "20230101_120000_050m.wav": NOON,
    "20230101_120000_0001.wav": NOON,
    "20230101_120000 (1).wav": NOON,
    "20230101_120000 - copy.wav": NOON,
    "20230101_120000-20230101_130000.wav": NOON,
    "20230101_120000Z-0001.wav": NOON,
    "CINMS_C_01_081012_150000.x.wav": datetime(2008, 10, 12, 15),
    "CINMS_C_01_081012_150000.d100.x.wav": datetime(2008, 10, 12, 15),
    "WISPR_241021_004352.flac": datetime(2024, 10, 21, 0, 43, 52),
    "sg639_230101-120000.wav": NOON,
    "2023-365_235959.wav": datetime(2023, 12, 31, 23, 59, 59),
    "2023-01-01T12h00m00s.wav": NOON,
}
NOT_WHOLE = (
    *("20230101_120000X.wav", "20230101_120000EST5.wav", "20230101_120000h.wav"),
    *("20230101_120000_CST.wav", "20230101_120000_BST.wav", "20230101_120000IST.wav"),  # of several
    *("20230101_120000_XST.wav", "20230101_120000_NODT.wav", "20230101_120000_cst.wav"),
    *("20230101_120000_Pst.wav", "20230101_120000_UTC5.wav", "20230101_120000UTC+15.wav"),
    *("20230101_120000UTC+5.5.wav", "20230101_120000_UTC-0001.wav", "20230101_120000+1.5.wav"),
    *("20230101_120000-1000.wav", "20230101_120000-0400.wav", "20230101_120000-05.wav"),
    *("20230101_120000-1.wav", "20230101T120000-0012_part.wav", "20230101_120000+0012.wav"),
    *("2023-01-01T12-00-00+05-30.wav", "20230101_120000_UTC-3_30.wav", "20230101T120000+10_00.wav"),
    *("20230101_120000_-27.3+153.1.wav", "20230101_120000 +99.wav", "20230101_120000\u00b15.wav"),
    *("20230101_130000 PM.wav", "2023-01-01 00.15.00 AM.wav", "20230101_120000.123x.wav"),
    *("20230101_120000_ESTX.wav", "REC_20230101_240000.wav", "20230101T2400Z.wav"),
    *("20230101_120000!.wav", "20230101_120000\u00e9t\u00e9.wav", "WISPR_230101_120000Q.flac"),
    *("2023-01-01T12:00:00B.wav", "2023-01-01_12-00-00-0500.wav", "5678.230101120000X.wav"),
)


@pytest.mark.parametrize(("name", "expected"), WHOLE.items())
def test_what_follows_a_time_and_is_understood(name, expected):
    assert read_name(name, UTC) == (expected.replace(tzinfo=UTC), None)


@pytest.mark.parametrize("name", NOT_WHOLE)
def test_what_follows_a_time_and_is_not_understood(name):
    """No time, and the reason; never a part of the time, nor another pattern's."""
    time, unread = read_name(name, UTC)
    assert time is None
    assert unread
    assert unread in name.replace("\u2212", "-")


def test_names_that_hold_no_time_are_not_counted_as_unread():
    assert not unread_names([*NO_TIMES, *WHOLE])
    assert unread_names(["20230101_120000X/a.wav", "a/20230101_120000X.wav"]) == [
        "a/20230101_120000X.wav"
    ]


LAYOUTS = (
    *("%Y%m%d_%H%M%S", "%Y%m%d-%H%M%S", "%Y%m%dT%H%M%S", "%Y%m%d$%H%M%S", "%Y%m%d.%H%M%S"),
    *("%Y-%m-%d_%H-%M-%S", "%Y_%m_%d__%H_%M_%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %Hh%Mm%Ss"),
    *("%y%m%d_%H%M%S", "%Y-%j_%H%M%S", "5678.%y%m%d%H%M%S", "%Y-%m-%d-birdnet-%H:%M:%S"),
    *("%Y-%m-%d at %I.%M.%S %p", "%Y%m%d_%I%M%S%p", "%Y-%m-%d_%I-%M-%S_%p"),
)
MOMENTS = st.datetimes(datetime(2000, 1, 2), datetime(2068, 12, 30)).map(
    lambda moment: moment.replace(microsecond=0)
)


@st.composite
def zone_texts(draw):
    """A zone as text behind a time, and its offset."""
    if draw(st.booleans()):
        text, hours = draw(st.sampled_from(sorted(ZONE_HOURS.items())))
        return draw(st.sampled_from(("", "_", " ", "-", " ("))) + text, timedelta(hours=hours)
    minutes = 15 * draw(st.integers(-14 * 4, 14 * 4))
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    before = draw(st.sampled_from(("UTC", "_UTC", " GMT", "_", " ")))
    colon = draw(st.sampled_from((":", "")))
    return f"{before}{sign}{hours:02}{colon}{rest:02}", timedelta(minutes=minutes)


@given(
    moment=MOMENTS,
    layout=st.sampled_from(LAYOUTS),
    prefix=st.sampled_from(("", "SITE_", "REC-", "S4A01_")),
    fraction=st.one_of(st.none(), st.integers(0, 999999)),
    point=st.sampled_from((".", ",", "_")),
    zone=st.one_of(st.none(), zone_texts()),
    suffix=st.sampled_from(("", "_REC", " (2)", "_ch1", ".ch2")),
)
def test_a_time_in_any_layout_with_any_zone_is_read_exactly(
    moment, layout, prefix, fraction, point, zone, suffix
):
    has_half = "%p" in layout
    assume(not (layout == "%y%m%d_%H%M%S" and point == "_"))  # three times six digits
    text, offset = zone or ("", EAST.utcoffset(None))
    part = "" if fraction is None or has_half else f"{point}{fraction:06}"
    text = f" {text}" if has_half and text[:1].isalpha() else text  # PM EST, not PMEST
    close = ")" if "(" in text else ""
    name = f"{prefix}{moment.strftime(layout)}{part}{text}{close}{suffix}.wav"
    late = timedelta(microseconds=(fraction or 0) if part else 0)
    expected = (moment - offset + late).replace(tzinfo=UTC)
    assert read_name(name, EAST) == (expected, None)


@given(
    moment=MOMENTS,
    layout=st.sampled_from([layout for layout in LAYOUTS if "%p" not in layout]),
    letters=st.text(st.sampled_from("ABCDEFGHIKLNOQRSUVWXYabcdefghiklnoqrsuvwxy"), min_size=1),
    suffix=st.sampled_from(("", "_REC", " (2)")),
)
def test_letters_that_follow_directly_and_are_not_understood_leave_no_time(
    moment, layout, letters, suffix
):
    assume(parse_zone(letters) is None)
    time, unread = read_name(f"{moment.strftime(layout)}{letters}{suffix}.wav", UTC)
    assert time is None
    assert unread == letters + suffix


@given(
    moment=st.datetimes(datetime(1990, 1, 2), datetime(2100, 12, 30)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
    minutes=st.integers(-14 * 4, 14 * 4).map(lambda quarters: 15 * quarters),
    prefix=st.sampled_from(["", "SITE_", "S4A01_", "x-"]),
    layout=st.sampled_from(
        ["%Y%m%d_%H%M%S", "%Y%m%dT%H%M%S", "%Y-%m-%d_%H-%M-%S", "%Y%m%dT%H%M%S%z", "%Y%m%d$%H%M%S"]
    ),
)
def test_what_strftime_writes_is_read(moment, minutes, prefix, layout):
    zone = timezone(timedelta(minutes=minutes))
    aware = moment.replace(tzinfo=zone)
    name = f"{prefix}{aware.strftime(layout)}.wav"
    assert time_in(name, zone) == aware
    found = find_time(parse_pattern(layout), name, UTC)
    assert found == (aware if "%z" in layout else moment.replace(tzinfo=UTC))
    assert found.tzinfo is UTC


@given(st.text(st.sampled_from("0123456789_-.T$Z+:AF "), max_size=40))
def test_no_name_raises_and_times_are_of_our_years(name):
    time = time_in(name, EAST)
    assert time is None or 1989 <= time.year <= 2100
