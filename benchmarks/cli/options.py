"""Arguments and options shared by several commands, and their parsing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diarbench.datasets.io.errors import UserError

DatasetArgument = Annotated[
    str, typer.Argument(help="The folder of a converted dataset, or a name from 'bench data list'.")
]

Formants = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH",
        help="Also scale formants by a random factor in this range, without changing the pitch "
        "(vocal tract length perturbation).",
    ),
]

MakeNoise = Annotated[
    bool,
    typer.Option(
        "--make-noise", help="Generate steady noise with knocks; together with --noise, for half of the recordings."
    ),
]

Workers = Annotated[int | None, typer.Option(min=1, help="Number of processes; by default one per core.")]


def is_dataset(name: str) -> bool:
    """Whether this is a dataset known by name or the folder of a converted one."""
    from diarbench.datasets.corpora.catalog import KNOWN

    return name in KNOWN or (Path(name) / "dataset.json").is_file()


def parse_numbers(option: str, value: str, count: int | None, low: float, high: float) -> tuple[float, ...]:
    """Parse comma-separated numbers from ``low`` to ``high``, of which at least one is not 0.

    Raises UserError for anything else, or if there are not ``count`` numbers.
    """
    try:
        numbers = tuple(float(number) for number in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or len(numbers) != (count or len(numbers)) or not all(low <= n <= high for n in numbers):
        expected = f"{count} numbers" if count else "one or more numbers"
        raise UserError(f"{option} {value}: expected {expected} from {low:g} to {high:g}, separated by commas")
    if not 0 < sum(map(abs, numbers)) < float("inf"):
        raise UserError(f"{option} {value}: the numbers must be finite and not all 0")
    return numbers


def parse_key_values(options: list[str]) -> dict[str, str]:
    """Parse ``--set KEY=VALUE`` options. Raises UserError if one has no key or no equals sign."""
    pairs = [option.partition("=") for option in options]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise UserError(f"--set {key}: expected KEY=VALUE")
    return {key: value for key, _, value in pairs}
