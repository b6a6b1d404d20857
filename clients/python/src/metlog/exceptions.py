"""What can be wrong with a configuration."""

from __future__ import annotations

from configparser import Error


class EnvironmentNotFoundError(Error):
    """A configuration takes a value from an environment variable that is not set."""

    def __init__(self, varname: str) -> None:
        """Make the error.

        :param varname: The variable's name.
        """
        super().__init__(f"the environment variable {varname!r} is not set")
        self.varname = varname


class MethodNotFoundError(Error):
    """A method that a configuration names does not exist."""
