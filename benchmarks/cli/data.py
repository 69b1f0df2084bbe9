"""``bench data ...``: fetch, convert, inspect and check datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diarbench.benchmarks.cli.console import RecordingProgress, log_to_terminal, working
from diarbench.benchmarks.cli.dataset_tables import print_findings, summary_table
from diarbench.benchmarks.cli.options import DatasetArgument, Workers, parse_key_values, parse_numbers
from diarbench.benchmarks.cli.simulate import perturb, simulate
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.names import plural

if TYPE_CHECKING:
    from diarbench.datasets.checking.findings import CheckResult
    from diarbench.datasets.conversion.corpus import Corpus
    from diarbench.datasets.dataset import Dataset

PIPED_WIDTH = 1000
"""The width of a table that is not printed to a terminal: no path is cut."""

app = typer.Typer(help="Fetch, convert, inspect and check datasets.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the datasets that can be fetched by name."""
    import sys

    from rich.table import Column, Table

    from diarbench.datasets.corpora.catalog import KNOWN, known, location
    from diarbench.reports.console import make_console

    table = Table("name", "what", "licence", Column("where", overflow="fold"))
    for name in KNOWN:
        module = known(name)
        where = str(location(name)) if location(name).exists() else "not fetched"
        table.add_row(name, module.SUMMARY, module.LICENCE, where)
    # Piped, a path stays on one line, for grep and cut.
    make_console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A name from 'bench data list'.")]) -> None:
    """Fetch a dataset by name, unless it is there already, and print its source and licence."""
    from diarbench.datasets.corpora.catalog import fetch as fetch_
    from diarbench.reports.console import make_console

    with working(make_console(stderr=True), f"fetching {name}"):
        dataset = fetch_(name)
    info = dataset.info
    make_console(soft_wrap=True).print(
        f"{name}: {dataset.root}\n  source: {info.source}\n  licence: {info.licence}", highlight=False
    )


@app.command()
def convert(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... DEST",
            help="SOURCE is a path, hf:NAME, or lhotse:CORPUS CORPUS_DIR; DEST is the new folder (with --reference, "
            "a dataset).",
        ),
    ],
    format_name: Annotated[
        str | None, typer.Option("--from", help="The format of the source; detected by default.")
    ] = None,
    split: Annotated[
        Literal["recording", "speaker"] | None,
        typer.Option(help="Draw new subsets instead of the source's own; by speaker, no two subsets share a speaker."),
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Shares of the hours for train, dev and test, if subsets are drawn.")
    ] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(help="Random seed for drawing subsets.")] = 0,
    cut_s: Annotated[
        float | None,
        typer.Option(help="Cut longer recordings at pauses into parts of at most this length, in seconds."),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(min=0, help="Use this channel, counted from 0, and the turns on it; by default all are averaged."),
    ] = None,
    all_turns: Annotated[
        bool, typer.Option("--all-turns", help="With --channel: keep all turns, since everybody is heard on it.")
    ] = False,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Add SOURCE to the dataset DEST as a second reference of its test recordings, which is scored too.",
        ),
    ] = None,
    workers: Workers = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the source, e.g. mic=sdm.")
    ] = None,
) -> None:
    """Convert a corpus into the layout that both toolkits train on, and count what is changed."""
    import os

    from diarbench.datasets.conversion.channels import select_channel
    from diarbench.datasets.conversion.convert import convert as convert_
    from diarbench.datasets.conversion.cut import cut_long
    from diarbench.datasets.conversion.second_reference import add_reference
    from diarbench.datasets.conversion.split import Split
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.formats.detect import find_corpus

    *source, target = places
    if not 1 <= len(source) <= 2:
        raise UserError("the arguments of bench data convert are SOURCE DEST, or lhotse:CORPUS CORPUS_DIR DEST")
    log_to_terminal()
    if reference is not None:
        if split or cut_s is not None or channel is not None:
            raise UserError("--reference: recordings are those of DEST; leave out --split, --cut-s and --channel")
        dataset = open_dataset(target)
        corpus = find_corpus(":".join(source), format_name, str(dataset.root), **parse_key_values(options or []))
        _print_format(corpus)
        _print_converted(add_reference(dataset, reference, corpus))
        return
    corpus = find_corpus(":".join(source), format_name, **parse_key_values(options or []))
    _print_format(corpus)
    if channel is not None:
        corpus = select_channel(corpus, channel, all_turns)
    elif all_turns:
        raise UserError("--all-turns is only for --channel N: without it, all turns are kept")
    if cut_s is not None:
        corpus = cut_long(corpus, cut_s)
    drawn = Split(split or "recording", parse_numbers("--shares", shares, 3, 0, float("inf")), seed)  # type: ignore[arg-type]
    with RecordingProgress("converted") as progress:
        converted = convert_(
            corpus,
            Path(target),
            split=drawn,
            redraw=split is not None,
            workers=workers or os.cpu_count() or 1,
            progress=progress,
        )
    _print_converted(converted)
    if converted.info.split_rule != str(drawn):
        _warn_of_empty_subsets(converted)


def _print_format(corpus: Corpus) -> None:
    """Print the format before the conversion, which may take hours."""
    from diarbench.reports.console import make_console

    if corpus.format_name:
        text = f"{corpus.source}: read as {corpus.format_name}; --from sets another format"
        make_console(soft_wrap=True, highlight=False).print(text, markup=False)


def _warn_of_empty_subsets(converted: Dataset) -> None:
    """Warn of empty subsets of the source's own. A drawn subset is empty only where its share is 0."""
    import logging

    if empty := [subset for subset, recordings in converted.recordings.items() if not recordings]:
        logging.getLogger(__name__).warning(
            "%s: no recording is in %s, by the source's own subsets; draw subsets with --split recording",
            converted.root,
            " or ".join(empty),
        )


def _print_converted(converted: Dataset) -> None:
    from diarbench.reports.console import make_console

    console = make_console()
    console.print(summary_table([converted]))
    console.print(f"subsets: {converted.info.split_rule}", highlight=False, soft_wrap=True)
    for kind, count in converted.info.changes.items():
        console.print(f"{kind}: {count}", highlight=False)


@app.command()
def check(
    dataset: DatasetArgument,
    json: Annotated[bool, typer.Option("--json", help="Print all findings as JSON on stdout.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Fix what needs no guess, and list the changes.")] = False,
    voices: Annotated[
        bool, typer.Option("--voices", help="Also compare names and voices by a speaker embedding (slow).")
    ] = False,
) -> None:
    """Report problems in a dataset by file and line; the exit status is 1 if there are errors."""
    import json as json_

    from diarbench.datasets.checking.fix import fix as fix_
    from diarbench.datasets.corpora.catalog import fetch as fetch_
    from diarbench.reports.console import make_console

    root = Path(dataset) if Path(dataset).is_dir() else fetch_(dataset).root
    checked = checked_dataset(root, voices)
    changes = fix_(checked) if fix else []
    if changes:
        checked = checked_dataset(root, voices)
    warnings = len(checked.findings) - checked.errors
    if json:
        findings = [finding.model_dump() for finding in checked.findings]
        report = {
            "dataset": str(root),
            "errors": checked.errors,
            "warnings": warnings,
            "fixed": changes,
            "findings": findings,
        }
        typer.echo(json_.dumps(report, indent=1))
    else:
        console = make_console(soft_wrap=True, highlight=False)
        for line in changes:
            console.print(f"fixed: {line}")
        print_findings(console, checked.findings)
        console.print(f"{root}: {plural(checked.errors, 'error')}, {plural(warnings, 'warning')}")
    if checked.errors:
        raise typer.Exit(1)


@app.command()
def merge(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")],
    datasets: Annotated[
        list[str], typer.Argument(metavar="DATASET", help="Two or more datasets, by folder or by name.")
    ],
    workers: Workers = None,
) -> None:
    """Merge datasets into one, with their subsets; recordings and speakers get the dataset's name as a prefix."""
    import os

    from diarbench.datasets.conversion.convert import convert as convert_
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.merging import merge as merge_
    from diarbench.reports.console import make_console

    if len(datasets) < 2:
        raise UserError("bench data merge needs at least two datasets: OUT DATASET DATASET")
    log_to_terminal()
    corpus = merge_([open_dataset(dataset) for dataset in datasets])
    with RecordingProgress("merged") as progress:
        merged = convert_(corpus, target, workers=workers or os.cpu_count() or 1, progress=progress)
    make_console().print(summary_table([merged]))


@app.command()
def export(
    dataset: DatasetArgument,
    target: Annotated[Path, typer.Argument(help="A YAML file for pyannote, or a folder for NeMo.")],
    to: Annotated[Literal["pyannote", "nemo"], typer.Option(help="The toolkit to export for.")],
    window_s: Annotated[
        float | None, typer.Option(help="Cut the rows of NeMo manifests to windows of this length.")
    ] = None,
) -> None:
    """Write a dataset as pyannote.database YAML or as NeMo manifests, with absolute paths."""
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.exports import write_database_yml, write_nemo_manifests

    opened = open_dataset(dataset)
    if to == "nemo":
        write_nemo_manifests(opened, target, window_s)
    elif window_s is not None:
        raise UserError("--window-s is only for --to nemo: a pyannote protocol lists whole recordings")
    else:
        write_database_yml(opened, target)


@app.command()
def show(
    datasets: Annotated[
        list[str], typer.Argument(help="Folders of converted datasets, or names from 'bench data list'.")
    ],
    plot: Annotated[
        Path | None,
        typer.Option(help="Also plot these statistics and the turn lengths into this PNG, SVG or PDF file."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Also write an HTML page: each reference over its audio, and what 'bench data check' finds."),
    ] = None,
    voices: Annotated[
        bool, typer.Option("--voices", help="With --page: also compare names and voices (slow).")
    ] = False,
) -> None:
    """Show hours, speakers, turns and overlap per subset of one or more datasets."""
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.reports.console import make_console

    if voices and not page:
        raise UserError("--voices is only for --page FILE; 'bench data check --voices' prints what it finds")
    opened = [open_dataset(dataset) for dataset in datasets]
    console = make_console()
    console.print(summary_table(opened))
    if plot:
        from diarbench.datasets.plots import draw

        draw(opened, plot)
        console.print(f"plot written to {plot}", highlight=False)
    if page:
        from diarbench.datasets.io.files import write_atomic
        from diarbench.reports.html.labels import render_labels

        checked = [(dataset, checked_dataset(dataset.root, voices)) for dataset in opened]
        write_atomic(page, render_labels(checked, page.parent))
        console.print(f"page written to {page}", highlight=False)


def checked_dataset(root: Path, voices: bool) -> CheckResult:
    """Check a dataset with all cores; with ``voices``, show how many recordings are done."""
    import os

    from diarbench.datasets.checking.check import check

    workers = os.cpu_count() or 1
    if not voices:
        return check(root, workers)
    from diarbench.backends.camplusplus.embedding import load_embedding

    embed = load_embedding()
    with RecordingProgress("compared") as progress:
        return check(root, workers, embed, progress)


app.command()(simulate)
app.command()(perturb)
