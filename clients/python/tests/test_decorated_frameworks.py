"""What frameworks look at in a function, they find in a decorated one: routes of FastAPI and tasks of Celery."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import celery
import fastapi
import pytest
from serving import asgi

from metlog.decorators import incr_count, timeit
from metlog.senders import DebugCaptureSender
from metlog_raven.raven_plugin import capture_stack

DECORATORS: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "timer": lambda client: client.timer("t"),
    "timeit": lambda client: timeit,
    "timeit with arguments": lambda client: timeit("t"),
    "incr_count": lambda client: incr_count,
    "incr_count with arguments": lambda client: incr_count("c"),
    "capture_stack": lambda client: capture_stack,
    "all of them": lambda client: lambda fn: timeit(incr_count(client.timer("t")(capture_stack(fn)))),
}

# How many messages a call makes that does not raise.
MESSAGES = {"capture_stack": 0, "all of them": 3}


@pytest.fixture(params=DECORATORS)
def decorated(request: pytest.FixtureRequest, holder: Any) -> tuple[Any, Any, int]:
    """A decorator, its client, and how many messages a call makes."""
    client = holder.get_client("tests")
    client.setup(DebugCaptureSender(), "tests")
    return DECORATORS[request.param](client), client, MESSAGES.get(request.param, 1)


def test_a_route_of_fastapi_keeps_its_parameters(decorated):
    decorator, client, messages = decorated
    app = fastapi.FastAPI()

    @decorator
    def dependency(name: str = "nobody"):
        """A generator, of which FastAPI runs the end after the answer."""
        yield name.upper()

    @app.get("/plain/{number}")
    @decorator
    def plain(number: int, name: str = fastapi.Depends(dependency)) -> dict[str, Any]:
        """Answer."""
        return {"plain": number + 1, "name": name}

    @app.get("/asynchronous/{number}")
    @decorator
    async def asynchronous(number: int) -> dict[str, int]:
        """Answer."""
        return {"asynchronous": number + 1}

    assert asgi(app, "/plain/7") == (200, b'{"plain":8,"name":"NOBODY"}')
    assert asgi(app, "/asynchronous/7") == (200, b'{"asynchronous":8}')
    # An argument that is no number is refused by its annotation.
    assert asgi(app, "/plain/seven")[0] == asgi(app, "/asynchronous/seven")[0] == 422
    operation = app.openapi()["paths"]["/asynchronous/{number}"]["get"]
    assert (operation["summary"], operation["description"]) == ("Asynchronous", "Answer.")
    # The dependency was called again for the request that was refused.
    assert len(client.sender.msgs) >= 3 * messages


def test_a_task_of_celery_keeps_its_name_and_signature(decorated):
    decorator, client, messages = decorated
    app = celery.Celery("tests", set_as_current=False)

    @app.task
    @decorator
    def add(first: int, second: int = 1) -> int:
        """Add."""
        return first + second

    assert add.name == f"{__name__}.add"
    assert add.__doc__ == "Add."
    assert add.apply((1,)).get() == 2
    assert add.apply((1,), {"second": 2}).get() == 3
    assert add(3, 4) == 7
    # Another test may have connected the signals of Celery, which send messages of their own.
    names = [json.loads(text)["fields"]["name"] for text in client.sender.msgs]
    assert len([name for name in names if name in ("t", "c", add.name)]) == 3 * messages


def test_a_bound_task_of_celery_gets_itself(decorated):
    decorator, _, _ = decorated
    app = celery.Celery("tests", set_as_current=False)

    @app.task(bind=True)
    @decorator
    def whoami(self, number: int) -> str:
        return f"{self.name}-{number}"

    assert whoami.apply((7,)).get() == f"{__name__}.whoami-7"


def test_a_task_of_celery_refuses_arguments_that_its_function_does_not_have(decorated):
    decorator, _, _ = decorated
    app = celery.Celery("tests", set_as_current=False, broker="memory://")

    @app.task
    @decorator
    def add(first: int, second: int) -> int:
        return first + second

    with pytest.raises(TypeError):
        add.delay(1)
