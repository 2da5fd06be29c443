"""Facts: what this process acknowledged or did, each enough to be brought back by itself. Pure.

Bringing them back is idempotent: any number of times, in any order, it changes nothing that is
there already (``app.model.merging``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.errors import FieldError
from app.model.audit import Entry
from app.model.erasure import Erasure
from app.model.message import Message, Step
from app.model.receipt import Arrival


@dataclass(frozen=True, slots=True)
class ClaimedKey:
    """The idempotency key of a request, with the response that a repetition gets."""

    app: str
    key: str
    fingerprint: bytes
    claimed_at: datetime
    message_id: UUID | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """All messages of one request, as they were recorded, and its key. A message that is SENDING
    here may be on the wire: no ``OnWire`` need follow.
    """

    messages: tuple[Message, ...]
    key: ClaimedKey | None = None


@dataclass(frozen=True, slots=True)
class OnWire:
    """A message that may be written to iovox from now on, under the lease that it carries."""

    message: Message


@dataclass(frozen=True, slots=True)
class Accepted:
    """iovox accepted a message under this id. Its record stands before it in the same journal."""

    message_id: UUID
    sms_activity_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """Any other end of an attempt, or of a message: our state of it after this step.

    ``leases``: how often it had been leased by then. ``message``: the whole record, where none
    stands before it in the same journal. ``frees``: a key that may be used again by this.
    """

    message_id: UUID
    lease: UUID | None
    leases: int
    step: Step
    announce: bool
    errors: tuple[FieldError, ...] = ()
    next_attempt_at: datetime | None = None
    attempted: bool = True
    message: Message | None = None
    frees: ClaimedKey | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """Authenticated calls to ``/dlr``, as they came; what they say follows from their bytes."""

    arrivals: tuple[Arrival, ...]


Position = tuple[int, int]
"""A place in a journal: the number of a segment, and an offset in it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A watermark: a database that has it, by its ``nonce``, has every fact of the journal before
    ``start``.

    ``others`` are the processes that were seen in the database, ``incarnation`` its incarnation.
    """

    nonce: UUID
    start: Position
    incarnation: UUID
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """The queue was held by an operator or a process, or (``reason`` is None) released."""

    at: datetime
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """An operator settled what was QUEUED and made before a time: it is UNCONFIRMED."""

    id: UUID
    before: datetime
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Facts are missing before this place: the disk did not take them, or no journal was kept."""


@dataclass(frozen=True, slots=True)
class Met:
    """Processes that were seen in the database. If it forgets them, this one still waits for them
    to bring back their facts.
    """

    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audited:
    """An entry of the audit. A revocation or purge is repeated when it is brought back."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Erased:
    """Ids of what was erased, each with iovox's where there is one; and completed erasures."""

    ids: tuple[tuple[UUID, str | None], ...]
    erasures: tuple[Erasure, ...] = ()


Fact = (
    Recorded
    | OnWire
    | Accepted
    | Ended
    | Arrived
    | Mark
    | Met
    | Held
    | Settled
    | Audited
    | Erased
    | Gap
)
