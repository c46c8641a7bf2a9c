from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.storage.times import iso, microseconds, new_id


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_survives_its_text(moment: datetime) -> None:
    value = microseconds(moment)
    assert microseconds(iso(value)) == value == microseconds(value)


def test_a_zone_counts_and_none_is_utc() -> None:
    east = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert microseconds(east) == microseconds("2024-05-01T10:00:00") == microseconds("2024-05-01T12:00:00+02:00")


@pytest.mark.parametrize("wrong", ["yesterday", "", 10**18, True, 1.5])
def test_what_is_no_time_is_refused_by_name(wrong: object) -> None:
    with pytest.raises(UsageError, match="valid_from"):
        microseconds(wrong, "valid_from")  # type: ignore[arg-type]


def test_ids_are_version_7_and_differ() -> None:
    ids = [UUID(new_id()) for _ in range(1000)]
    assert {(each.version, each.variant) for each in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == 1000
    assert [each.int >> 80 for each in ids] == sorted(each.int >> 80 for each in ids)
