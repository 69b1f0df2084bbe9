"""``bench data ...``: fetch, convert, look at and check datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diarbench.benchmarks.cli.console import _log_to_terminal, _Progress
from diarbench.benchmarks.cli.dataset_tables import _print_findings, _summary
from diarbench.benchmarks.cli.options import DatasetArgument, Workers, _key_values, _numbers
from diarbench.datasets.io.errors import UserError

if TYPE_CHECKING:
    pass


from diarbench.benchmarks.cli.simulate import perturb, simulate

app = typer.Typer(help="Fetch, convert, look at and check datasets.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """The datasets that can be fetched by name."""
    from rich.console import Console
    from rich.table import Table

    from diarbench.datasets.corpora.catalog import KNOWN, known, location

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

    from diarbench.datasets.corpora.catalog import fetch as fetch_

    with Console(stderr=True).status(f"fetching {name}"):
        dataset = fetch_(name)
    info = dataset.info
    Console(soft_wrap=True).print(
        f"{name}: {dataset.root}\n  source: {info.source}\n  licence: {info.licence}", highlight=False
    )


@app.command()
def convert(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... DEST", help="A path, hf:NAME, or lhotse:CORPUS CORPUS_DIR; then the new folder."
        ),
    ],
    format_name: Annotated[
        str | None, typer.Option("--from", help="The source's format; sniffed where not given.")
    ] = None,
    split: Annotated[
        Literal["recording", "speaker"] | None,
        typer.Option(help="Draw the subsets, whatever the source's own; by speaker, no speaker is in two."),
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Of the hours, to train, dev and test, where they are drawn.")
    ] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    channel: Annotated[
        int | None, typer.Option(min=0, help="Take this channel (from 0); else all are averaged.")
    ] = None,
    workers: Workers = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="What only this source knows, e.g. mic=sdm.")
    ] = None,
) -> None:
    """Convert a corpus into the layout that both toolkits train on; what is changed on the way is counted."""
    import os

    from rich.console import Console

    from diarbench.datasets.conversion.convert import convert as convert_
    from diarbench.datasets.conversion.split import Split
    from diarbench.datasets.formats.detect import find_corpus

    *source, target = places
    if not 1 <= len(source) <= 2:
        raise UserError("bench data convert takes SOURCE DEST, or lhotse:CORPUS CORPUS_DIR DEST")
    _log_to_terminal()
    corpus = find_corpus(":".join(source), format_name, **_key_values(options or []))
    with _Progress("converted") as progress:
        converted = convert_(
            corpus,
            Path(target),
            split=Split(split or "recording", _numbers("--shares", shares, 3, 0, float("inf")), seed),  # type: ignore[arg-type]
            redraw=split is not None,
            channel=channel,
            workers=workers or os.cpu_count() or 1,
            progress=progress,
        )
    console = Console()
    console.print(_summary([converted]))
    for kind, count in converted.info.changes.items():
        console.print(f"{count:>8} {kind}", highlight=False)


@app.command()
def check(
    dataset: DatasetArgument,
    json: Annotated[bool, typer.Option("--json", help="Every finding as JSON on stdout.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what needs no guess, and say what was done.")] = False,
) -> None:
    """What is wrong with a dataset, by file and line; exit status 1 where there are errors."""
    import json as json_
    import os

    from rich.console import Console

    from diarbench.datasets.checking import check as checks
    from diarbench.datasets.checking.fix import fix as fix_
    from diarbench.datasets.corpora.catalog import fetch as fetch_

    root = Path(dataset) if Path(dataset).is_dir() else fetch_(dataset).root
    workers = os.cpu_count() or 1
    checked = checks.check(root, workers)
    done = fix_(checked) if fix else []
    if done:
        checked = checks.check(root, workers)
    warnings = len(checked.findings) - checked.errors
    if json:
        findings = [finding.model_dump() for finding in checked.findings]
        told = {
            "dataset": str(root),
            "errors": checked.errors,
            "warnings": warnings,
            "fixed": done,
            "findings": findings,
        }
        typer.echo(json_.dumps(told, ensure_ascii=False, indent=1))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for line in done:
            console.print(f"mended: {line}", markup=False)
        _print_findings(console, checked.findings)
        console.print(f"{root}: {checked.errors} errors, {warnings} warnings")
    if checked.errors:
        raise typer.Exit(1)


@app.command()
def export(
    dataset: DatasetArgument,
    target: Annotated[Path, typer.Argument(help="A YAML file for pyannote, a folder for NeMo.")],
    to: Annotated[Literal["pyannote", "nemo"], typer.Option(help="The toolkit.")],
    window_s: Annotated[float | None, typer.Option(help="Cut NeMo's rows to windows of so many seconds.")] = None,
) -> None:
    """Write a dataset as pyannote.database YAML or as NeMo manifests, derived and by absolute paths."""
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.exports import write_database_yml, write_nemo_manifests

    opened = open_dataset(dataset)
    if to == "nemo":
        write_nemo_manifests(opened, target, window_s)
    elif window_s is not None:
        raise UserError("--window-s is for --to nemo: a pyannote protocol names whole recordings")
    else:
        write_database_yml(opened, target)


@app.command()
def show(
    datasets: Annotated[list[str], typer.Argument(help="Converted datasets' folders, or names of 'bench data list'.")],
    plot: Annotated[
        Path | None, typer.Option(help="Draw the same, and the turns' lengths, into this PNG, SVG or PDF.")
    ] = None,
) -> None:
    """Hours, speakers, turns and overlap by subset; of several datasets side by side."""
    from rich.console import Console

    from diarbench.datasets.corpora.catalog import open_dataset

    opened = [open_dataset(dataset) for dataset in datasets]
    console = Console()
    console.print(_summary(opened))
    if plot:
        from diarbench.datasets.plots import draw

        draw(opened, plot)
        console.print(f"{plot}: drawn", highlight=False)


app.command()(simulate)
app.command()(perturb)
