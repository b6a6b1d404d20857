"""Objects by their dotted names: ``package.module.name``, or ``package.module:name``.

A name that begins with a dot, or with a colon, is relative to a package. This has the names of ``pyramid.path``, for
applications that took them from here.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Union


class _CallerPackage:
    """Is what `CALLER_PACKAGE` is of."""

    def __repr__(self) -> str:
        return "metlog.path.CALLER_PACKAGE"


#: Stands for the package of whoever calls.
CALLER_PACKAGE = _CallerPackage()

Package = Union[str, ModuleType, _CallerPackage, None]


def caller_module(level: int = 2, sys: Any = sys) -> ModuleType:
    """Return the module of a caller: with level 1 of this function's, with 2 of that one's caller, and so on.

    :param sys: Knows the frames and the modules; a test may have others.
    """
    name = sys._getframe(level).f_globals.get("__name__") or "__main__"
    module: ModuleType = sys.modules[name]
    return module


def caller_package(level: int = 2, caller_module: Callable[[int], ModuleType] = caller_module) -> ModuleType:
    """Return the package of a caller; `level` as for `caller_module`, which a test may replace."""
    return package_of(caller_module(level + 1))


def caller_path(path: str, level: int = 2) -> str:
    """Return a path, which is relative to a caller's package unless it is absolute."""
    return path if os.path.isabs(path) else os.path.join(package_path(caller_module(level + 1)), path)


def package_name(pkg_or_module: ModuleType | None) -> str:
    """Return the name of a package, or of the package that a module is in."""
    if pkg_or_module is None or pkg_or_module.__name__ == "__main__":
        return "__main__"
    name = pkg_or_module.__name__
    return name if hasattr(pkg_or_module, "__path__") else name.rpartition(".")[0] or name


def package_of(pkg_or_module: ModuleType) -> ModuleType:
    """Return a package, or the package that a module is in."""
    return importlib.import_module(package_name(pkg_or_module))


def package_path(package: ModuleType) -> str:
    """Return the folder of a package or a module."""
    return os.path.dirname(os.path.abspath(package.__file__ or ""))


class Resolver:
    """Knows the package that relative names start from."""

    def __init__(self, package: Package = CALLER_PACKAGE) -> None:
        """Make a resolver.

        :param package: A package or module, or the name of one; None if there are only absolute names.
        """
        self.package: Any = package
        if isinstance(package, str):
            try:
                self.package = package_of(importlib.import_module(package))
            except ImportError:
                raise ValueError(f"the package {package!r} cannot be imported") from None
        elif isinstance(package, ModuleType):
            self.package = package_of(package)

    def get_package_name(self) -> str:
        """Return the package's name."""
        return str(self._package(3).__name__)

    def get_package(self) -> Any:
        """Return the package."""
        return self._package(3)

    def _package(self, level: int) -> Any:
        return caller_package(level) if self.package is CALLER_PACKAGE else self.package


class DottedNameResolver(Resolver):
    """Finds objects by their dotted names."""

    def resolve(self, dotted: str) -> Any:
        """Return what a name stands for.

        What is no name at all, or relative to nothing, is a ValueError; what cannot be found is an ImportError.
        """
        if not isinstance(dotted, str):
            raise ValueError(f"{dotted!r} is not a string")
        return _resolve(dotted, self._package(3))

    def maybe_resolve(self, dotted: Any) -> Any:
        """Return what a name stands for; anything but a text is returned as it is."""
        return _resolve(dotted, self._package(3)) if isinstance(dotted, str) else dotted


def resolve_name(name: str, package: Package = None) -> Any:
    """Return what a name stands for.

    :param name: The name.
    :param package: Where relative names start from; without it there are only absolute ones.
    """
    return DottedNameResolver(package).resolve(name)


def _resolve(dotted: str, package: ModuleType | None) -> Any:
    absolute = dotted
    if dotted.startswith((".", ":")):
        if package is None:
            raise ValueError(f"the relative name {dotted!r} needs a package to start from")
        absolute = _absolute(dotted, package.__name__)
    module_name, colon, attributes = absolute.partition(":")
    if colon:
        found: Any = importlib.import_module(module_name)
        try:
            for name in filter(None, attributes.split(".")):
                found = getattr(found, name)
        except AttributeError as error:
            raise ImportError(f"{dotted!r}: {error}") from None
        return found
    used, *rest = absolute.split(".")
    found = importlib.import_module(used)
    for name in rest:
        used = f"{used}.{name}"
        try:
            found = getattr(found, name)
        except AttributeError:
            _import_member(used)
            found = getattr(found, name)
    return found


def _import_member(dotted: str) -> None:
    """Import a module that its package does not have yet; what is no module either is told as what is missing where."""
    try:
        importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        # Another name is of a module that this one imports.
        if error.name != dotted:
            raise
        place, _, name = dotted.rpartition(".")
        raise ImportError(f"there is no {name!r} in {place!r}", name=dotted) from None


def _absolute(dotted: str, package: str) -> str:
    if dotted in (".", ":"):
        return package
    if dotted.startswith(":"):
        return package + dotted
    # Each further dot goes up by one package.
    rest = dotted.lstrip(".")
    parts = package.split(".")
    up = len(dotted) - len(rest) - 1
    if up >= len(parts):
        raise ValueError(f"the relative name {dotted!r} leads out of {package!r}")
    return ".".join(parts[: len(parts) - up] + ([rest] if rest else []))
