"""One psql that goes on, for statements whose output nobody wants: to start it costs more CPU
than they do.
"""

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

DONE = "-- done --"


class PsqlSession:
    """A connection to one database. It ends with this process, or with the first error."""

    def __init__(self, command: Sequence[str], *, cwd: Path, env: dict[str, str]) -> None:
        """``command`` has psql, where to connect, and ON_ERROR_STOP."""
        self._psql = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env=env,
            start_new_session=True,  # a Ctrl-C at the terminal is not for psql
        )

    def run(self, statement: str) -> bool:
        """Whether it was done; where it was not, or nobody knows, the session is over."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        try:
            self._psql.stdin.write(f"{statement};\n\\echo {DONE}\n")
            self._psql.stdin.flush()
        except BrokenPipeError:
            return False
        return any(line == f"{DONE}\n" for line in self._psql.stdout)

    def close(self) -> None:
        """Ends it; harmless when repeated."""
        self._psql.kill()
        self._psql.wait()
        for pipe in (self._psql.stdin, self._psql.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
