"""Search spaces of hyper-parameters, and the file that replaces their ranges."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarbench.backends import registry
from diarbench.backends.base import Diarizer
from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.names import shortened, visible
from diarbench.datasets.io.yaml_files import read_yaml

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


Space = Mapping[str, "BaseDistribution"]
"""A distribution by hyper-parameter."""
Values = dict[str, Any]
"""A value by hyper-parameter."""


def search_spaces(diarizer: Diarizer, edits: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The spaces of the upstream diarizer and of the diarizer, with ranges replaced. Raises UserError as edit_space."""
    upstream = diarizer.upstream.search_space if diarizer.upstream else {}
    upstream_edits = {name: edit for name, edit in edits.items() if name in upstream}
    own_edits = {name: edit for name, edit in edits.items() if name not in upstream}
    return (
        edit_space(upstream, diarizer.defaults, upstream_edits),
        edit_space(diarizer.search_space, diarizer.defaults, own_edits),
    )


def describe_space(space: Space) -> dict[str, dict[str, Any]]:
    """A search space as plain values: ``low`` and ``high``, or ``choices``, by hyper-parameter."""
    import optuna

    return {
        name: {"choices": list(distribution.choices)}
        if isinstance(distribution, optuna.distributions.CategoricalDistribution)
        else {"low": distribution.low, "high": distribution.high}  # type: ignore[attr-defined]
        for name, distribution in space.items()
    }


def edit_space(space: Space, defaults: Mapping[str, Any], edits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A search space with some ranges replaced. Raises UserError for an invalid range or one without the default."""
    import optuna

    edited = dict(space)
    for name, edit in edits.items():
        where = f"search space: {name}"
        if name not in space:
            raise UserError(
                f"{where}: no such hyper-parameter{did_you_mean(name, space)}; there are {', '.join(space)}"
            )
        if problem := _range_problem(edit):
            raise UserError(f"{where}: {problem}")
        kind = space[name]
        if isinstance(kind, optuna.distributions.CategoricalDistribution):
            unknown = [choice for choice in edit.get("choices", ()) if choice not in kind.choices]
            if "choices" not in edit or unknown:
                raise UserError(f"{where}: takes 'choices', some of {', '.join(map(str, kind.choices))}")
            edited[name] = optuna.distributions.CategoricalDistribution(edit["choices"])
        elif "choices" in edit:
            raise UserError(f"{where}: takes 'low' and 'high', not 'choices'")
        elif isinstance(kind, optuna.distributions.IntDistribution) and any(edit[k] % 1 for k in ("low", "high")):
            raise UserError(f"{where}: takes whole numbers")
        else:
            edited[name] = type(kind)(edit["low"], edit["high"])  # type: ignore[call-arg]
        try:
            holds_default = edited[name]._contains(edited[name].to_internal_repr(defaults[name]))
        except ValueError:  # of choices without it
            holds_default = False
        if not holds_default:
            raise UserError(
                f"{where}: excludes the default {defaults[name]}, which is the first trial; widen the range"
            )
    return edited


def load_space(path: Path, elsewhere: Collection[str] = ()) -> dict[str, dict[str, dict[str, Any]]]:
    """Ranges by backend and hyper-parameter from a YAML file. Raises UserError for an invalid file or range.

    ``elsewhere``: backends of other environments, which this one need not know.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not all(isinstance(ranges, dict) for ranges in content.values()):
        raise UserError(f"{path}: not a search space (expected ranges by hyper-parameter under each backend's name)")
    for backend, ranges in content.items():
        try:
            if backend not in elsewhere:
                registry.check_name(str(backend))
        except UserError as error:
            raise UserError(f"{path}: {visible(error)}") from error
        for name, edit in ranges.items():
            if problem := _range_problem(edit):
                raise UserError(f"{path}: {visible(f'{backend}: {name}: {problem}')}")
    return content


LARGEST = 1e9
"""Of a bound; the ranges of all hyper-parameters are far below."""


def _range_problem(edit: Any) -> str | None:
    """Why a range is invalid; None where it is valid."""
    if isinstance(edit, dict) and set(edit) == {"choices"} and isinstance(edit["choices"], list) and edit["choices"]:
        return None
    if not isinstance(edit, dict) or set(edit) != {"low", "high"}:
        return "expected 'low' and 'high', or 'choices' with a list"
    for bound in edit.values():
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not abs(bound) <= LARGEST:
            return f"{shortened(str(bound), 20)} is not a number of at most {LARGEST:g}"
    if edit["low"] > edit["high"]:
        return f"low {edit['low']} is above high {edit['high']}"
    return None
