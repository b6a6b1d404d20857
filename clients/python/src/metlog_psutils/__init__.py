"""What a process uses, as messages: ``client.procinfo``."""
