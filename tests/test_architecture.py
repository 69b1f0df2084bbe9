"""Imports run one way, ``datasets`` <- ``reports`` <- ``backends`` <- ``benchmarks``, and never in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from places import ROOT

LAYERS = ("datasets", "reports", "backends", "benchmarks")
"""From the ground up: a module may import from its own layer and from those before it."""


def module_name(path: Path) -> str:
    parts = ("diarbench", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))}


def imports(path: Path, *, top_only: bool = False) -> Iterator[tuple[int, str]]:
    """Line and module of each import of ours; ``top_only`` leaves out those in functions and for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("diarbench"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield node.lineno, full if full in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.startswith("diarbench"))


def layer(module: str) -> int:
    return LAYERS.index(module.split(".")[1])


@pytest.mark.parametrize("module", MODULES)
def test_no_import_runs_against_the_direction(module: str) -> None:
    against = [
        f"{MODULES[module]}:{line} imports {other}"
        for line, other in imports(MODULES[module])
        if layer(other) > layer(module)
    ]
    assert not against


def test_every_import_is_of_a_module_that_exists() -> None:
    absent = [
        f"{path}:{line} imports {other}"
        for path in MODULES.values()
        for line, other in imports(path)
        if other not in MODULES and not (ROOT / Path(*other.split(".")[1:])).is_dir()
    ]
    assert not absent


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {other for _, other in imports(path, top_only=True)} - {module} for module, path in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


OPENED_OTHERWISE = {
    "diarbench.datasets.io.files",  # which has the readers
    "diarbench.backends.nemotron.diarize",  # a script that is exported, without diarbench
    "diarbench.backends.nemo.presets",  # these read their own package's files
    "diarbench.backends.recipes.load",
    "diarbench.reports.html.template",
    "diarbench.backends.recipes.torch_classes",  # torch's source
    "diarbench.benchmarks.runs.environment",  # /proc
    "diarbench.benchmarks.runs.virtual_environments",  # an installed package's metadata
}


def test_files_are_read_by_functions_that_wait_for_no_pipe() -> None:
    """They are in `datasets.io.files`; a module that reads what nobody else can have written is listed above."""
    otherwise = [
        f"{path}:{node.lineno}: {ast.unparse(node)[:60]}"
        for module, path in MODULES.items()
        if module not in OPENED_OTHERWISE and "throughput" not in module
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _reads_a_path(node, node.func.attr)
    ]
    assert not otherwise


def _reads_a_path(call: ast.Call, name: str) -> bool:
    """Whether a call of a method is one by which `pathlib.Path` reads."""
    words = {keyword.arg for keyword in call.keywords}
    is_open = (
        name == "open"
        and [ast.unparse(each) for each in call.args] in ([], ["'r'"], ["'rb'"])
        and words <= {"encoding", "errors"}
    )
    return name in ("read_text", "read_bytes") or is_open


def test_the_root_folders_have_no_init() -> None:
    """They are subpackages of diarbench; with an ``__init__.py`` they would shadow packages such as datasets."""
    for folder in LAYERS:
        assert (ROOT / folder).is_dir()
        assert not (ROOT / folder / "__init__.py").exists()
