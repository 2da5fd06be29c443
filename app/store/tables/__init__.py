"""The tables, as the migrations create them; a test compares the two.

One schema for SQLite and PostgreSQL. Times are UTC everywhere; JSON is kept as text.
"""

from app.store.tables.console import console_sessions, console_sign_ins
from app.store.tables.evidence import (
    evidence_checkpoints,
    evidence_disks,
    evidence_facts,
    evidence_logs,
    evidence_pending,
    evidence_tiles,
)
from app.store.tables.journal import incarnations, processes, queue_holds, queue_settlements
from app.store.tables.messages import (
    api_keys,
    deliveries,
    events,
    idempotency_keys,
    messages,
    pace,
    receipts,
    rejected_receipts,
)
from app.store.tables.metadata import metadata
from app.store.tables.operations import alarms, operations, process_reports, schema_releases
from app.store.tables.record import (
    audit,
    disks,
    erased,
    erasure_confirmations,
    erasures,
    retention,
    retention_waiting,
)
from app.store.tables.rollups import rollup_counts, rollup_hours, rollups
from app.store.tables.webhooks import webhook_deliveries, webhooks

__all__ = [
    "alarms",
    "api_keys",
    "audit",
    "console_sessions",
    "console_sign_ins",
    "deliveries",
    "disks",
    "erased",
    "erasure_confirmations",
    "erasures",
    "events",
    "evidence_checkpoints",
    "evidence_disks",
    "evidence_facts",
    "evidence_logs",
    "evidence_pending",
    "evidence_tiles",
    "idempotency_keys",
    "incarnations",
    "messages",
    "metadata",
    "operations",
    "pace",
    "process_reports",
    "processes",
    "queue_holds",
    "queue_settlements",
    "receipts",
    "rejected_receipts",
    "retention",
    "retention_waiting",
    "rollup_counts",
    "rollup_hours",
    "rollups",
    "schema_releases",
    "webhook_deliveries",
    "webhooks",
]
