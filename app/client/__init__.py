"""The service's client for Python apps. Needs httpx and nothing of the server's.

    from app.client import Client

    with Client("https://sms.example.com", key) as client:
        sent = client.send("447923221231", "447723443321", "Hello there, my name is John")
        message = client.wait_final(sent.id, timeout=120)
        print(message.status, message.status_at)

A send carries an idempotency key that the client makes, so it is tried again after whatever may
happen to a connection and still becomes one text.
"""

from app.client.api import Client
from app.client.errors import (
    BadSignature,
    ClientError,
    Conflict,
    FieldError,
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
from app.client.models import Entry, Event, Failover, Found, Message, Page, Sent
from app.client.subscriptions import Delivery, Webhook
from app.client.webhooks import verify_webhook

__all__ = [
    "BadSignature",
    "Client",
    "ClientError",
    "Conflict",
    "Delivery",
    "Entry",
    "Event",
    "Failover",
    "FieldError",
    "Found",
    "Invalid",
    "Message",
    "NotAllowed",
    "NotAuthenticated",
    "NotFinalYet",
    "NotFound",
    "NotUnderstood",
    "Page",
    "Problem",
    "Rejected",
    "Sent",
    "TryLater",
    "Unreachable",
    "Webhook",
    "verify_webhook",
]
