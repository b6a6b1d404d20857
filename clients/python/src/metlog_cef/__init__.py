"""Security events in the common event format, as messages: ``client.cef``."""
