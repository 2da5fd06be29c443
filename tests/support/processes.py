"""What a process and everything below it used, and how to be sure that it has ended."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def family(pid: int) -> list[psutil.Process]:
    """The process and its living descendants; nothing where it has ended."""
    try:
        head = psutil.Process(pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """User and system time, with that of children that have ended and were waited for."""
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            own = _exactly(process.pid)
            total += times.user + times.system if own is None else own
            total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def _exactly(pid: int) -> float | None:
    """A process's own time by its clock, which Linux lets everyone read and which has nanoseconds;
    /proc has hundredths of a second. None where there is no such clock.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes it
    except OSError:
        return None


def peak_memory_bytes(processes: Iterable[psutil.Process]) -> int:
    """The sum of each process's own high-water mark; shared pages count once for each."""
    return sum(_peak_of(process) for process in processes)


def _peak_of(process: psutil.Process) -> int:
    try:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        with suppress(psutil.NoSuchProcess):
            return int(process.memory_info().rss)
    return 0


def send_signal(processes: Iterable[psutil.Process], number: int) -> None:
    """Signals those that still live."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def ended(process: psutil.Process) -> bool:
    """Whether it has ended. A zombie counts: in a container there may be no process to reap it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], *, timeout: float, every: float = 0.01) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
