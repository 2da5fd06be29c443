"""Builds the console."""

from __future__ import annotations

from app.console.attention import Attention
from app.console.parts import Console
from app.console.recording import Recording
from app.lookup.lookups import Lookups
from app.record.audit import Auditor
from app.runtime.configured import openid_provider
from app.settings import Settings
from app.store.clock import Now
from app.store.console_sessions import ConsoleSessionStore
from app.store.engine import Database
from app.store.operations import OperationsStore
from app.store.overview import OverviewStore
from app.store.receipts import ReceiptStore
from app.store.stats import StatsStore
from app.store.stuck import StuckStore
from app.store.verbatim import VerbatimStore
from app.web.failures import Failures
from app.webhooks.subscriptions import Subscriptions


def build_console(
    settings: Settings,
    *,
    database: Database,
    lookups: Lookups,
    rejected: ReceiptStore,
    subscriptions: Subscriptions,
    operations: OperationsStore,
    stats: StatsStore,
    auditor: Auditor,
    failures: Failures,
    now: Now,
) -> Console:
    """Raises ConfigurationError where the OpenID provider's settings are incomplete."""
    return Console(
        sessions=ConsoleSessionStore(database),
        attention=Attention(
            lookups=lookups,
            stuck=StuckStore(database),
            rejected=rejected,
            subscriptions=subscriptions,
            operations=operations,
            now=now,
        ),
        verbatim=VerbatimStore(database),
        overview=OverviewStore(database, stats),
        recording=Recording(auditor, failures),
        now=now,
        keep_days=None if settings.keep_for is None else int(settings.keep_for),
        url=settings.console_url or settings.public_url,
        provider=openid_provider(settings),
    )
