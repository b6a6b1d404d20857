"""Middleware for ASGI: counts and times every request, reports exceptions, binds the names of trace and request.

    application = metlog.asgi.Middleware(application)       # or app.add_middleware(metlog.asgi.Middleware)

Servers end their processes in ways of their own (uvicorn by the signal that it got), in which no exit function of
Python runs. So what waits is sent when the application's lifespan ends.

A route's template comes from FastAPI or Starlette. Another framework says it in ``scope["metlog.route"]``, or by a
function.
"""

from __future__ import annotations

from collections.abc import Awaitable, MutableMapping
from typing import TYPE_CHECKING, Any, Callable

from metlog import _exit, _web

if TYPE_CHECKING:
    from metlog.client import MetlogClient

ROUTE = "metlog.route"
"""The key of ``scope`` in which an application says its route's template."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Mounts inside mounts; nobody has more.
_DEEPEST_MOUNT = 8
_FULL_MATCH = 2

# What an application says when its lifespan is over.
_ENDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


class Middleware:
    """An ASGI application that watches over another one."""

    def __init__(
        self,
        app: Application,
        client: MetlogClient | None = None,
        route: Callable[[Scope], str | None] | None = None,
    ) -> None:
        """Put itself in front of an application.

        :param client: what sends; by default the default client of ``CLIENT_HOLDER``, looked up for each request.
        :param route: says a request's route when it is over, from its ``scope``: a template such as
            ``/users/{id}``, and None where none matched.
        """
        self.app = app
        self.client = client
        self.route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and notice the end; a connection that is neither passes through."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._flushing(send))
            return
        client = _web.client_for(self.client) if scope["type"] == "http" else None
        if client is None:
            await self.app(scope, receive, send)
            return
        traceparent, request_id = _headers(scope)
        request = _web.Request(client, scope.get("method", ""), traceparent, request_id)
        place = scope.get("path", ""), scope.get("root_path", "")
        outermost = scope.get("app") or self.app

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                request.status = message["status"]
            await send(message)

        raised: BaseException | None = None
        try:
            await self.app(scope, receive, sending)
        except BaseException as exception:
            raised = exception
            raise
        finally:
            try:
                request.route = (self.route or _Template(outermost, *place))(scope)
            except Exception as error:
                _web.complain("a route was not found: %r", error)
            if raised is not None:
                request.ended_by(raised)
            request.over()

    def _flushing(self, send: Send) -> Send:
        async def sending(message: MutableMapping[str, Any]) -> None:
            client = _web.client_for(self.client) if message["type"] in _ENDS else None
            if client is not None:
                # Nobody is served any more, so nobody waits but whoever ends the application. It need not be the end of
                # the process, which has its own bound.
                try:
                    client.flush(_exit.TIMEOUT)
                except Exception as error:
                    _web.complain("what waits was not sent: %r", error)
            await send(message)

        return sending


def _headers(scope: Scope) -> tuple[str | None, str | None]:
    traceparent = request_id = None
    for name, value in scope.get("headers", ()):
        if name == b"traceparent":
            traceparent = value.decode("latin-1")
        elif name == b"x-request-id":
            request_id = value.decode("latin-1")
    return traceparent, request_id


class _Template:
    """Finds the template of the route that served a request in what the router left in its scope."""

    def __init__(self, app: Any, path: str, root_path: str) -> None:
        self._app = app
        self._path = path
        self._root_path = root_path

    def __call__(self, scope: Scope) -> str | None:
        said = scope.get(ROUTE)
        if isinstance(said, str):
            return said
        # A router that FastAPI includes has its prefix there.
        included = scope.get("fastapi")
        route = included.get("effective_route_context") if isinstance(included, dict) else None
        route = route or scope.get("route")
        if route is None and "endpoint" not in scope:
            return None
        if route is not None and scope.get("root_path", "") == self._root_path:
            return _template(route)
        return self._asked_again(scope, route)

    def _asked_again(self, scope: Scope, route: Any) -> str | None:
        """Return the templates of the mounts above the route, and its own.

        The router leaves only the path of mounts, in which values stand for parameters, and one of an older Starlette
        does not leave the route either. So the routes are asked again.
        """
        known = {"path": self._path, "root_path": self._root_path, "path_params": {}}
        scope = {key: value for key, value in scope.items() if key not in ("fastapi", "route", "endpoint")}
        scope.update(known)
        prefix, app = "", self._app
        for _ in range(_DEEPEST_MOUNT):
            found, below = _match(app, scope)
            if found is None:
                return None
            if not _is_mount(found):
                template = _template(found if route is None else route)
                return None if template is None else prefix + template
            prefix += found.path_format.removesuffix("/{path}")
            scope.update(below)
            app = found.app
        return None


def _match(app: Any, scope: Scope) -> tuple[Any, Scope]:
    """Return the route that an application takes, as its router does: one for another method if there is no other."""
    partial: tuple[Any, Scope] = (None, {})
    for route in getattr(app, "routes", ()):
        match, below = route.matches(scope)
        if match.value == _FULL_MATCH:
            return route, below
        if match.value and partial[0] is None:
            partial = route, below
    return partial


def _is_mount(route: Any) -> bool:
    return hasattr(route, "app") and hasattr(route, "routes") and hasattr(route, "path_format")


def _template(route: Any) -> str | None:
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    return template if isinstance(template, str) else None
