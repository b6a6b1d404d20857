"""From the standard library's logging to a client, as in 0.10.0.

`metlog.init` and `metlog.handler` do more: they format records, and keep what records carry.
"""

from __future__ import annotations

import logging

from metlog import _diagnostics, _reentry
from metlog._severity import SEVERITY
from metlog.client import MetlogClient

_SEVERITIES = {
    logging.DEBUG: SEVERITY.DEBUG,
    logging.INFO: SEVERITY.INFORMATIONAL,
    logging.WARNING: SEVERITY.WARNING,
    logging.ERROR: SEVERITY.ERROR,
}


class MetlogHandler(logging.Handler):
    """Sends each record's message, as it was written and without its arguments, as a log line.

    A level that is none of the standard ones becomes critical.
    """

    def __init__(self, metlog_client: MetlogClient) -> None:
        """Make a handler.

        :param metlog_client: Sends the log lines.
        """
        super().__init__()
        self.metlog_client = metlog_client

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        if _reentry.is_inside() or record.name == _diagnostics.LOGGER_NAME:
            return
        outside = _reentry.enter()
        try:
            severity = _SEVERITIES.get(record.levelno, SEVERITY.CRITICAL)
            self.metlog_client.metlog(type="oldstyle", severity=severity, payload=record.msg)
            _reentry.note_sender(self.metlog_client)
        except Exception:
            self.handleError(record)
        finally:
            _reentry.leave(outside)


def hook_logger(logger_name: str | None, client: MetlogClient) -> None:
    """Send the records of a logger, and of those below it, through a client. Doing so twice is harmless.

    :param logger_name: The logger's name; empty for the root logger.
    :param client: Sends the log lines.
    """
    logger = logging.getLogger(logger_name)
    if not any(isinstance(handler, MetlogHandler) and handler.metlog_client is client for handler in logger.handlers):
        logger.addHandler(MetlogHandler(client))
