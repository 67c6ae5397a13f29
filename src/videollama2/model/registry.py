"""A registry of towers by name, filled by the files of a package: adding a tower is adding one file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import RequestError

Class = TypeVar("Class", bound=type)


class Registry:
    """Classes by name; the files of `package` register theirs when they are imported, which a look-up does.

    Args:
        package: dotted name of the package whose modules hold the classes.
        noun: what the classes are, for messages.
    """

    def __init__(self, package: str, noun: str) -> None:
        self._package = package
        self._noun = noun
        self._classes: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Class], Class]:
        """Class decorator: make the class known as `name`."""

        def add(cls: Class) -> Class:
            self._classes[name] = cls
            return cls

        return add

    def names(self) -> tuple[str, ...]:
        """All known names, sorted."""
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        return tuple(sorted(self._classes))

    def find(self, name: str) -> Any:
        """The class called `name`.

        Raises:
            RequestError: no file registers that name.
        """
        if name not in self._classes and name not in self.names():
            raise RequestError(f"unknown {self._noun} {name!r}; choose one of {', '.join(self.names())}.")
        return self._classes[name]
