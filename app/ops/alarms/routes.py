"""``GET /v1/alarms``, for support and admins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.model.alarm import AlarmName
from app.store.operations import OperationsStore
from app.web.caller import SupportCaller
from app.web.problems import problems
from app.web.routing import KeyedRoute
from app.web.state import from_state

router = APIRouter(prefix="/v1/alarms", tags=["operations"], route_class=KeyedRoute)


class Alarm(BaseModel):
    """An alarm, and what is the matter."""

    alarm: AlarmName = Field(description="Each has its section in docs/operations.md")
    detail: str = Field(description="What is the matter, with figures, as it was when it began")
    began_at: datetime
    ended_at: datetime | None = Field(description="null while it lasts")


class AlarmList(BaseModel):
    """The last time of each alarm; those that last come first."""

    alarms: list[Alarm]


@router.get("", summary="What is the matter with the service", responses=problems())
async def list_alarms(
    _caller: SupportCaller, store: Annotated[OperationsStore, from_state("operations")]
) -> AlarmList:
    """The alarms that are up, and those that have ended, each with its last time."""
    return AlarmList(
        alarms=[
            Alarm(alarm=one.name, detail=one.detail, began_at=one.began_at, ended_at=one.ended_at)
            for one in await store.alarms()
        ]
    )
