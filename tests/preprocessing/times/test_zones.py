from datetime import UTC, datetime, timedelta

import pytest

from ulmo.config import UserError
from ulmo.preprocessing.times.names import read_name
from ulmo.preprocessing.times.zones import parse_timezone

NOON = datetime(2023, 1, 1, 12)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


class TestZones:
    @pytest.mark.parametrize(
        ("text", "minutes"),
        [
            *(("UTC", 0), ("utc", 0), ("Z", 0), ("+02:00", 120), ("-0330", -210), ("+14:00", 840)),
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
        assert read_name("20231029_023000.wav", berlin).utc == utc(2023, 10, 29, 0, 30)
        assert read_name("20231029_033000.wav", berlin).utc == utc(2023, 10, 29, 2, 30)
        assert read_name("20230326_023000.wav", berlin).utc == utc(2023, 3, 26, 1, 30)
        assert read_name("20230326_013000.wav", berlin).utc == utc(2023, 3, 26, 0, 30)
