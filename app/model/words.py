"""Every status, reason and alarm in words for somebody who knows nothing of SMS, with what to do.

One table for the console, `dlr status` and docs/statuses.md. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.model.alarm import AlarmName
from app.model.london import TimeQuality
from app.model.status import Status


class Tone(StrEnum):
    """What a status means for the customer: it decides the colour, which never stands alone."""

    GOOD = "good"
    BAD = "bad"
    WAIT = "wait"
    ODD = "odd"


SIGNS: Mapping[Tone, str] = {Tone.GOOD: "✓", Tone.BAD: "✕", Tone.WAIT: "…", Tone.ODD: "?"}


@dataclass(frozen=True, slots=True)
class Words:
    """``label`` for lists, ``heading`` for the page, then what it means and what to do."""

    label: str
    heading: str
    means: str
    to_do: str
    tone: Tone
    short: str = ""
    """Stands beside the label in a list where the message has no reason."""

    @property
    def sign(self) -> str:
        """A sign beside the colour."""
        return SIGNS[self.tone]


STATUSES: Mapping[Status, Words] = {
    Status.QUEUED: Words(
        "Waiting",
        "Waiting to be sent",
        "It is recorded here and has not left for iovox yet.",
        "Nothing: it is sent as soon as there is a way. It can be cancelled until then.",
        Tone.WAIT,
        "waiting to be sent",
    ),
    Status.SENDING: Words(
        "Sending",
        "Being handed to iovox just now",
        "iovox has been asked and has not answered yet.",
        "Nothing: this takes seconds.",
        Tone.WAIT,
        "iovox has not answered yet",
    ),
    Status.SUBMITTED: Words(
        "Sent",
        "Sent to iovox; no word from the network yet",
        "iovox has accepted it. Whether it reached the handset is not known yet.",
        "Nothing: word usually comes in under a minute.",
        Tone.WAIT,
        "no word from the network yet",
    ),
    Status.UNCONFIRMED: Words(
        "Unconfirmed",
        "It may have been sent: iovox’s answer was lost",
        "iovox may have it or not. It is not sent again by itself, so that nobody gets it twice.",
        "Wait for its receipt, or send it again if a second text does less harm than none.",
        Tone.ODD,
        "iovox’s answer was lost; not sent again",
    ),
    Status.ACKNOWLEDGED: Words(
        "On its way",
        "The network has it and is trying",
        "The mobile network has accepted it and tries to deliver it.",
        "Nothing.",
        Tone.WAIT,
        "the network has it and is trying",
    ),
    Status.BUFFERED: Words(
        "Held by the network",
        "The handset is off or out of reach; the network tries again",
        "The mobile network keeps it until the handset is back or its time is over.",
        "Nothing until it expires.",
        Tone.WAIT,
        "handset off; the network tries again",
    ),
    Status.DELIVERED: Words(
        "Delivered",
        "Delivered to the handset",
        "The network reports delivery; it can’t know whether anyone read it.",
        "Nothing.",
        Tone.GOOD,
    ),
    Status.FAILED: Words(
        "Failed",
        "Not delivered: the network gave up",
        "The mobile network could not deliver it and does not try again.",
        "Look at the reason and check the number. Where a call flow was given, iovox now calls.",
        Tone.BAD,
        "the network gave up",
    ),
    Status.EXPIRED: Words(
        "Expired",
        "Not delivered in time",
        "Its time was over before the network could deliver it. iovox says that it may still "
        "arrive.",
        "Reach the customer in another way, or send a new text if it still matters.",
        Tone.BAD,
        "not delivered in time",
    ),
    Status.REJECTED: Words(
        "Refused",
        "Refused by iovox",
        "iovox did not take it, so it was never sent.",
        "Correct what iovox names and send a new text.",
        Tone.BAD,
        "refused by iovox",
    ),
    Status.UNSENT: Words(
        "Never sent",
        "Never sent: there was no way to iovox until its time was over",
        "It never left us, so the customer did not get it.",
        "Send a new text if it still matters.",
        Tone.BAD,
        "no way to iovox in time",
    ),
    Status.CANCELLED: Words(
        "Cancelled",
        "Taken back before it was sent",
        "It was cancelled here and never left us.",
        "Nothing.",
        Tone.BAD,
        "taken back before it was sent",
    ),
    Status.UNKNOWN: Words(
        "Unknown",
        "Receipts came, but none says what became of it",
        "iovox sent a status that we do not know.",
        "Ask iovox, with its id.",
        Tone.ODD,
        "a status that we do not know",
    ),
}

SCHEDULED = Words(
    "Scheduled",
    "Will be sent later, as was asked",
    "It waits here until its time.",
    "Nothing: it can be cancelled until then.",
    Tone.WAIT,
    "waits until its time",
)
HELD_BACK = Words(
    "Waiting",
    "Waiting to be sent: iovox can’t be reached",
    "It was tried, and surely not sent. It is tried again by itself.",
    "Nothing: it is tried again until its time is over.",
    Tone.WAIT,
    "iovox can’t be reached; tried again",
)
CONTRADICTORY = Words(
    "Contradictory",
    "Delivered, though another receipt says that it was not",
    "We count it delivered: a text on the handset is not undone. Both receipts are below.",
    "Ask the customer, or iovox with its id, if it matters.",
    Tone.ODD,
    "receipts say both",
)
OVERDUE = Words(
    "Overdue",
    "No final word, though its time is over",
    "That is our own judgement: iovox has not said what became of it.",
    "Ask iovox, with its id.",
    Tone.ODD,
    "no final word in time",
)
SITUATIONS: Mapping[str, Words] = {
    "QUEUED, for later": SCHEDULED,
    "QUEUED, held back": HELD_BACK,
    "contradictory": CONTRADICTORY,
    "overdue": OVERDUE,
}

REASONS: Mapping[str, str] = {
    "1": "The handset has confirmed it.",
    "2": "The network could not deliver it: the number is not in service, or it is barred.",
    "4": "The handset is off or out of reach; the network keeps the text.",
    "8": "The network has taken it over and will try to deliver it.",
    "16": "The network’s message centre refused it.",
}
"""iovox's ``status_reason``: the event bits of Kannel, the SMS gateway. iovox's own text is shown
beside.
"""

TIMES: Mapping[TimeQuality, str] = {
    TimeQuality.EXACT: "iovox’s own time, exact to the second",
    TimeQuality.REPEATED: "not sure: this hour came twice that night; we took the later one that "
    "fits",
    TimeQuality.MISSING: "not sure: the clock skipped this hour that night; read as winter time",
    TimeQuality.OFFSET: "iovox’s own time, which named its zone",
    TimeQuality.RECEIVED: "iovox gave no time that can be read; this is when it reached us",
    TimeQuality.AHEAD: "iovox’s time lay in the future, so this is when it reached us",
}
"""How sure the time of a receipt is."""


@dataclass(frozen=True, slots=True)
class AlarmWords:
    """An alarm: what is so, and what to do."""

    title: str
    means: str
    to_do: str


DATABASE_AWAY = AlarmWords(
    "The database is away",
    "Receipts are kept on disk meanwhile; nothing can be looked up or sent.",
    "Look at the database; this page tries again.",
)
ALARMS: Mapping[AlarmName, AlarmWords] = {
    AlarmName.SILENCE: AlarmWords(
        "No receipts come in",
        "Texts are accepted by iovox, and none of them is reported on.",
        "Check that iovox can reach our address and sends the secret: run `dlr doctor`.",
    ),
    AlarmName.NO_WORKER: AlarmWords(
        "Nobody works on the queue",
        "Texts or webhooks are due, and no process takes them.",
        "Start `dlr worker`, or `dlr serve` without `--no-workers`.",
    ),
    AlarmName.ZONE: AlarmWords(
        "iovox’s clock is off",
        "The times in receipts differ from ours as a rule, perhaps by summer time’s hour.",
        "Tell iovox; check our own clock.",
    ),
    AlarmName.RECEIPTS_REFUSED: AlarmWords(
        "Receipts are refused",
        "Somebody calls our address for receipts with a wrong secret, or with what is no receipt.",
        "Compare the secret in iovox’s settings with ours; look at Rejected receipts.",
    ),
    AlarmName.SPOOL_NOT_DRAINING: AlarmWords(
        "Receipts wait on disk",
        "They are safe, but the database does not take them.",
        "Look at the database; they are stored by themselves once it is back.",
    ),
    AlarmName.UNCONFIRMED_GROWING: AlarmWords(
        "Many texts are unconfirmed",
        "iovox’s answers get lost: nobody knows whether these texts were sent.",
        "Look at the way to iovox; decide for each text whether to send it again.",
    ),
    AlarmName.OVERDUE_GROWING: AlarmWords(
        "Many texts are overdue",
        "Their time is over, and iovox has not said what became of them.",
        "Ask iovox, with some of their ids.",
    ),
    AlarmName.CREDENTIALS: AlarmWords(
        "iovox refuses our credentials",
        "Nothing can be sent; texts wait here.",
        "Check DLR_IOVOX_USERNAME and DLR_IOVOX_SECURE_KEY.",
    ),
    AlarmName.WEBHOOK_PAUSED: AlarmWords(
        "A webhook is paused",
        "Its receiver failed for so long that nothing is sent to it any more.",
        "Mend the receiver, then resume the webhook: nothing is lost.",
    ),
    AlarmName.CLOCK: AlarmWords(
        "A clock differs",
        "A host’s clock differs from the database’s by more than 2 seconds.",
        "Look at its time synchronisation.",
    ),
    AlarmName.DATABASE_FORGOT: AlarmWords(
        "The database has forgotten",
        "It was restored or failed over, and lacks what was confirmed; it is brought back.",
        "See “Restoring” in docs/operations.md.",
    ),
    AlarmName.SPOOL_DISK_FULL: AlarmWords(
        "The disk for receipts is nearly full",
        "While the database is away, receipts are kept there; without room they are refused.",
        "Make room where DLR_SPOOL_DIR lies, before the database is away.",
    ),
}


def words_of(
    status: str, *, scheduled: bool = False, held_back: bool = False, contradictory: bool = False,
    overdue: bool = False,
) -> Words:  # fmt: skip
    """The words of a status in its situation; the most telling one where several hold."""
    if contradictory:
        return CONTRADICTORY
    if status == Status.QUEUED and held_back:
        return HELD_BACK
    if status == Status.QUEUED and scheduled:
        return SCHEDULED
    if overdue and status != Status.UNCONFIRMED:
        return OVERDUE
    return STATUSES[Status(status)]


def document() -> str:
    """docs/statuses.md, which is generated: a test compares."""
    lines = [
        "# Statuses, reasons and alarms in plain words",
        "",
        "Generated from `app/model/words.py`: the console and `dlr status` use the same words.",
        "",
        "## Statuses",
        "",
        "| status | in words | what it means | what to do |",
        "|---|---|---|---|",
    ]
    every = {**{str(status): words for status, words in STATUSES.items()}, **SITUATIONS}
    lines += [
        f"| {name} | {words.sign} {words.heading} | {words.means} | {words.to_do} |"
        for name, words in every.items()
    ]
    lines += [
        "",
        "## Reasons",
        "",
        "iovox’s `status_reason`. Any other number is shown as it is.",
        "",
    ]
    lines += ["| reason | what it means |", "|---|---|"]
    lines += [f"| {number} | {text} |" for number, text in REASONS.items()]
    lines += ["", "## How sure a time is", "", "| `time_quality` | what it means |", "|---|---|"]
    lines += [f"| {quality} | {text} |" for quality, text in TIMES.items()]
    lines += ["", "## Alarms", "", "| alarm | in words | what it means | what to do |"]
    lines += ["|---|---|---|---|"]
    lines += [
        f"| {name} | {alarm.title} | {alarm.means} | {alarm.to_do} |"
        for name, alarm in ALARMS.items()
    ]
    return "\n".join(lines) + "\n"
