"""Exceptions as Sentry's events: the plug-in ``client.raven`` and the decorator ``capture_stack``."""
