"""Rival (a): FastAPI and SQLAlchemy as their tutorials have it: one commit a receipt.

But for the pool: with the tutorials' default, 5 connections and 10 more that are closed after each
use, 64 callers at once have PostgreSQL make new connections all the time, which was measured to
double its CPU a receipt. 20 that stay open spare the rival that.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, UniqueConstraint, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["BENCH_DATABASE_URL"], pool_size=20, max_overflow=0)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Message(Base):
    __tablename__ = "tutorial_messages"

    id: Mapped[str] = mapped_column(primary_key=True)
    sms_activity_id: Mapped[str] = mapped_column(unique=True)
    origin: Mapped[str]
    destination: Mapped[str]
    message: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Receipt(Base):
    __tablename__ = "tutorial_receipts"
    __table_args__ = (UniqueConstraint("sms_activity_id", "status", "receipt_timestamp"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sms_activity_id: Mapped[str]
    status: Mapped[str]
    delivery_status: Mapped[str | None]
    status_reason: Mapped[str | None]
    receipt_timestamp: Mapped[str | None]
    received_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), default=lambda: datetime.now(UTC)
    )


class ReceiptIn(BaseModel):
    sms_activity_id: str
    status: str
    delivery_status: str | None = None
    status_reason: str | None = None
    receipt_timestamp: str | None = None


class ReceiptOut(ReceiptIn):
    model_config = ConfigDict(from_attributes=True)

    received_at: datetime


class MessageOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    sms_activity_id: str
    origin: str
    destination: str
    message: str
    created_at: datetime
    history: list[ReceiptOut]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]


@app.get("/healthz")
async def healthz() -> None:
    return None


@app.post("/dlr")
async def receive(receipt: ReceiptIn, session: Session) -> dict[str, bool]:
    session.add(Receipt(**receipt.model_dump()))
    await session.commit()
    return {"ok": True}


@app.get("/v1/messages/{message_id}")
async def look_up(message_id: str, session: Session) -> MessageOut:
    message = await session.get(Message, message_id)
    if message is None:
        raise HTTPException(status_code=404)
    query = (
        select(Receipt)
        .where(Receipt.sms_activity_id == message.sms_activity_id)
        .order_by(Receipt.receipt_timestamp)
    )
    receipts = (await session.scalars(query)).all()
    return MessageOut(
        id=message.id,
        sms_activity_id=message.sms_activity_id,
        origin=message.origin,
        destination=message.destination,
        message=message.message,
        created_at=message.created_at,
        history=[ReceiptOut.model_validate(receipt) for receipt in receipts],
    )
