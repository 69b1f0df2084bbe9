"""A comparison file: the options of ``bench run`` in YAML.

Its keys are the options of the command itself: ``train_fractions`` is ``--train-fraction``, in the plural because the
option can be repeated. A value is read as on the command line, relative paths are relative to the file, and the options
on the command line win.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from diarbench.datasets.io.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import yaml

NO_KEYS = {"context", "file", "help", "save"}
"""Parameters of the command that a file cannot have."""

NOT_FROM_FILE = {"ray_address"}
"""Options that a file cannot give: it may be a stranger's, and a cluster gets this machine's code and data."""

ACTIONS = {"dry_run"}
"""Options that say what to do with a comparison; they are not saved."""

SAME_IN_PLURAL = {"also_score"}

NAMES_OR_PATHS = {"also_score", "dataset", "env", "init", "pipeline", "recipe"}
"""Options that take a name or a path."""

BY_BACKEND = {"env", "init"}
"""Options that take ``BACKEND=VALUE``; in a file also a mapping of values by backend."""


class Given(NamedTuple):
    """A value in a comparison file."""

    option: str
    text: str
    line: int


def key_of(option: Any) -> str:
    """The key of an option of the command."""
    return f"{option.name}s" if option.multiple and option.name not in SAME_IN_PLURAL else option.name


def options_of(context: typer.Context) -> dict[str, Any]:
    """The options of ``bench run`` by their keys."""
    parameters = [each for each in context.command.params if each.name not in NO_KEYS]
    return {key_of(parameter): parameter for parameter in parameters}


def use_comparison_file(context: typer.Context, path: Path | None) -> Path | None:
    """Take the values in a file as the defaults of the command's options; called before the options are read.

    Raises UserError, with ``file:line``, for an unknown key and for a value that the option does not take.
    """
    if path is None:
        return None
    options, values, given = options_of(context), {}, []
    for key, line, node in _entries(path):
        where = f"{path}:{line}: {key}"
        if key not in options:
            hint = did_you_mean(key, options) or f"; one of {', '.join(options)}"
            raise UserError(f"{where}: unknown key{hint}")
        option = options[key]
        if option.name in NOT_FROM_FILE:
            raise UserError(f"{where}: a file cannot name a cluster; remove the line, and give {option.opts[0]}")
        if option.name in values:
            raise UserError(f"{where}: is given twice")
        texts = list(_values(option, node, path, where))
        if not texts:
            raise UserError(f"{where}: is empty; give a value, or leave the key out")
        defaults = [_default(context, option, text, line, path) for text, line in texts]
        if option.name == "env":
            _check_interpreters(str(default) for default in defaults)
        if option.name == "out" and not _is_near(Path(str(defaults[0])), path.parent):
            raise UserError(
                f"{where}: {texts[0][0]}: outside the folder of this file and the one in which the command runs; "
                "remove the line, and give --out"
            )
        values[option.name] = defaults if option.multiple else defaults[0]
        given += [Given(option.name, text, line) for text, line in texts if isinstance(text, str)]
    context.default_map = values
    context.obj = tuple(given)
    return path


@contextmanager
def locating_errors(context: typer.Context, path: Path | None) -> Iterator[None]:
    """A UserError about a value of the comparison file begins with ``file:line``."""
    try:
        yield
    except UserError as error:
        message = str(error)
        for option, text, line in context.obj if path else ():
            used = _from_folder(option, text, path.parent) if path else text
            starts = (f"--{option.replace('_', '-')} {used.rpartition('=')[2]}:", f"{used}:")
            if message.startswith(starts) or any(f"'{word}'" in message for word in text.split("=", 1)):
                raise UserError(f"{path}:{line}: {message}") from error
        raise


def as_command(context: typer.Context) -> str:
    """The command with every option that was given, on the command line or in a file."""
    words = ["bench", "run"]
    for option, values in _given(context):
        for value in values:
            if isinstance(value, bool):
                words.append((option.opts if value else option.secondary_opts)[0])
            else:
                words += [option.opts[0], str(value)]
    return shlex.join(words)


def save_comparison_file(context: typer.Context, path: Path) -> list[str]:
    """Write the options that were given, on the command line or in a file, as a comparison file.

    Returns the options that are left out, since a file cannot give them. Raises UserError where the file exists with
    other content.
    """
    import yaml

    from diarbench.datasets.io.files import read_bytes, write_atomic

    content: dict[str, Any] = {}
    left_out: list[str] = []
    for option, given in _given(context):
        if option.name in NOT_FROM_FILE or (option.name == "out" and not _is_near(given[0], path.parent)):
            left_out.append(f"{option.opts[0]} {given[0]}")
            continue
        values = [_beside(option.name, value, path.parent) for value in given]
        content[key_of(option)] = values if option.multiple else values[0]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000)
    if path.exists() and read_bytes(path) != text.encode():
        raise UserError(f"--save {path}: exists, with other content; remove it or choose another file")
    write_atomic(path, text)
    return left_out


def _entries(path: Path) -> Iterator[tuple[str, int, yaml.Node]]:
    """The keys of a file, their lines and their values."""
    import yaml

    from diarbench.datasets.io.names import visible
    from diarbench.datasets.io.yaml_files import read_yaml_node

    root = read_yaml_node(path)
    if not isinstance(root, yaml.MappingNode) or not root.value:
        raise UserError(f"{path}: not a comparison (expected 'key: value' lines such as 'backends: [pyannote, nemo]')")
    for key, value in root.value:
        yield visible(key.value) if isinstance(key, yaml.ScalarNode) else "?", key.start_mark.line + 1, value


def _values(option: Any, node: yaml.Node, path: Path, where: str) -> Iterator[tuple[str | bool, int]]:
    """The values of a key, as they would be written on the command line, each with its line."""
    import yaml

    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:null" or not node.value:
            raise UserError(f"{where}: has no value; give one, or leave the key out")
        is_bool = node.tag == "tag:yaml.org,2002:bool"
        if is_bool != bool(option.is_flag):
            expected = "true or false" if option.is_flag else "another value than true or false; quote a name"
            raise UserError(f"{where}: {node.value}: expected {expected}")
        yield (yaml.SafeLoader("").construct_yaml_bool(node) if is_bool else node.value), line
    elif isinstance(node, yaml.SequenceNode) and option.multiple:
        for part in node.value:
            if not isinstance(part, yaml.ScalarNode):
                raise UserError(f"{path}:{part.start_mark.line + 1}: {key_of(option)}: expected a list of plain values")
            yield from _values(option, part, path, f"{path}:{part.start_mark.line + 1}: {key_of(option)}")
    elif isinstance(node, yaml.MappingNode) and option.name in BY_BACKEND:
        for key, value in node.value:
            here = f"{path}:{key.start_mark.line + 1}: {key_of(option)}"
            if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
                raise UserError(f"{here}: expected one value for each backend")
            for text, at in _values(option, value, path, here):
                yield f"{key.value}={text}", at
    else:
        kinds = ["one value", *(["a list"] if option.multiple else [])]
        kinds += ["values by backend"] if option.name in BY_BACKEND else []
        raise UserError(f"{where}: expected {' or '.join(kinds)}")


def _is_near(out: Path, folder: Path) -> bool:
    """Whether a folder is inside the folder of a comparison file, or inside the one in which the command runs."""
    return any(out.resolve().is_relative_to(near.resolve()) for near in (folder, Path()))


def _check_interpreters(options: Iterable[str]) -> None:
    """Raises UserError for an interpreter that was never given on the command line: the file may be a stranger's."""
    from diarbench.benchmarks.runs.interpreters import check_known, divided

    for option in options:
        backend, python = divided(option)
        if python is not None:
            check_known(python, backend, f"--env {option}")


def _default(context: typer.Context, option: Any, text: str | bool, line: int, path: Path) -> str | bool:
    """A value as a default of the option, checked by the option itself; a path leads there from where the command runs.

    Raises UserError for a value that the option does not take.
    """
    try:
        value = option.process_value(context, [text] if option.multiple else text)
    except typer.BadParameter as error:
        raise UserError(f"{path}:{line}: {key_of(option)}: {text}: {error.message.rstrip('.')}") from error
    if isinstance(text, bool):
        return text
    (value,) = value if option.multiple else (value,)
    if isinstance(value, Path):
        return str(path.parent / value.expanduser())
    return _from_folder(option.name, text, path.parent)


def _given(context: typer.Context) -> Iterator[tuple[Any, list[Any]]]:
    """The options that were given, and their values."""
    for option in options_of(context).values():
        source = context.get_parameter_source(option.name)
        if source is not None and source.name != "DEFAULT" and option.name not in ACTIONS:
            value = context.params[option.name]
            yield option, list(value) if option.multiple else [value]


def _from_folder(option: str, text: str, folder: Path) -> str:
    """A value of a file in this folder, as it is given on the command line: a path leads through the folder."""
    before, place = _divided(option, text)
    return f"{before}{folder / place}" if _is_path(option, place, folder) else text


def _beside(option: str, value: Any, folder: Path) -> Any:
    """A value of the command line as it is given in a file in this folder."""
    if not isinstance(value, str | Path):
        return value
    before, place = _divided(option, str(value))
    is_path = isinstance(value, Path) or _is_path(option, place, Path())
    if not is_path or Path(place).is_absolute():
        return str(value)
    relative = Path(os.path.relpath(place, folder)).as_posix()
    return f"{before}{relative if relative.startswith('../') else f'./{relative}'}"


def _divided(option: str, text: str) -> tuple[str, str]:
    """``BACKEND=`` and ``run:`` where a value begins with them, and the rest."""
    backend = r"[^=/]+=" if option in BY_BACKEND else ""
    before = re.match(rf"(?:{backend})?(?:run:)?" if backend else "(?:run:)?", text)
    assert before is not None
    return before.group(), text[before.end() :]


def _is_path(option: str, text: str, folder: Path) -> bool:
    """Whether a value is a path, or the name of something in the folder, rather than a name that diarbench knows."""
    if option not in NAMES_OR_PATHS or text.startswith(("hub:", "~")):
        return False
    return "/" in text or text.endswith((".yaml", ".yml")) or bool(text and (folder / text).exists())
