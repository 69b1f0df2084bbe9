"""YAML files: plain values only, with limits on size, nesting and aliases."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import open_file

LARGEST_BYTES = 200_000
DEEPEST = 20
"""Levels of nesting; recipes, search spaces and configurations of models need about five."""
MOST_VALUES = 10_000
"""Values, with those that aliases repeat."""


_LONG_NUMBER = re.compile(r"[-+0-9a-fA-FxXoO_:.]{100,}")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises UserError, with ``file:line``, where it cannot be read or exceeds a limit."""
    return parse_yaml(_content(path), path)


def parse_yaml(content: bytes, source: Path | str) -> Any:
    """The plain values in a YAML text; ``source`` names it in messages. Raises UserError as `read_yaml`."""
    return _parse(content, source, lambda loader, node: None if node is None else loader.construct_document(node))


def read_yaml_node(path: Path) -> yaml.Node | None:
    """What a YAML file holds, as written and with the line of each value. Raises UserError as `read_yaml`."""
    return _parse(_content(path), path, lambda _, node: node)


def _content(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _parse(content: bytes, source: Path | str, build: Callable[[yaml.SafeLoader, yaml.Node | None], Any]) -> Any:
    if len(content) > LARGEST_BYTES:
        raise UserError(f"{source}: larger than {LARGEST_BYTES:,} bytes, too large for a YAML file of settings")
    try:
        text = content.decode("utf-8-sig")
        _check_events(text, source)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None and _values_in(node, {}, source) > MOST_VALUES:
            raise UserError(f"{source}: its aliases repeat more than {MOST_VALUES:,} values; write out what is needed")
        return build(loader, node)
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, LookupError, AttributeError) as error:
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else str(source)
        raise UserError(f"{where}: not YAML of plain values ({reason})") from error


def _check_events(text: str, source: Path | str) -> None:
    """Raises UserError where values are nested too deep or are too many; nothing is built yet."""
    depth = values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        values += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _LONG_NUMBER.fullmatch(event.value):
            raise UserError(f"{source}:{line}: a number of {len(event.value):,} characters")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UserError(f"{source}:{line}: nested more than {DEEPEST} levels deep")
        if values > MOST_VALUES:
            raise UserError(f"{source}:{line}: more than {MOST_VALUES:,} values")


def _values_in(node: yaml.Node, known: dict[int, int], source: Path | str) -> int:
    """The number of values below a node, each alias counted as what it repeats."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise UserError(f"{source}:{node.start_mark.line + 1}: an alias repeats the value that contains it")
        return known[id(node)]
    known[id(node)] = 0
    below = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    is_scalar = isinstance(node, yaml.ScalarNode)
    known[id(node)] = 1 + (0 if is_scalar else sum(_values_in(part, known, source) for part in below))
    return known[id(node)]
