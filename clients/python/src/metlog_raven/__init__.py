"""Exceptions as Sentry events: ``client.raven``."""
