"""What torch offers a recipe, read from its source: the optimizers and schedules, and the options that each takes.

So a recipe is checked before anything runs, against the torch that will train, without importing it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diarbench.reports.records import closest

UNFIT_OPTIMIZERS = ("LBFGS", "Optimizer", "SparseAdam")
"""One wants the loss computed anew within a step, one is a base class, one wants sparse gradients."""
UNFIT_SCHEDULES = ("ChainedScheduler", "LambdaLR", "LRScheduler", "MultiplicativeLR", "SequentialLR")
"""They take functions or other schedules, which a recipe can't hold, or are a base class."""

Classes = Mapping[str, Mapping[str, bool]]
"""By name, the parameters of its constructor, and whether each must be given."""


def check_optimizer(name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for a name or an option that ``torch.optim`` hasn't; silent where torch is not installed."""
    if folder := _folder():
        _check("optimizer", name, options, _optimizers(folder), given=("params", "lr"))


def check_schedule(name: str, options: Mapping[str, Any], given: Collection[str]) -> None:
    """The same for ``torch.optim.lr_scheduler``; ``given`` are options that follow from the rest of the recipe."""
    if folder := _folder():
        _check("schedule", name, options, _schedules(folder), given=("optimizer", "last_epoch", *given))


def _check(kind: str, name: str, options: Mapping[str, Any], known: Classes, given: Collection[str]) -> None:
    if name not in known:
        near = closest(name, known) or f"; one of {', '.join(sorted(known))}"
        raise ValueError(f"torch has no {kind} {name!r} that a recipe can use{near}")
    offered = [option for option in known[name] if option not in given]
    for option in options:
        if option not in offered:
            raise ValueError(f"{name} takes no option {option!r}{closest(option, offered)}")
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
    found: dict[str, Mapping[str, bool]] = {}
    for node in _parsed(folder / "__init__.py").body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("torch.optim."):
            names = [alias.name for alias in node.names]
            classes = _classes(folder / f"{node.module.removeprefix('torch.optim.')}.py")
            found |= {name: classes[name] for name in names if name in classes and name not in UNFIT_OPTIMIZERS}
    return found


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
    found = {}
    for node in _parsed(path).body:
        if isinstance(node, ast.ClassDef):
            for made in node.body:
                if isinstance(made, ast.FunctionDef) and made.name == "__init__":
                    found[node.name] = _parameters(made.args)
    return found


def _parameters(arguments: ast.arguments) -> dict[str, bool]:
    positional = arguments.args[1:]
    needed = len(positional) - len(arguments.defaults)
    found = {argument.arg: place < needed for place, argument in enumerate(positional)}
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {argument.arg: default is None for argument, default in keywords}


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
