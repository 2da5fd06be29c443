"""How often a caller may fail, and that many callers are remembered and no more."""

from app.parts import throttle
from app.parts.throttle import Throttle


class World:
    def __init__(self, per_minute: int) -> None:
        self.now = 0.0
        self.throttle = Throttle(per_minute, clock=lambda: self.now)


def test_each_caller_has_its_own_measure() -> None:
    world = World(3)
    for _ in range(3):
        assert world.throttle.wait("one") == 0
        world.throttle.failed("one")
    assert world.throttle.wait("one") == 20
    assert world.throttle.wait("two") == 0


def test_time_gives_it_back_and_no_more_than_that() -> None:
    world = World(3)
    for _ in range(10):
        world.throttle.failed("one")
    world.now = 19.9
    assert world.throttle.wait("one") == 1
    world.now = 20.1
    assert world.throttle.wait("one") == 0
    world.now = 3_600.0
    for _ in range(3):
        world.throttle.failed("one")
    assert world.throttle.wait("one") == 20


def test_as_many_as_there_is_room_for_are_remembered() -> None:
    world = World(1)
    for number in range(throttle.CAPACITY + 10):
        world.throttle.failed(number)
    assert len(world.throttle._buckets) == throttle.CAPACITY
    assert world.throttle.wait(0) == 0
    assert world.throttle.wait(throttle.CAPACITY) == 60
