"""What begins and ends, and how a webhook is told of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.model.alarm import Alarm, AlarmName, alarm_payload, changes

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
LASTS = Alarm(AlarmName.SILENCE, "no receipt", NOW)
OVER = Alarm(AlarmName.CLOCK, "a clock", NOW, NOW + timedelta(seconds=1))


def test_what_begins_and_what_ends() -> None:
    later = NOW + timedelta(hours=1)
    up = {AlarmName.CLOCK: "a clock again", AlarmName.ZONE: "a zone"}
    assert changes([LASTS, OVER], up, later) == [
        Alarm(AlarmName.CLOCK, "a clock again", later),
        Alarm(AlarmName.ZONE, "a zone", later),
        replace(LASTS, ended_at=later),
    ]
    assert changes([LASTS, OVER], {AlarmName.SILENCE: "still none"}, later) == []


def test_what_a_webhook_is_told() -> None:
    began, ended = alarm_payload(LASTS), alarm_payload(OVER)
    assert (began.type, ended.type) == ("alarm.began", "alarm.ended")
    assert json.loads(began.body) == {
        "type": "alarm.began",
        "timestamp": "2026-11-22T09:00:00Z",
        "data": {
            "alarm": "silence",
            "detail": "no receipt",
            "began_at": "2026-11-22T09:00:00Z",
            "ended_at": None,
        },
    }
    assert json.loads(ended.body) == {
        "type": "alarm.ended",
        "timestamp": "2026-11-22T09:00:01Z",
        "data": {
            "alarm": "clock",
            "detail": "a clock",
            "began_at": "2026-11-22T09:00:00Z",
            "ended_at": "2026-11-22T09:00:01Z",
        },
    }
