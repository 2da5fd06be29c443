"""The Python client of iovox-receipts: sends texts, and looks up what became of each.

    from iovox_receipts import Client

    with Client("https://sms.example.com", key) as client:
        sent = client.send("447923221231", "447723443321", "Hello there, my name is John")
        message = client.wait_final(sent.id, timeout=120)
        print(message.status, message.status_at)

``AsyncClient`` has the same methods for asyncio. A send carries an idempotency key that the client
makes, so it is retried after any failure of a connection and still becomes one text.
"""

from iovox_receipts.async_client import AsyncClient
from iovox_receipts.client import Client
from iovox_receipts.errors import (
    BadSignature,
    ClientError,
    Conflict,
    FieldError,
    Gone,
    Invalid,
    NotAllowed,
    NotAuthenticated,
    NotFinalYet,
    NotFound,
    NotUnderstood,
    Problem,
    Rejected,
    TryLater,
    Unreachable,
)
from iovox_receipts.evidence import Checkpoint
from iovox_receipts.filters import Filters, Grouping
from iovox_receipts.models import (
    Entry,
    Event,
    Failover,
    Found,
    Message,
    Outcome,
    Page,
    Sent,
)
from iovox_receipts.record import Audited, Erasure
from iovox_receipts.subscriptions import Attempt, Delivery, Webhook
from iovox_receipts.webhooks import verify_webhook

__all__ = [
    "AsyncClient",
    "Attempt",
    "Audited",
    "BadSignature",
    "Checkpoint",
    "Client",
    "ClientError",
    "Conflict",
    "Delivery",
    "Entry",
    "Erasure",
    "Event",
    "Failover",
    "FieldError",
    "Filters",
    "Found",
    "Gone",
    "Grouping",
    "Invalid",
    "Message",
    "NotAllowed",
    "NotAuthenticated",
    "NotFinalYet",
    "NotFound",
    "NotUnderstood",
    "Outcome",
    "Page",
    "Problem",
    "Rejected",
    "Sent",
    "TryLater",
    "Unreachable",
    "Webhook",
    "verify_webhook",
]
