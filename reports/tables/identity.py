"""The columns that identify the rows of a table."""

from __future__ import annotations

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import NONE
from diarbench.reports.summary.summary import Line, Section
from diarbench.reports.summary.systems import pipelines_of, shared_pipelines
from diarbench.reports.tables.table import Cell, Column, Table

IDENTITY_COLUMNS = (
    Column("From"),
    Column("Train set"),
    Column("Backend"),
    Column("Pipeline"),
    Column("Recipe"),
    Column("Train %", True),
    Column("Seed", True),
    Column("Repetition", True),
    Column("Stage"),
)


def identity_table(section: Section) -> Table:
    """Backend and stage; also origin, train set, pipeline, recipe, train fraction and seed where the runs differ."""
    columns = identity_columns(section)
    return Table(columns, tuple(identity_cells(line, columns) for line in section.lines))


def identity_columns(section: Section) -> tuple[Column, ...]:
    """The columns of `identity_table`."""
    runs = [line for line in section.lines if line.run]
    scored = [line.run for line in section.lines if line.run]
    varying = {
        "From": len({line.origin for line in runs}) > 1,
        "Train set": any(line.is_out_of_domain for line in runs),
        "Pipeline": any(len(pipelines_of(line.backend, scored)) > 1 for line in runs),
        "Train %": len({line.run.train_fraction for line in runs if line.run}) > 1,
        "Recipe": len({line.recipe for line in runs}) > 1,
        "Seed": len({line.seed for line in runs}) > 1,
        "Repetition": len({line.run.repetition for line in runs if line.run}) > 1,
    }
    return tuple(column for column in IDENTITY_COLUMNS if varying.get(column.name, True))


def identity_cells(line: Line, columns: tuple[Column, ...]) -> tuple[Cell, ...]:
    """The identity columns of one line."""
    values = {
        "From": line.origin,
        "Train set": line.run.dataset if line.run else None,
        "Train %": f"{100 * line.run.train_fraction:g}" if line.run else None,
        "Backend": line.backend,
        "Pipeline": line.pipeline,
        "Recipe": line.recipe,
        "Seed": line.seed,
        "Repetition": line.run.repetition if line.run else None,
        "Stage": line.stage.replace("oracle-", "oracle "),  # two words fit a narrow column
    }
    cells = []
    for column in columns:
        value = values[column.name]
        cells.append(Cell(NONE if value is None else visible(value), value))
    return tuple(cells)


def constants(section: Section) -> str:
    """Recipe, seed and each backend's pipeline where they are the same for every run and so have no column.

    Recipe and seed are left out where nothing was trained.
    """
    shown = {column.name for column in identity_columns(section)}
    trained = next((line for line in section.lines if line.run and line.run.train), None)
    parts = (
        [
            visible(f"{name.lower()} {value}")
            for name, value in (("Recipe", trained.recipe), ("Seed", trained.seed))
            if name not in shown and value is not None
        ]
        if trained
        else []
    )
    return ", ".join([*parts, *map(visible, shared_pipelines(line.run for line in section.lines if line.run))])
