"""``bench data ...``: fetch, convert, look at and check datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from diarbench.datasets.layout import DatasetInfo

app = typer.Typer(help="Fetch, convert, look at and check datasets.", no_args_is_help=True)

DatasetArgument = Annotated[str, typer.Argument(help="A converted dataset's folder, or a name of 'bench data list'.")]


@app.command("list")
def list_() -> None:
    """The datasets that can be fetched by name."""
    from rich.console import Console
    from rich.table import Table

    from diarbench.datasets.catalog import KNOWN, known, location

    table = Table("name", "what", "licence", "where")
    for name in KNOWN:
        module = known(name)
        where = str(location(name)) if location(name).exists() else "not fetched"
        table.add_row(name, module.SUMMARY, module.LICENCE, where)
    Console().print(table)


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A name of 'bench data list'.")]) -> None:
    """Fetch a dataset by name, once; its licence and source are told."""
    from rich.console import Console

    from diarbench.datasets.catalog import fetch as fetch_

    with Console(stderr=True).status(f"fetching {name}"):
        dataset = fetch_(name)
    info = dataset.info
    Console(soft_wrap=True).print(
        f"{name}: {dataset.root}\n  source: {info.source}\n  licence: {info.licence}", highlight=False
    )


@app.command()
def show(dataset: DatasetArgument) -> None:
    """Hours, speakers and overlap by subset."""
    from rich.console import Console

    from diarbench.datasets.catalog import open_dataset

    opened = open_dataset(dataset)
    console = Console()
    console.print(_summary(opened.info))


def _summary(info: DatasetInfo) -> Table:
    from rich.table import Table

    table = Table(
        "subset",
        title=f"{info.name} ({info.fingerprint[:12]})",
        caption=f"{info.source}\n{info.licence}\nsplit: {info.split_rule}",
    )
    for heading in ("recordings", "hours", "scored h", "speech h", "overlap", "speakers", "turns"):
        table.add_column(heading, justify="right")
    for subset, held in info.subsets.items():
        table.add_row(
            subset,
            str(held.recordings),
            *(f"{seconds / 3600:.3f}" for seconds in (held.audio_s, held.scored_s, held.speech_s)),
            f"{held.overlap_s / (held.voiced_s or 1):.1%}",
            str(held.speakers),
            str(held.turns),
        )
    return table
