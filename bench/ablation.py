"""An ablation study: the service without one device for speed, beside the service as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from statistics import fmean, median

from bench import data, servers, traffic
from bench.client import Job
from bench.lookup import CONNECTIONS
from bench.measure import Figures
from bench.population import Population
from bench.receive import Source
from bench.report import Mark, Section
from bench.send import DELAY, FEW, MANY, behave
from bench.servers import Server
from bench.stage import SMALL, Stage, name_of
from bench.turns import TURNS, WARM_UP, Contender, Contest, in_turns

AT_A_TIME = 12
"""Devices whose servers run at the same time, beside two servers with all devices."""
FASTEST = 20_000
"""Receipts a second for which each server has messages; a faster server would run out of them."""
WORTH = 0.05
"""Share of its journey's cost from which on what a device brings is shown in bold: with less, it
needs another reason to stay."""


@dataclass(frozen=True, slots=True)
class Device:
    """``name`` is that of its function in `bench.plain`. ``lines``: those that would go with it,
    counted where it first appears.
    """

    name: str
    journey: str
    what: str
    lines: int


DEVICES = (
    Device("complete_requests", "receipt", "complete requests answered in the connection", 180),
    Device("quiet_iterations", "receipt", "a wait for quiet before a batch", 22),
    Device("second_writer", "receipt", "a second batch beside the first", 25),
    Device("min_concurrent", "receipt", "a second batch only of 32 receipts or more", 6),
    Device("remembered_meanings", "receipt", "remembered meanings of receipts", 15),
    Device("of_each_one", "receipt", "a form of RECEIVE without repeated ids", 45),
    Device("alone", "receipt", "RECEIVE alone as a transaction", 15),
    Device("receipts_directly", "receipt", "asyncpg instead of SQLAlchemy", 20),
    Device("reset_query", "receipt", "no reset query at a release", 8),
    Device("small_ones", "receipt", "asyncpg's UUIDs, raw_decode", 26),
    Device("rare_collections", "receipt", "rarer garbage collections", 5),
    Device("frozen_garbage", "receipt", "frozen garbage", 12),
    Device("journal", "receipt", "the journal, which is no device: what it costs", 0),
    Device("metrics_and_logs", "receipt", "metrics and logs, which are no devices", 0),
    Device("lines_of_steps", "receipt", "lines of steps in the log, no device", 0),
    Device("accept", "send", "ACCEPT in one statement", 60),
    Device("sends_directly", "send", "asyncpg instead of SQLAlchemy", 20),
    Device("second_writer", "send", "a second batch beside one that hangs", 0),
    Device("trusted_keys", "send", "keys trusted for 50 ms", 18),
    Device("remembered_numbers", "send", "remembered phone numbers", 5),
    Device("grouped_keys", "send", "keys found in groups", 12),
    Device("reset_query", "send", "no reset query at a release", 0),
    Device("rare_collections", "send", "rarer garbage collections", 0),
    Device("frozen_garbage", "send", "frozen garbage", 0),
    Device("journal", "send", "the journal", 0),
    Device("observed", "send", "requests counted, timed and named, no device", 0),
    Device("lines_of_steps", "send", "lines of steps in the log", 0),
    Device("observed", "lookup", "requests counted, timed and named", 0),
    Device("grouped_lookups", "lookup", "lookups in groups", 15),
    Device("quiet_iterations", "lookup", "a wait for quiet before a batch", 0),
    Device("grouped_keys", "lookup", "keys found in groups", 0),
    Device("trusted_keys", "lookup", "keys trusted for 50 ms", 0),
    Device("compiled_lookups", "lookup", "asyncpg instead of SQLAlchemy", 45),
    Device("reset_query", "lookup", "no reset query at a release", 0),
    Device("rare_collections", "lookup", "rarer garbage collections", 0),
    Device("frozen_garbage", "lookup", "frozen garbage", 0),
)

WATCHING = ("metrics_and_logs", "lines_of_steps")
DEAREST = 0.1
"""Of a receipt's CPU: what metrics and logs cost at most."""

NOTE = (
    "Each device for speed, switched off by itself: a server of its own in which `bench/plain.py` "
    "does it the plain way, in turns with two of the service as it is, {turns} turns of "
    "{seconds:g} s. More is how much more its journey costs without it, the median of the turns' "
    "ratios: CPU of service and PostgreSQL together, of the service alone, and the time of a "
    "median and of a slow response. Receipts and lookups come over {connections} connections as "
    "fast as they are answered, sends from {many} callers for the CPU and from {few} for the "
    "times. Lines are those that would go with the device. What brings 5 % or more of its journey "
    "is in bold."
)


def of_receipts(stage: Stage) -> Section:
    """The devices of a receipt's journey."""
    return _section(stage, "receipt", _receipts)


def of_sends(stage: Stage) -> Section:
    """Those of a send's."""
    return _section(stage, "send", _sends)


def of_lookups(stage: Stage) -> Section:
    """Those of a lookup's."""
    return _section(stage, "lookup", _lookups)


def of_watching(stage: Stage) -> Section:
    """What metrics and logs cost a receipt.

    Each round has servers of its own: of the same program one process is faster than another, by
    more than what is measured here.
    """
    devices = [one for one in DEVICES if one.journey == "receipt" and one.name in WATCHING]
    contests = [_receipts(replace(stage, rounds=1), devices) for _ in range(stage.rounds)]
    together = Contest(
        {name: [turn for one in contests for turn in one.turns[name]] for name in _names(devices)}
    )
    section = _described(stage, "What metrics and logs cost a receipt")
    section.rows = [*(_row(each, together) for each in devices), _noise(together, "receipt")]
    share = -_more(devices[0], together, lambda one: one.cpu)
    section.marks = [
        Mark("CPU of a receipt, for metrics and logs", share * 100, DEAREST * 100, unit="%")
    ]
    return section


def _section(
    stage: Stage, journey: str, run: Callable[[Stage, Sequence[Device]], Contest]
) -> Section:
    rows: list[list[str]] = []
    for some in _groups([each for each in DEVICES if each.journey == journey]):
        stage.say(f"without {', '.join(each.name for each in some)}")
        contest = run(stage, some)
        rows += [*(_row(each, contest) for each in some), _noise(contest, journey)]
    section = _described(stage, f"Devices on the way of a {journey}")
    section.rows = rows
    return section


def _described(stage: Stage, title: str) -> Section:
    return Section(
        title=title,
        note=NOTE.format(
            turns=stage.rounds * TURNS,
            seconds=stage.seconds / TURNS,
            connections=CONNECTIONS,
            many=MANY,
            few=FEW,
        ),
        columns=("without", "lines", "more CPU", "of the service", "more p50", "more p99"),
    )


def _groups(devices: Sequence[Device]) -> Iterator[list[Device]]:
    rest = iter(devices)
    while some := list(islice(rest, AT_A_TIME)):
        yield some


def _without(
    url: str, extra: dict[str, str] | None = None, *, args: Sequence[str] = ()
) -> Callable[[str], Server]:
    def start(name: str) -> Server:
        without = None if name == "service" else name
        return servers.serve(url, extra=extra, args=args, without=without)

    return start


def _names(devices: Sequence[Device]) -> list[str]:
    """Two servers with all devices: of the same program one process is faster than another."""
    return ["service", *(each.name for each in devices), "nothing"]


def _receipts(stage: Stage, devices: Sequence[Device]) -> Contest:
    database = stage.migrated_database()
    names = _names(devices)
    turns = stage.rounds * TURNS
    seconds = (stage.rounds * stage.seconds + WARM_UP) * len(names)
    source = Source.of_newest(int(seconds * FASTEST / 2) + (turns + 1) * len(names) * 1024)
    data.submit_all(stage.postgres, database, source.first, source.known or 0)
    # Of what is no receipt's work, such as roll-ups, the first server would do all, for the others.
    start = _without(stage.postgres.url(database), args=["--no-workers"])

    def contender(server: Server) -> Contender:
        return Contender(server, lambda seconds: source.job(server.port, seconds), source.sent)

    contest = in_turns(stage, {name: contender(start(name)) for name in names})
    stored = int(stage.postgres.execute("select count(*) from receipts", database=database))
    if stored != source.answered:
        raise RuntimeError(f"{stored} receipts stored, but {source.answered} were answered 200")
    stage.postgres.drop_database(database)
    return contest


def _sends(stage: Stage, devices: Sequence[Device]) -> Contest:
    database = name_of(stage.postgres.create_database(template=stage.populated(SMALL).database))
    url = stage.postgres.url(database)
    key = servers.dlr(["keys", "create", traffic.APP, "--scope", "send"], url)
    iovox = servers.simulator()
    behave(iovox)
    settings = {
        "DLR_IOVOX_URL": f"http://127.0.0.1:{iovox.port}",
        "DLR_IOVOX_MAX_CONNECTIONS": str(MANY),
    }
    start = _without(url, settings)
    options = {"first": 0, "count": 10**6, "key": key}
    contenders = {}
    for name in _names(devices):
        server = start(name)
        for callers, load in ((MANY, name), (FEW, f"{name}, few")):
            contenders[load] = _sending(server, options, callers)
    with iovox.process:
        contest = in_turns(stage, contenders)
    stage.postgres.drop_database(database)
    return contest


def _sending(server: Server, options: dict[str, object], callers: int) -> Contender:
    def job(seconds: float) -> Job:
        return Job(server.port, "sends", options, seconds, callers, spread=DELAY)

    return Contender(server, job, status=201)


def _lookups(stage: Stage, devices: Sequence[Device]) -> Contest:
    population = stage.populated(SMALL)
    start = _without(stage.postgres.url(population.database))
    return in_turns(stage, {name: _looking_up(start(name), population) for name in _names(devices)})


def _looking_up(server: Server, population: Population) -> Contender:
    options = {"first": population.known, "count": population.messages, "key": population.key}
    return Contender(
        server, lambda seconds: Job(server.port, "lookups", options, seconds, CONNECTIONS)
    )


def _row(device: Device, contest: Contest) -> list[str]:
    few = ", few" if device.journey == "send" else ""
    more = partial(_more, device, contest)
    cpu, p50 = more(lambda one: one.cpu), more(lambda one: one.p50, few)
    cells = [cpu, more(lambda one: one.service_cpu), p50, more(lambda one: one.p99, few)]
    what = f"**{device.what}**" if max(cpu, p50) >= WORTH else device.what
    return [what, str(device.lines or ""), *(f"{cell:+.1%}" for cell in cells)]


def _more(
    device: Device, contest: Contest, figure: Callable[[Figures], float], load: str = ""
) -> float:
    names = (device.name, "service", "nothing")
    turns = zip(*(contest.turns[f"{name}{load}"] for name in names), strict=True)
    return median(
        figure(without) / fmean((figure(one), figure(another))) - 1
        for without, one, another in turns
    )


def _noise(contest: Contest, journey: str) -> list[str]:
    """How much two servers of the same program differ."""
    few = ", few" if journey == "send" else ""

    def apart(figure: Callable[[Figures], float], load: str = "") -> float:
        return contest.of_pairs(
            f"nothing{load}", f"service{load}", lambda one, other: figure(one) / figure(other) - 1
        )

    cells = [
        apart(lambda one: one.cpu),
        apart(lambda one: one.service_cpu),
        apart(lambda one: one.p50, few),
        apart(lambda one: one.p99, few),
    ]
    return ["nothing: two servers of the same program", "", *(f"{cell:+.1%}" for cell in cells)]
