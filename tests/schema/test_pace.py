"""Pace: once an interval for each key, in bounded memory."""

from __future__ import annotations

from schema.pace import _MAX_KEYS, Pace


def test_once_an_interval_for_each_key() -> None:
    pace = Pace(1.0)
    assert pace.allows("a", 0.0)
    assert not pace.allows("a", 0.9)
    assert pace.allows("b", 0.9)
    assert pace.allows("a", 1.0)


def test_a_flood_of_keys_is_silenced_and_forgotten() -> None:
    pace = Pace(1.0)
    assert sum(pace.allows(number, 0.0) for number in range(3 * _MAX_KEYS)) == _MAX_KEYS
    assert len(pace._last) == _MAX_KEYS
    assert pace.allows("later", 1.0)
    assert len(pace._last) == 1
