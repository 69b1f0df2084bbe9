"""torchmetrics, imported only as far as Lightning and pyannote.audio use it: two classes.

Its ``__init__`` imports metrics of text, images and sound, and with them transformers and scipy, which costs a process
1.4 s. Here the package is the real one, except that its ``__init__`` runs when something else is asked of it. So
whatever uses torchmetrics later, such as NeMo, finds it whole.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

NAME = "torchmetrics"

USED = {"__version__": "__about__", "Metric": "metric", "MetricCollection": "collections"}
"""What is used, and the submodule that defines it."""

FIRST = "utilities"
"""The submodule that is imported before the others, as by ``__init__``: they import each other in circles."""


def defer_torchmetrics() -> None:
    """Defer the ``__init__`` of torchmetrics where it is installed and not imported yet."""
    spec = None if NAME in sys.modules else find_spec(NAME)
    if spec is None or spec.loader is None:
        return
    loader, package = spec.loader, module_from_spec(spec)
    namespace = vars(package)
    path = namespace.pop("__path__")

    def find(name: str) -> Any:
        if name == "__path__":  # the import of a submodule asks for it
            namespace[name] = path
            import_module(f"{NAME}.{FIRST}")
            return path
        if name in USED:
            return getattr(import_module(f"{NAME}.{USED[name]}"), name)
        if namespace.pop("__getattr__", None) is None:
            raise AttributeError(f"module {NAME!r} has no attribute {name!r}")
        namespace["__path__"] = path
        loader.exec_module(package)
        return getattr(package, name)

    namespace["__getattr__"] = find
    namespace["_logger"] = logging.getLogger(NAME)  # which the submodules import from ``__init__``
    sys.modules[NAME] = package
