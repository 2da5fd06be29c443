"""Ends what we started even when we are killed ourselves and no clean-up of ours can run.

A guard is a tiny shell that reads from a pipe we hold. When this process ends, however it ends,
the kernel closes the pipe and the shell ends its charge. ``atexit`` alone is not enough: it does
not run after SIGKILL, nor when pytest-timeout gives up on a hung test.
"""

import subprocess

# Args: signal, target (negative: a process group), folder to delete afterwards or nothing.
SCRIPT = """
trap '' INT TERM HUP
read -r word && exit 0
kill -s CONT -- "$2" 2>/dev/null
kill -s "$1" -- "$2" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -s 0 -- "$2" 2>/dev/null || break; sleep 0.2; done
if [ -n "$3" ]; then rm -rf -- "$3"; fi
"""


class Guard:
    """Watches one process, or one process group, until it is dismissed."""

    def __init__(self, target: int, *, signal: str = "KILL", folder: str = "") -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", SCRIPT, "guard", signal, str(target), folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # a Ctrl-C at the terminal is not for the guard
        )

    def dismiss(self) -> None:
        """The charge has ended, or is about to by our own hand."""
        try:
            self._shell.communicate(b"bye\n", timeout=10)
        except BrokenPipeError:
            self._shell.wait(timeout=10)
