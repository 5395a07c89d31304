import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import UserError
from ulmo.preprocessing.names import NAME_PATTERNS, time_of_name
from ulmo.preprocessing.timestamps import find_time, parse_pattern
from ulmo.preprocessing.zones import parse_timezone

PAGE = Path(__file__).parents[2] / "docs" / "clock.md"
EAST = timezone(timedelta(hours=10))
NOON = datetime(2023, 1, 1, 12)
FOREIGN = {
    "OO-HYEA2--YDH-2019-07-04T00:00:15.000015.flac": datetime(2019, 7, 4, 0, 0, 15, 15),
    "20231124_161500.WAV": datetime(2023, 11, 24, 16, 15),
    "24F319016080B3C7_20231124_161500T.WAV": datetime(2023, 11, 24, 16, 15),
    "5E8A1B2C.WAV": datetime.fromtimestamp(0x5E8A1B2C, UTC).replace(tzinfo=None),
    "2023-01-01T12:00:00.250+10:00.wav": NOON + timedelta(milliseconds=250),
}
"""Local times of the examples that are not of noon on 2023-01-01."""
OFFSETS = {"+1000": 10, "+10:00": 10, "-0400": -4, "Z": 0}


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pattern", "name"), [(p, name) for p in NAME_PATTERNS for name in p.examples]
)
def test_examples(pattern, name):
    """In a zone of ten hours east, unless the name or the recorder says otherwise."""
    local = FOREIGN.get(name, NOON)
    named = [hours for text, hours in OFFSETS.items() if re.search(re.escape(text) + r"[_.]", name)]
    hours = named[0] if named else 0 if pattern.utc else 10
    assert time_of_name(name, EAST) == local.replace(tzinfo=UTC) - timedelta(hours=hours)


def test_every_example_is_its_own_patterns():
    """A row that another one shadows would be dead."""
    for row in NAME_PATTERNS:
        regex = re.compile(row.regex)
        earlier = NAME_PATTERNS[: NAME_PATTERNS.index(row)]
        for name in row.examples:
            assert regex.search(name)
            assert not any(re.search(other.regex, name) for other in earlier)


def test_the_page_has_every_pattern():
    table, rest = PAGE.read_text(encoding="utf-8").split("## Names", 1)[1].split("Examples:", 1)
    rows = re.findall(r"^\| `(.+)` \| (.+) \|$", table, re.MULTILINE)
    assert rows == [(row.name, row.recorder) for row in NAME_PATTERNS]
    block = re.match(r"\n\n((?: {4}.*\n)+)", rest)[1]
    expected = [f"{row.name} {' '.join(row.examples)}" for row in NAME_PATTERNS]
    assert block.split() == " ".join(expected).split()


NO_TIMES = (
    *("20231324_161500.WAV", "20230229_120000.wav"),  # month 13; no leap year
    *("20230101_240000.wav", "20230101_126000.wav", "19891231_120000.wav", "21010101_120000.wav"),
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
    assert time_of_name(name, UTC) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x_20231301_120000_20230101_120000.wav", NOON),  # the first does not exist
        ("20230101T120000_ch1_p2.wav", NOON),
        ("20230101T120000.123456789Z.wav", NOON.replace(microsecond=123456)),
        ("S20230101T120000.5+0000_E20230101T130000.5+0000.wav", NOON.replace(microsecond=500000)),
        ("20230101T120000-0012_part.wav", NOON),  # no zone: a counter
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
    assert time_of_name(name, UTC) == expected.replace(tzinfo=UTC)


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
    assert time_of_name(name, zone) == aware
    found = find_time(parse_pattern(layout), name, UTC)
    assert found == (aware if "%z" in layout else moment.replace(tzinfo=UTC))
    assert found.tzinfo is UTC


@given(st.text(st.sampled_from("0123456789_-.T$Z+:AF "), max_size=40))
def test_no_name_raises_and_times_are_of_our_years(name):
    time = time_of_name(name, EAST)
    assert time is None or 1989 <= time.year <= 2100


class TestTimestampPattern:
    @pytest.mark.parametrize(
        ("pattern", "name", "expected"),
        [
            ("%d%b%Y-%H%M", "x05JAN2023-1830.wav", utc(2023, 1, 5, 18, 30)),
            ("%d%b%y", "05jan23.wav", utc(2023, 1, 5)),
            ("%y%m%d", "990101.wav", utc(1999, 1, 1)),
            ("%Y%j", "2024366.wav", utc(2024, 12, 31)),
            ("%Y_%j_%H", "R2023_001_07.wav", utc(2023, 1, 1, 7)),
            ("%Y%m%d.%H%M%S.%f", "rec.20230101.120000.25.wav", utc(2023, 1, 1, 12, 0, 0, 250000)),
            ("%Y%m%d %H%M%S%z", "20230101 120000+0530.wav", utc(2023, 1, 1, 6, 30)),
            ("%Y%m%d%%%H", "20230101%12.wav", utc(2023, 1, 1, 12)),
            ("_%Y%m%d.wav", "1_20230101.wav", utc(2023, 1, 1)),
            ("5_%Y%m%d", "5_20230101.wav", utc(2023, 1, 1)),
            ("%Y%m%d", "20231301_20230102.wav", utc(2023, 1, 2)),
        ],
    )
    def test_found(self, pattern, name, expected):
        assert find_time(parse_pattern(pattern), name, UTC) == expected

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            *(("%Y%m%d", "220230101.wav"), ("%Y%m%d", "202301011.wav")),
            *(("5_%Y%m%d", "15_20230101.wav"), ("REC%Y%m%d", "rec20230101.wav")),
            *(("%Y%j", "2023366.wav"), ("%Y%j", "2023000.wav"), ("%y%m%d", "690101.wav")),
            *(("%Y.%m.%d", "2023a01b01.wav"), ("%Y%m%d%z", "20230101+2500.wav")),
        ],
    )
    def test_not_found(self, pattern, name):
        assert find_time(parse_pattern(pattern), name, UTC) is None

    @pytest.mark.parametrize(
        ("pattern", "words"),
        [
            ("%Y%m%d_%Q", "'%Q' is not one of %Y %y"),
            ("%Y%m%d%", "'%' is not one of"),
            ("%Y%m%d\n%\n", r"'%\n' is not one of"),
            *((text, "it has no date") for text in ("%H%M%S", "", "%Y%m", "%m%d", "%%Y%m%d")),
            ("%Y%m%d%Y", "%Y occurs twice"),
            ("%Y%m%d_%M%S", "%M needs %H"),
            ("%Y%y%m%d", "%Y and %y mean the same"),
            ("%Y%m%d%j", "%j and %m mean the same"),
        ],
    )
    def test_a_pattern_that_cannot_work_is_one_line_with_an_example(self, pattern, words):
        with pytest.raises(UserError) as caught:
            parse_pattern(pattern)
        message = str(caught.value)
        assert words in message
        assert "\n" not in message
        assert message.endswith("as in --timestamp-pattern %Y%m%d_%H%M%S")


class TestZones:
    @pytest.mark.parametrize(
        ("text", "minutes"),
        [
            *(("UTC", 0), ("Z", 0), ("+02:00", 120), ("-0330", -210), ("+14:00", 840)),
            *(("UTC+1", 60), ("UTC-0:30", -30), ("UTC+5: 5", 305), ("+2", 120), ("+02", 120)),
            *(("Etc/GMT+5", -300), ("Asia/Kolkata", 330), ("GMT", 0)),
        ],
    )
    def test_zones(self, text, minutes):
        zone = parse_timezone(text)
        assert NOON.replace(tzinfo=zone).utcoffset() == timedelta(minutes=minutes)

    @pytest.mark.parametrize(
        "text",
        [
            *("", "+", "+15:00", "+14:15", "+02:60", "+330", "+021", "02:00", "CEST", "America"),
            *("../UTC", "/etc/localtime", "localtime", "right/UTC", "a\0b", "é", "x" * 64),
        ],
    )
    def test_others_are_refused_in_one_line(self, text):
        with pytest.raises(UserError, match=r"an offset such as \+02:00, or .* Europe/Berlin$"):
            parse_timezone(text)

    def test_a_time_that_a_zone_has_twice_or_never(self):
        """Twice: the first. Never: counted from before the change."""
        berlin = parse_timezone("Europe/Berlin")
        assert time_of_name("20231029_023000.wav", berlin) == utc(2023, 10, 29, 0, 30)
        assert time_of_name("20231029_033000.wav", berlin) == utc(2023, 10, 29, 2, 30)
        assert time_of_name("20230326_023000.wav", berlin) == utc(2023, 3, 26, 1, 30)
        assert time_of_name("20230326_013000.wav", berlin) == utc(2023, 3, 26, 0, 30)
