"""The optimizers and schedules of the installed torch and their options, to check recipes before a run.

Read from torch's source, because ``inspect`` would have to import torch, which takes seconds on the command line.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diarbench.datasets.io.errors import did_you_mean

UNFIT_OPTIMIZERS = ("LBFGS", "Optimizer", "SparseAdam")
"""One recomputes the loss within a step, one is a base class, one needs sparse gradients."""

UNFIT_SCHEDULES = ("ChainedScheduler", "LambdaLR", "LRScheduler", "MultiplicativeLR", "SequentialLR")
"""They need functions or other schedules, which a recipe cannot contain, or are a base class."""

Classes = Mapping[str, Mapping[str, bool]]
"""By class name, the parameters of the constructor and whether each is required."""


def check_optimizer(name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for a class or an option unknown to ``torch.optim``; no check where torch is not installed."""
    if folder := _folder():
        _check("optimizer", name, options, _optimizers(folder), given=("params", "lr"))


def check_schedule(name: str, options: Mapping[str, Any], given: Collection[str]) -> None:
    """The same for ``torch.optim.lr_scheduler``; ``given`` are options that the rest of the recipe determines."""
    if folder := _folder():
        _check("schedule", name, options, _schedules(folder), given=("optimizer", "last_epoch", *given))


def _check(kind: str, name: str, options: Mapping[str, Any], known: Classes, given: Collection[str]) -> None:
    if name not in known:
        near = did_you_mean(name, known) or f"; one of {', '.join(sorted(known))}"
        raise ValueError(f"recipes support no {kind} {name!r}{near}")
    offered = [option for option in known[name] if option not in given]
    for option in options:
        if option not in offered:
            raise ValueError(f"{name} has no option {option!r}{did_you_mean(option, offered)}")
    for option in offered:
        if known[name][option] and option not in options:
            raise ValueError(f"{name} needs the option {option!r}")


def _folder() -> Path | None:
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "optim"


@cache
def _optimizers(folder: Path) -> Classes:
    optimizers: dict[str, Mapping[str, bool]] = {}
    for node in _parsed(folder / "__init__.py").body:
        # torch 2.4 and earlier import by relative names
        if isinstance(node, ast.ImportFrom) and node.module and (node.level or node.module.startswith("torch.optim.")):
            names = [alias.name for alias in node.names]
            classes = _classes(folder / f"{node.module.removeprefix('torch.optim.')}.py")
            optimizers |= {name: classes[name] for name in names if name in classes and name not in UNFIT_OPTIMIZERS}
    return optimizers


@cache
def _schedules(folder: Path) -> Classes:
    classes = _classes(folder / "lr_scheduler.py")
    return {
        name: options
        for name, options in classes.items()
        if "optimizer" in options and not name.startswith("_") and name not in UNFIT_SCHEDULES
    }


def _classes(path: Path) -> Classes:
    """Classes of a module with the parameters of their constructors."""
    classes = {}
    for node in _parsed(path).body:
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name == "__init__":
                    classes[node.name] = _parameters(member.args)
    return classes


def _parameters(arguments: ast.arguments) -> dict[str, bool]:
    positional = arguments.args[1:]
    required = len(positional) - len(arguments.defaults)
    parameters = {argument.arg: index < required for index, argument in enumerate(positional)}
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return parameters | {argument.arg: default is None for argument, default in keywords}


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
