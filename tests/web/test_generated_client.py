"""A client that openapi-python-client generates from our document: it sends, batches, looks up.

The generator wants other versions of some libraries than the service, so it has an environment of
its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from app.simulator.behaviour import Behaviour
from app.simulator.main import create_simulator
from app.simulator.server import make_server
from tests.receive.serving import Service, serve
from tests.simulator.running import running
from tests.support.trust import environment_of_the_world

pytestmark = pytest.mark.slow

GENERATOR = "openapi-python-client==0.29.1"
UV = Path(sys.executable).with_name("uv")

PROGRAM = """
import json, sys
from generated.client import AuthenticatedClient
from generated.api.look_up import look_up_message, look_up_messages, list_messages
from generated.api.send import send, send_batch
from generated.models import BatchRequest, LookupRequest, SendRequest

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
message = SendRequest(origin="447923221231", destination="+44 7700 900100", message="Hello")
sent = send.sync(client=client, body=message, idempotency_key="order-42")
again = send.sync(client=client, body=message, idempotency_key="order-42")
wrong = SendRequest(origin="447923221231", destination="nobody", message="Hello")
batch = send_batch.sync(client=client, body=BatchRequest(messages=[message, wrong]))
found = look_up_message.sync(client=client, id=str(sent.id), wait=1)
many = look_up_messages.sync(client=client, body=LookupRequest(ids=[sent.sms_activity_id, "none"]))
page = list_messages.sync(client=client, destination="447700900100", limit=1)
refused = send.sync_detailed(client=client, body=wrong)
print(json.dumps({
    "sent": sent.status.value, "same": sent.id == again.id,
    "batch": [item.status.value for item in batch.messages],
    "faults": [fault.field for fault in batch.messages[1].errors],
    "found": found.status.value, "history": [type(step).__name__ for step in found.history],
    "many": [one.sms_activity_id == sent.sms_activity_id for one in many.messages],
    "not_found": many.not_found, "page": len(page.messages), "next": isinstance(page.next_, str),
    "refused": [int(refused.status_code), refused.parsed.errors[0].field],
}))
"""


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the generator."""
    folder = tmp_path_factory.mktemp("generator")
    _run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    uv: list[str | Path] = [UV, "pip", "install", "-q", "--python", python]
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    reasons = []
    for words in ([*uv, "--offline", GENERATOR], [*uv, GENERATOR], [*pip, GENERATOR]):
        done = _run(words, folder, check=False)
        if done.returncode == 0:
            return python
        reasons.append(done.stderr)
    pytest.skip(f"no package index can be reached: {reasons[-1][-300:]}")


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("generated")
    shutil.copytree(sqlite_template, folder, dirs_exist_ok=True)
    simulator = make_server(create_simulator(behaviour=Behaviour(receipt_delay=0.01)), port=0)
    with running(simulator) as iovox:
        started = serve(f"sqlite:///{folder / 'dlr.db'}", DLR_IOVOX_URL=iovox)
        yield started
        started.process.close()


def test_a_generated_client_sends_batches_and_looks_up(
    generator: Path, service: Service, tmp_path: Path
) -> None:
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{service.url}/openapi.json").content)
    made = _run(
        [generator, "-m", "openapi_python_client", "generate", "--path", document, "--meta", "none",
         "--output-path", tmp_path / "generated"],
        tmp_path,
    )  # fmt: skip
    assert "Unable to parse" not in made.stdout
    (tmp_path / "program.py").write_text(PROGRAM)
    key = service.key("send", "read")
    done = _run([generator, tmp_path / "program.py", service.url, key], tmp_path)
    assert json.loads(done.stdout) == {
        "sent": "SUBMITTED",
        "same": True,
        "batch": ["QUEUED", "REJECTED"],
        "faults": ["destination"],
        "found": "SUBMITTED",
        "history": ["Step"],
        "many": [True],
        "not_found": ["none"],
        "page": 1,
        "next": True,
        "refused": [422, "destination"],
    }


def _run(
    words: Sequence[str | Path], folder: Path, *, check: bool = True
) -> subprocess.CompletedProcess[str]:
    world = environment_of_the_world()
    env = {name: value for name, value in world.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done
