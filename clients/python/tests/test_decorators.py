"""``@timeit``, ``@incr_count``, and decorators of one's own."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import time

import pytest

from metlog.decorators import MetlogDecorator, incr_count, timeit
from metlog.senders import DebugCaptureSender


@pytest.fixture
def client(holder):
    """The default client."""
    client = holder.get_client("tests")
    client.setup(DebugCaptureSender(), "tests")
    return client


def sent(client):
    return [json.loads(text) for text in client.sender.msgs]


def names(client):
    return [(message["type"], message["fields"]["name"]) for message in sent(client)]


@timeit
def decorated_at_import(number: int) -> int:
    """Double."""
    return number * 2


def test_a_decorated_function_keeps_its_name_signature_and_documentation():
    assert decorated_at_import.__name__ == "decorated_at_import"
    assert decorated_at_import.__module__ == __name__
    assert decorated_at_import.__doc__ == "Double."
    assert str(inspect.signature(decorated_at_import)) == "(number: 'int') -> 'int'"
    assert isinstance(decorated_at_import, timeit)


def test_without_a_client_a_function_works_and_the_decision_waits(holder):
    @incr_count
    def work():
        return 1

    assert work() == 1
    client = holder.get_client("tests")
    client.setup(DebugCaptureSender(), "tests")
    assert work() == 1
    assert names(client) == [("counter", f"{__name__}.work")]


def test_decorators_may_stand_on_one_another(client):
    @incr_count
    @timeit
    def work():
        return 1

    assert work() == 1
    assert names(client) == [("timer", f"{__name__}.work"), ("counter", f"{__name__}.work")]
    assert {each[0] for each in work._metlog_decorators} == {incr_count, timeit}


def test_arguments_are_those_of_the_clients_call(client):
    @incr_count("hits", 5, logger="other", fields={"page": "/"})
    def work():
        return 1

    work()
    (message,) = sent(client)
    assert (message["logger"], message["payload"], message["fields"]) == (
        "other", "5", {"page": "/", "name": "hits", "rate": 1.0},
    )  # fmt: skip


def test_one_decorator_may_decorate_several_functions(client):
    counted = incr_count("hits")
    first, second = counted(lambda: 1), counted(lambda: 2)
    assert (first(), second()) == (1, 2)
    assert len(sent(client)) == 2


def test_arguments_may_be_anything(client):
    @timeit(name="t", fields={"when": time.localtime, "what": {1, 2}})
    def work():
        return 1

    assert work() == 1
    assert len(sent(client)) == 1


def test_a_call_that_raises_is_counted(client):
    @incr_count
    def work():
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        work()
    assert len(sent(client)) == 1


@pytest.mark.parametrize("decorator", [timeit, incr_count, timeit("n"), incr_count("n")])
def test_functions_of_every_kind_stay_of_their_kind(client, decorator):
    @decorator
    async def coroutine(a: int):
        return a

    @decorator
    def generator():
        received = yield 1
        yield received

    @decorator
    async def asynchronous_generator():
        yield 1

    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(asynchronous_generator)
    assert str(inspect.signature(coroutine)) == "(a: 'int')"

    async def main():
        return await coroutine(7), [item async for item in asynchronous_generator()]

    assert asyncio.run(main()) == (7, [1])
    assert list(generator()) == [1, None]
    assert len(sent(client)) == 3


def test_methods_of_every_kind_work_in_either_order(client):
    class Works:
        @timeit
        def method(self, number):
            return self, number

        @timeit
        async def asynchronous(self):
            return self

        @timeit
        @classmethod
        def outside(cls):
            return cls

        @classmethod
        @timeit
        def inside(cls):
            return cls

        @timeit
        @staticmethod
        def static(number):
            return number

        @timeit("named")
        @staticmethod
        def named(number):
            return number

    works = Works()
    assert works.method(1) == (works, 1)
    assert works.method.__name__ == "method"
    assert asyncio.run(works.asynchronous()) is works
    assert Works.outside() is Works.inside() is works.outside() is works.inside() is Works
    assert works.static(3) == Works.static(3) == works.named(3) == 3
    assert len(sent(client)) == 9


def test_a_decorator_is_turned_off_by_its_name(client, holder):
    for disabled in ("timeit", ["timeit", "other"]):
        holder.global_config["disabled_decorators"] = disabled

        @timeit
        def work():
            return 1

        @incr_count
        def counted():
            return 1

        work()
        counted()
    assert [kind for kind, _ in names(client)] == ["counter", "counter"]


def test_a_name_in_disabled_decorators_is_the_whole_name(client, holder):
    holder.global_config["disabled_decorators"] = "timeit_more"

    @timeit
    def work():
        return 1

    work()
    assert len(sent(client)) == 1


def test_a_function_that_is_partly_called_has_the_name_of_what_it_calls(client):
    def work(number):
        return number

    for decorator in (timeit, incr_count):
        assert decorator(functools.partial(work, 7))() == 7
    name = f"{work.__module__}.work"
    assert names(client) == [("timer", name), ("counter", name)]
    client._disabled_timers = {"work", "other"}
    timeit(functools.partial(work, 7))()
    timeit(name="other")(work)(7)
    assert len(sent(client)) == 2


def test_a_disabled_timer_is_not_sent(client):
    client._disabled_timers = {"slow"}

    @timeit("slow")
    def work():
        return 1

    work()
    assert sent(client) == []


def test_a_decorator_has_the_client_it_names(client, holder):
    other = holder.get_client("other")
    other.setup(DebugCaptureSender(), "other")

    @incr_count(client_name="other")
    def by_name():
        return 1

    @incr_count(client=other)
    def by_object():
        return 1

    by_name()
    by_object()
    assert len(sent(other)) == 2
    assert sent(client) == []


def test_a_decorator_of_ones_own_may_override_the_call(client):
    class twice(MetlogDecorator):
        def metlog_call(self, *args, **kwargs):
            self.client.incr("twice")
            return self._fn(*args, **kwargs) * 2

    @twice
    def work(number):
        return number

    assert work(3) == work(3) == 6
    assert isinstance(work, twice)
    assert len(sent(client)) == 2


def test_a_decorator_of_ones_own_may_override_the_call_of_coroutine_functions(client):
    class counted(MetlogDecorator):
        async def metlog_call(self, *args, **kwargs):
            self.client.incr("begun")
            return await self._fn(*args, **kwargs)

    @counted
    async def work(number):
        return number

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(work(3)) == 3
    assert work.metlog_decorator.decorator_name == "counted"
    assert len(sent(client)) == 1


def test_wrong_arguments_are_told_when_the_function_is_called(client):
    @timeit(no_such=1)
    def work():
        return 1

    with pytest.raises(TypeError):
        work()
