"""Flask: one line watches over an application.

    metlog.flask.init_app(app)

It counts and times every request by its rule, reports exceptions, and binds the names of trace and request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, got_request_exception, request, request_started

from metlog import wsgi

if TYPE_CHECKING:
    from metlog.client import MetlogClient

_EXTENSION = "metlog"


def init_app(app: Flask, client: MetlogClient | None = None) -> None:
    """Watch over an application. A second call for the same one changes nothing.

    :param client: what sends; by default the default client of ``CLIENT_HOLDER``, looked up for each request.
    """
    if _EXTENSION in app.extensions:
        return
    middleware = wsgi.Middleware(app.wsgi_app, client)
    app.extensions[_EXTENSION] = middleware
    app.wsgi_app = middleware  # type: ignore[method-assign]
    request_started.connect(_note_the_rule, app)
    got_request_exception.connect(_report, app)


def _note_the_rule(_: Any, **__: Any) -> None:
    # Afterwards Flask takes the request out of reach.
    if request.url_rule is not None:
        request.environ[wsgi.ROUTE] = request.url_rule.rule


def _report(_: Any, exception: Exception, **__: Any) -> None:
    watched = request.environ.get(wsgi.REQUEST)
    if watched is not None:
        watched.route = request.environ.get(wsgi.ROUTE)
        # Flask logs it too, unless it is to let it pass (PROPAGATE_EXCEPTIONS, TESTING).
        watched.failed(exception, is_logged=True)
