"""iovox: can it be reached, and does it know our credentials. No text is sent."""

from __future__ import annotations

from app.errors import NotSent
from app.iovox.client import IovoxClient
from app.ops.doctor.findings import Finding

CHECK = "iovox"


async def examine_iovox(client: IovoxClient, url: str) -> Finding:
    """Ask with an empty request: 400 is right, as is 401 where the credentials are wrong."""
    try:
        response = await client.send_empty_request()
    except NotSent as error:
        remedy = "check DLR_IOVOX_URL, DLR_IOVOX_PROXY and the firewall"
        return Finding(CHECK, f"{url}: {error.detail}", remedy)
    if response.status == 400:
        return Finding(CHECK, f"{url} knows our credentials")
    if response.status in (401, 403):
        return Finding(
            CHECK,
            f"{url} refuses our credentials (HTTP {response.status})",
            "check DLR_IOVOX_USERNAME, DLR_IOVOX_SECURE_KEY, and that iovox knows the address "
            "that this host calls from",
        )
    said = response.failure or f"it answered HTTP {response.status}"
    return Finding(
        CHECK,
        f"{url} does not answer an empty request as iovox does: {said}",
        "check DLR_IOVOX_URL; if it is right, ask iovox",
    )
