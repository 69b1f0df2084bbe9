"""Arguments and options that several commands share, and their parsing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diarbench.datasets.io.errors import UserError

DatasetArgument = Annotated[str, typer.Argument(help="A converted dataset's folder, or a name of 'bench data list'.")]

Formants = Annotated[
    str | None, typer.Option(metavar="LOW,HIGH", help="... and with formants so much higher again, at the same pitch.")
]

MakeNoise = Annotated[
    bool, typer.Option("--make-noise", help="Make noise up, steady and with knocks; with --noise in half of them.")
]

Workers = Annotated[int | None, typer.Option(min=1, help="Processes; as many as there are cores where not given.")]


def _is_dataset(given: str) -> bool:
    from diarbench.datasets.corpora.catalog import KNOWN

    return given in KNOWN or (Path(given) / "dataset.json").is_file()


def _numbers(option: str, given: str, count: int | None, low: float, high: float) -> tuple[float, ...]:
    """Numbers from low to high, separated by commas; their sum must not be 0."""
    try:
        numbers = tuple(float(number) for number in given.split(","))
    except ValueError:
        numbers = ()
    if not numbers or len(numbers) != (count or len(numbers)) or not all(low <= n <= high for n in numbers):
        raise UserError(f"{option} {given}: {count or 'some'} numbers, {low:g} to {high:g}, separated by commas")
    if not 0 < sum(map(abs, numbers)) < float("inf"):
        raise UserError(f"{option} {given}: not all of them may be 0, nor any infinite")
    return numbers


def _key_values(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise UserError(f"--set {key}: write it as KEY=VALUE")
    return {key: value for key, _, value in pairs}
