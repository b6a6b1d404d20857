"""The plug-in behind ``client.cef``: an event of an application's security becomes a message of type ``cef``.

Its settings say how a syslog endpoint passes the event on; they travel in ``fields.cef_meta``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Callable

from metlog_cef import line

METLOG_METHOD_NAME = "cef"
"""The name of the client's method."""

VALID_FACILITY = (
    "KERN", "USER", "MAIL", "DAEMON", "AUTH", "LPR", "NEWS", "UUCP", "CRON",
    "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7",
)  # fmt: skip
"""What ``syslog_facility`` may be."""

VALID_PRIORITY = ("EMERG", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG")
"""What ``syslog_priority`` may be."""

VALID_OPTIONS = ("PID", "CONS", "NDELAY", "NOWAIT", "LOG_PERROR")
"""What ``syslog_options`` may list, separated by commas."""

# The keys that each line has, and the argument that overrides each.
_STANDARD_EXTENSIONS = {
    "cs1Label": "cs1Label",
    "cs1": "user_agent",
    "requestMethod": "method",
    "request": "url",
    "src": "source",
    "dhost": "dest",
    "suser": "suser",
}
_HEADER = ("version", "vendor", "product", "device_version", "signature", "name", "severity")

logger: logging.Logger = logging.getLogger("metlog.internal")


class InvalidArgumentError(RuntimeError):
    """The plug-in was given a setting that it does not have, or a value that the setting cannot take."""


def check_config(
    syslog_options: str | None = None,
    syslog_facility: str | None = None,
    syslog_ident: str | None = None,
    syslog_priority: str | None = None,
) -> None:
    """Raise InvalidArgumentError unless syslog knows all of these."""
    if syslog_options:
        named = syslog_options.split(",") if isinstance(syslog_options, str) else [syslog_options]
        for option in named:
            _must_be_one_of("syslog_options", option, VALID_OPTIONS)
    if syslog_facility:
        _must_be_one_of("syslog_facility", syslog_facility, VALID_FACILITY)
    if syslog_ident and not isinstance(syslog_ident, str):
        raise InvalidArgumentError(f"syslog_ident is {syslog_ident!r}, but must be text")
    if syslog_priority:
        _must_be_one_of("syslog_priority", syslog_priority, VALID_PRIORITY)


def _must_be_one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if (value.strip() if isinstance(value, str) else value) not in known:
        raise InvalidArgumentError(f"{name} names {value!r}, but knows only {', '.join(known)}")


def config_plugin(config: dict[str, Any]) -> Callable[..., str]:
    """Make the method ``cef`` from the settings of its section.

    :param config: ``syslog_options``, ``syslog_facility``, ``syslog_ident`` and ``syslog_priority``, each optional.
    :raises InvalidArgumentError: for a value that syslog does not know, or a setting that does not exist.
    """
    names = ("syslog_options", "syslog_facility", "syslog_ident", "syslog_priority")
    cef_meta = {name: config.pop(name, None) for name in names}
    if config:
        raise InvalidArgumentError(f"unknown settings: {', '.join(map(str, config))}; there are {', '.join(names)}")
    check_config(**cef_meta)

    def cef(
        self: Any,
        name: str,
        severity: int,
        environ: Mapping[str, Any],
        config: Mapping[str, Any],
        username: str = "none",
        signature: str | None = None,
        **kw: Any,
    ) -> str:
        """Send a security event and return it as a CEF line.

        :param name: what happened, for people.
        :param severity: 0 (least) to 10 (most important).
        :param environ: the request's WSGI environment: who asked for what, with which agent.
        :param config: the application's settings: ``cef.version``, ``cef.vendor``, ``cef.product`` and
            ``cef.device_version``.
        :param username: who it was.
        :param signature: what kind of event it is, for machines; by default the name.
        :param kw: more keys and values of the extension. What would make the line longer than 1024 bytes is left out.
        """
        text = _cef_line(self.hostname, name, severity, environ, config, username, signature, kw)
        self.metlog(type="cef", payload=text, fields={"cef_meta": dict(cef_meta)})
        return text

    cef.metlog_name = METLOG_METHOD_NAME  # type: ignore[attr-defined]
    cef.cef_meta = cef_meta  # type: ignore[attr-defined]
    return cef


def _cef_line(
    host: str,
    name: str,
    severity: object,
    environ: Mapping[str, Any],
    config: Mapping[str, Any],
    username: str,
    signature: str | None,
    more: dict[str, Any],
) -> str:
    environ = line.mapping(environ, "environ")
    values: dict[str, Any] = {
        "date": line.date(),
        "host": host,
        "version": 0,
        "vendor": line.NOT_KNOWN,
        "product": line.NOT_KNOWN,
        "device_version": line.NOT_KNOWN,
        **line.settings(line.mapping(config, "config")),
        "signature": name if signature is None else signature,
        "name": name,
        "severity": severity,
        "cs1Label": "requestClientApplication",
        "user_agent": line.from_environ(environ, "HTTP_USER_AGENT", line.NOT_KNOWN),
        "method": line.from_environ(environ, "REQUEST_METHOD"),
        "url": line.from_environ(environ, "PATH_INFO"),
        "source": line.source_address(environ),
        "dest": line.from_environ(environ, "HTTP_HOST", line.NOT_KNOWN),
        "suser": username,
    }
    more = _with_legal_keys(more)
    # The application's word goes over what was found, under the key of the line as well as under the argument's.
    values.update(more)
    standard = {key: more.get(key, values[argument]) for key, argument in _STANDARD_EXTENSIONS.items()}
    text = f"{line.header(values['date'])} {line.header(values['host'])} CEF:"
    text += "|".join(line.header(values[field]) for field in _HEADER) + "|"
    text += " ".join(f"{key}={line.extension(value)}" for key, value in standard.items())
    return _with_extensions(text, {key: value for key, value in more.items() if key not in standard})


def _with_legal_keys(more: dict[str, Any]) -> dict[str, Any]:
    legal = {}
    for name, value in more.items():
        key = line.key(name)
        if key != name:
            logger.warning(f'The "{name}" key contains illegal characters')
        legal[key] = value
    return legal


def _with_extensions(text: str, more: dict[str, Any]) -> str:
    """Add the shortest first, so that as many as possible find room."""
    pairs = [f" {key}={line.extension(value)}" for key, value in more.items()]
    pairs.sort(key=_bytes)
    room = line.LONGEST_LINE_BYTES - _bytes(text)
    for number, pair in enumerate(pairs):
        room -= _bytes(pair)
        if room < 0:
            # The names alone: what the values say belongs to those who read security events.
            left_out = ", ".join(pair[1:].split("=", 1)[0] for pair in pairs[number:])
            logger.warning(f"CEF Message too big, left out: {left_out}")
            break
        text += pair
    return text


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
