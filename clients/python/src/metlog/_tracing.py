"""The names under which what happens in several places is known as one: trace, span and request.

They come from W3C's ``traceparent`` and from ``X-Request-ID`` at a service's door, from what the application has
bound, and from OpenTelemetry where the application uses it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metlog import _bound

if TYPE_CHECKING:
    from metlog.client import MetlogClient

# OpenTelemetry's module; an application that has not imported it has no span.
MODULE = "opentelemetry.trace"

TRACE_ID = "trace_id"
SPAN_ID = "span_id"
REQUEST_ID = "request_id"

NAMES = (TRACE_ID, SPAN_ID, REQUEST_ID)
"""The fields in which they travel."""

# Version, trace, parent span, flags; versions to come may add more behind these.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.{0,200})?"
)
# What comes from outside goes into every message of the request: it is short and cannot be mistaken for anything else.
_REQUEST_ID = re.compile(r"[\w.:+/=@-]{1,128}", re.ASCII)


def from_headers(traceparent: str | None, request_id: str | None) -> dict[str, str]:
    """Return the names that a request brings along, and a request_id of its own where it brings none."""
    names: dict[str, str] = {}
    match = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
    if match and (match.group(1) != "00" or match.group(4) is None):
        names[TRACE_ID], names[SPAN_ID] = match.group(2), match.group(3)
    request_id = request_id.strip() if request_id else ""
    names[REQUEST_ID] = request_id if _REQUEST_ID.fullmatch(request_id) else os.urandom(8).hex()
    return names


def to_header(names: Mapping[str, Any]) -> str | None:
    """Return the ``traceparent`` that passes these names on, or None where there is no trace."""
    trace_id, span_id = names.get(TRACE_ID), names.get(SPAN_ID)
    if not isinstance(trace_id, str):
        return None
    header = f"00-{trace_id}-{span_id or os.urandom(8).hex()}-01"
    return header if _TRACEPARENT.fullmatch(header) else None


def current(client: MetlogClient) -> dict[str, Any]:
    """Return the names that hold here: those that are bound to a client, and the nearer ones of OpenTelemetry."""
    fields = _bound.current(client._key)
    names = {name: fields[name] for name in NAMES if name in fields}
    names.update(from_open_telemetry())
    return names


def from_open_telemetry() -> dict[str, str]:
    """Return the names of OpenTelemetry's current span; nothing where the application has not imported it."""
    trace = sys.modules.get(MODULE)
    if trace is None:
        return {}
    try:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {TRACE_ID: f"{context.trace_id:032x}", SPAN_ID: f"{context.span_id:016x}"}
    except Exception:
        # Another version of it, or one that is only half imported.
        return {}
