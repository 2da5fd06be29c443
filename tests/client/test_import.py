"""The client stands on its own: an app that uses it installs httpx and nothing else of ours."""

from __future__ import annotations

import subprocess
import sys

from tests.support.process import clean_environment

ALLOWED = {
    "app",
    "anyio",  # httpx, and what it needs
    "certifi",
    "click",  # httpx's own command, where these are installed, and what they need
    "h11",
    "httpcore",
    "httpx",
    "idna",
    "markdown_it",
    "mdurl",
    "pygments",
    "rich",
    "sniffio",
    "socksio",
    "typing_extensions",
}
PROGRAM = """
import sys
import iovox_receipts
names = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
ours = {name for name in sys.modules if name.startswith("app.")}
print(*sorted(n for n in names if not n.startswith("_")))
print(*sorted(n for n in ours if not n.startswith("iovox_receipts")))
"""


def test_it_needs_nothing_of_the_server() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=clean_environment({}),
    )
    libraries, ours = done.stdout.split("\n")[:2]
    assert "httpx" in libraries
    assert set(libraries.split()) <= ALLOWED
    assert ours == ""
