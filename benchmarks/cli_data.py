"""``bench data ...``: fetch, convert, look at and check datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diarbench.reports.records import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from diarbench.datasets.check import Finding
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
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; as many as there are cores where not given.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="What only this source knows, e.g. mic=sdm.")
    ] = None,
) -> None:
    """Convert a corpus into the layout that both toolkits train on; what is changed on the way is counted."""
    import os

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from diarbench.datasets.catalog import find_corpus
    from diarbench.datasets.convert import Split
    from diarbench.datasets.convert import convert as convert_

    *source, target = places
    if not 1 <= len(source) <= 2:
        raise UserError("bench data convert takes SOURCE DEST, or lhotse:CORPUS CORPUS_DIR DEST")
    _log_to_terminal()
    corpus = find_corpus(":".join(source), format_name, **_key_values(options or []))
    columns = (SpinnerColumn(), TextColumn("{task.completed} recordings converted"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("converting", total=None)
        converted = convert_(
            corpus,
            Path(target),
            split=Split(split or "recording", _shares(shares), seed),
            redraw=split is not None,
            channel=channel,
            workers=workers or os.cpu_count() or 1,
            progress=lambda done: progress.update(task, completed=done),
        )
    console = Console()
    console.print(_summary(converted.info))
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

    from diarbench.datasets import check as checks
    from diarbench.datasets.catalog import fetch as fetch_

    root = Path(dataset) if Path(dataset).is_dir() else fetch_(dataset).root
    workers = os.cpu_count() or 1
    checked = checks.check(root, workers)
    done = checks.fix(checked) if fix else []
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
    from diarbench.datasets.catalog import open_dataset
    from diarbench.datasets.exports import write_database_yml, write_nemo_manifests

    opened = open_dataset(dataset)
    if to == "nemo":
        write_nemo_manifests(opened, target, window_s)
    elif window_s is not None:
        raise UserError("--window-s is for --to nemo: a pyannote protocol names whole recordings")
    else:
        write_database_yml(opened, target)


@app.command()
def show(dataset: DatasetArgument) -> None:
    """Hours, speakers and overlap by subset."""
    from rich.console import Console

    from diarbench.datasets.catalog import open_dataset

    Console().print(_summary(open_dataset(dataset).info))


def _print_findings(console: Console, findings: list[Finding]) -> None:
    """Kinds by number, errors first, each with its first few places."""
    shown = 5
    by_kind: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        by_kind.setdefault((finding.level, finding.kind), []).append(finding)
    for (level, kind), alike in sorted(by_kind.items()):
        mendable = ", --fix mends it" if alike[0].fixable else ""
        console.print(f"[{'red' if level == 'error' else 'yellow'}]{level}[/] {kind}: {len(alike)}{mendable}")
        for finding in alike[:shown]:
            console.print(f"  {finding.where}: {finding.text}", markup=False)
        if len(alike) > shown:
            console.print(f"  and {len(alike) - shown} more; --json lists them all")


def _shares(given: str) -> tuple[float, float, float]:
    try:
        train, dev, test = (float(share) for share in given.split(","))
    except ValueError:
        train = dev = test = -1.0
    if not (min(train, dev, test) >= 0 and 0 < train + dev + test < float("inf")):
        raise UserError(f"--shares {given}: three numbers >= 0, for train, dev and test, e.g. 0.8,0.1,0.1")
    return train, dev, test


def _key_values(options: list[str]) -> dict[str, str]:
    pairs = [option.partition("=") for option in options]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise UserError(f"--set {key}: write it as KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _log_to_terminal() -> None:
    """What is dropped or mended is logged as a warning: show it, a line each."""
    import logging

    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])


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
