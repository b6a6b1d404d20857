"""Timers: each entry measures its own span."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time
from collections import deque
from typing import Any

import pytest

from metlog import timers
from metlog.client import MetlogClient

# How far a busy machine may stretch a span before a test notices; what is asserted below a span is exact.
LONG = 0.05


@pytest.fixture
def precise(captured):
    captured.client.timer_precision = 3
    return captured


def payloads(captured) -> list[float]:
    return [float(message["payload"]) for message in captured.messages()]


def test_a_block_is_measured_in_whole_milliseconds_by_a_client_of_0_10_0(captured):
    with captured.client.timer("t") as timer:
        time.sleep(0.012)
    message = captured.message()
    assert message["type"] == "timer"
    assert message["payload"] == str(timer.result)
    assert isinstance(timer.result, int)
    assert timer.result >= 12
    assert message["fields"] == {"name": "t", "rate": 1.0}


def test_decimals_are_measured_where_the_client_says_so(precise):
    with precise.client.timer("t") as timer:
        pass
    assert isinstance(timer.result, float)
    assert round(timer.result, 3) == timer.result
    assert precise.message()["payload"] == str(timer.result)


def test_nested_timers_of_one_name_measure_their_own_spans(precise):
    with precise.client.timer("t") as outer:
        with precise.client.timer("t") as inner:
            time.sleep(0.01)
        time.sleep(LONG)
    assert outer.result - inner.result >= LONG * 1000
    assert payloads(precise) == [inner.result, outer.result]


def test_one_timer_object_may_be_entered_again_inside_itself(precise):
    timer = precise.client.timer("t")
    with timer:
        time.sleep(LONG)
        with timer:
            pass
        inner = timer.result
        time.sleep(LONG)
    assert timer.result - inner >= 2 * LONG * 1000


def test_a_recursive_function_measures_each_call(precise):
    @precise.client.timer("t")
    def down(depth):
        time.sleep(0.01)
        return down(depth - 1) if depth else "bottom"

    assert down(3) == "bottom"
    measured = payloads(precise)
    assert len(measured) == 4
    assert all(later - earlier >= 10 for earlier, later in zip(measured, measured[1:]))


def test_one_timer_object_measures_each_thread_and_shows_each_its_own_result(precise):
    timer = precise.client.timer("t")
    results = {}
    begun = threading.Barrier(2)

    def work(name, seconds):
        with timer:
            begun.wait()
            time.sleep(seconds)
        results[name] = timer.result

    threads = [threading.Thread(target=work, args=each) for each in (("short", 0.0), ("long", LONG))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results["long"] >= LONG * 1000
    assert sorted(payloads(precise)) == sorted(results.values())
    assert not hasattr(timer, "result")


def test_one_timer_object_measures_each_asyncio_task(precise):
    timer = precise.client.timer("t")

    async def inner(begun, ended):
        await begun.wait()
        with timer:
            pass
        ended.set()

    async def outer(begun, ended):
        # The one that began first ends last, and a while after the other one, however long that took.
        with timer:
            begun.set()
            await ended.wait()
            await asyncio.sleep(LONG)

    async def main():
        begun, ended = asyncio.Event(), asyncio.Event()
        await asyncio.gather(outer(begun, ended), inner(begun, ended))

    asyncio.run(main())
    first, last = payloads(precise)
    assert last - first >= LONG * 1000


def test_spans_that_end_in_another_order_are_measured(precise):
    client = precise.client

    def generator():
        with client.timer("t"):
            yield

    first, second = generator(), generator()
    next(first)
    time.sleep(LONG)
    next(second)
    list(first)
    list(second)
    measured = payloads(precise)
    assert measured[0] >= LONG * 1000


def _span_counts() -> tuple[int, int]:
    """Return how many spans there are that an application cannot see, in all threads and tasks, and how many timers."""
    gc.collect()
    # Of their types, as some objects do things when they are asked for their class.
    kinds = [type(each) for each in gc.get_objects()]
    return kinds.count(timers._Span), sum(issubclass(kind, timers._Timer) for kind in kinds)


@pytest.mark.parametrize("shared", [False, True], ids=["a timer each", "one timer"])
def test_generators_that_are_closed_in_another_thread_leave_nothing_behind(precise, shared):
    timer = precise.client.timer("t")

    @timer
    def decorated():
        yield 1

    def within():
        with timer:
            yield 1

    before = _span_counts()
    waiting: deque[Any] = deque()
    sent = 0
    for _ in range(200):
        # Each is closed while later ones are open.
        generator = within() if shared else decorated()
        next(generator)
        waiting.append(generator)
        if len(waiting) > 4:
            closing = threading.Thread(target=waiting.popleft().close)
            closing.start()
            closing.join()
            sent += 1
    while waiting:
        waiting.popleft().close()
        sent += 1
    # The next span forgets what was ended elsewhere.
    with timer, timer:
        pass
    del generator, closing
    assert len(precise.sender.msgs) == min(sent + 2, 100)
    assert precise.client.stats()["sent"] == sent + 2
    spans, timers_left = _span_counts()
    assert spans - before[0] <= 1
    assert timers_left <= before[1]


def test_a_generator_that_is_closed_in_another_thread_is_measured(precise):
    @precise.client.timer("t")
    def work():
        yield 1

    generator = work()
    next(generator)
    time.sleep(LONG)
    closing = threading.Thread(target=generator.close)
    closing.start()
    closing.join()
    assert payloads(precise)[0] >= LONG * 1000


def test_asynchronous_generators_that_another_task_closes_leave_nothing_behind(precise):
    @precise.client.timer("t")
    async def work():
        yield 1

    async def main():
        before = _span_counts()
        for _ in range(50):
            generator = work()
            await generator.__anext__()
            await asyncio.create_task(generator.aclose())
        del generator
        assert _span_counts() <= before

    asyncio.run(main())
    assert precise.client.stats()["sent"] == 50


def test_an_exception_passes_and_is_measured(captured):
    with pytest.raises(ValueError, match="bad"), captured.client.timer("t"):
        raise ValueError("bad")
    assert len(captured.messages()) == 1


def test_a_decorated_coroutine_function_is_one_and_is_measured_to_its_end(precise):
    @precise.client.timer("t")
    async def work(seconds: float) -> str:
        """Work."""
        await asyncio.sleep(seconds)
        return "done"

    assert inspect.iscoroutinefunction(work)
    assert work.__doc__ == "Work."
    assert str(inspect.signature(work)) == "(seconds: 'float') -> 'str'"
    assert asyncio.run(work(0.02)) == "done"
    assert payloads(precise)[0] >= 19


def test_a_decorated_generator_is_measured_to_its_end(precise):
    @precise.client.timer("t")
    def numbers():
        received = yield 1
        time.sleep(0.02)
        yield received
        return "end"

    assert inspect.isgeneratorfunction(numbers)
    generator = numbers()
    assert next(generator) == 1
    assert precise.messages() == []
    assert generator.send("sent") == "sent"
    with pytest.raises(StopIteration, match="end"):
        next(generator)
    assert payloads(precise)[0] >= 20


def test_a_decorated_asynchronous_generator_is_one_in_every_way(precise):
    closed = []

    @precise.client.timer("t")
    async def numbers():
        try:
            received = yield 1
            try:
                yield received
            except KeyError:
                yield "caught"
        finally:
            closed.append(True)

    assert inspect.isasyncgenfunction(numbers)

    async def main():
        generator = numbers()
        assert await generator.__anext__() == 1
        assert await generator.asend("sent") == "sent"
        assert await generator.athrow(KeyError("x")) == "caught"
        assert precise.messages() == []
        await generator.aclose()
        assert [item async for item in numbers()] == [1, None]

    asyncio.run(main())
    assert closed == [True, True]
    assert len(precise.messages()) == 2


def test_class_and_static_methods_stay_what_they_are(captured):
    class Works:
        @captured.client.timer("c")
        @classmethod
        def on_class(cls):
            return cls

        @captured.client.timer("s")
        @staticmethod
        def static(number):
            return number

        @captured.client.timer("m")
        def method(self):
            return self

    works = Works()
    assert Works.on_class() is works.on_class() is Works
    assert works.static(3) == Works.static(3) == 3
    assert works.method() is works
    assert [message["fields"]["name"] for message in captured.messages()] == ["c", "c", "s", "s", "m"]


def test_a_decorated_function_keeps_what_was_set_on_it(captured):
    def work(number: int) -> int:
        return number

    work.permission = "read"
    decorated = captured.client.timer("t")(work)
    assert decorated.permission == "read"
    assert inspect.getfullargspec(decorated) == inspect.getfullargspec(work)


def test_only_what_can_be_called_can_be_decorated(captured):
    with pytest.raises(ValueError, match="not str"):
        captured.client.timer("t")("text")


def test_a_sample_is_drawn_at_each_call_of_a_decorated_function(captured, monkeypatch):
    draws = iter([0.9, 0.1, 0.9, 0.1, 0.1])
    monkeypatch.setattr("random.random", lambda: next(draws))

    @captured.client.timer("t", rate=0.5)
    def work():
        return 1

    assert [work() for _ in range(4)] == [1, 1, 1, 1]
    assert [message["fields"]["rate"] for message in captured.messages()] == [0.5, 0.5, 0.5]


def test_a_block_that_its_sample_left_out_sends_nothing(captured):
    with captured.client.timer("t", rate=0) as timer:
        pass
    assert timer.result is None
    assert captured.messages() == []
    assert captured.client.stats()["sampled_out"] == 1


@pytest.mark.parametrize("disabled", ["t", "*"])
def test_a_disabled_timer_measures_nothing_and_leaves_functions_alone(captured, disabled):
    client = MetlogClient(captured.sender, "tests", disabled_timers=disabled)

    def work():
        return 1

    assert client.timer("t")(work) is work
    with client.timer("t") as timer:
        pass
    assert timer.result is None
    assert captured.messages() == []


def test_a_timer_that_is_disabled_later_stops_measuring_decorated_functions(captured):
    @captured.client.timer("t")
    def work():
        return 1

    captured.client._disabled_timers.add("t")
    assert work() == 1
    assert captured.messages() == []


def test_a_clock_that_is_set_back_changes_nothing(precise, monkeypatch):
    clock = iter(range(1000, 0, -1))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    with precise.client.timer("t") as timer:
        time.sleep(0.01)
    assert timer.result >= 10
