"""Metlog: typed telemetry messages from an application to any destination."""

__version__ = "0.11.0"
