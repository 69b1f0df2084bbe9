"""Print a comparison's summary, its tables, or a leaderboard on the terminal, in 80 columns or more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Literal

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from diarbench.datasets.io.names import plural, visible
from diarbench.reports.formatting import NONE, convention, name_parts, percent, short_words, shortened
from diarbench.reports.leaderboard import Leaderboard
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import EPOCH_COLUMNS, Run
from diarbench.reports.summary.headline import Headline, headline
from diarbench.reports.summary.summary import Section, summarize
from diarbench.reports.tables.contents import contents
from diarbench.reports.tables.identity import constants
from diarbench.reports.tables.runs import abridged, epoch_table
from diarbench.reports.tables.table import Column, Table

WIDE = 140
"""Terminal width, in characters, from which the leaderboard includes costs and the epochs are one table."""

SUMMARY_LINES = 15
"""Lines of the summary at most, however many datasets, systems and failures there are."""

FAILURES_SHOWN = 3

WORD_WIDTHS = (200, 60, 40, 32, 24, 16, 12, 9, 7)
"""Characters to which the words of a table are shortened: the first with which it fits the terminal."""

Lines = list[tuple[str, str]]
"""Lines of text, each with its style."""


def print_summary(comparisons: Sequence[Comparison], folder: Path, reports: Sequence[Path], console: Console) -> None:
    """Print which system leads, by how much, whether that is real, and what to do next.

    ``folder`` has the comparison's runs; ``reports`` are the files that were written.
    """
    summaries = [summarize(comparison) for comparison in comparisons]
    headlines = [headline(summary, dataset, folder) for summary in summaries for dataset in summary.datasets]
    end: Lines = _failure_lines([line for summary in summaries for line in summary.failures], console)
    pages = [str(path) for path in reports if path.suffix == ".html"]
    end += [("Report  " + ", ".join([pages[0], *(Path(path).name for path in pages[1:])]), "")] if pages else []
    end += [(f"Next    {step.command}", "") for each in headlines[:1] for step in each.next_steps[:1]]
    room = SUMMARY_LINES - len(end)
    shown = headlines[: room - 1] if len(headlines) > room else headlines
    for each in shown:
        for text, style in _headline_lines(each, room // len(shown), console):
            _print_line(console, text, style)
    if len(shown) < len(headlines):
        _print_line(console, f"and {plural(len(headlines) - len(shown), 'more dataset')}: see the report", "")
    for text, style in end:
        _print_line(console, text, style)


def _headline_lines(each: Headline, room: int, console: Console) -> Lines:
    """The headline in at most ``room`` lines: first the table is left out, then the effects, then the evidence."""
    where = [(line, "bold underline") for line in _wrapped(each.where, console)]
    verdict = [(line, "bold") for line in _wrapped(each.verdict, console)]
    effects = [(line, "") for step, text in each.effects.items() for line in _wrapped(f"{step}: {text}", console)]
    rows = room - len(where) - len(verdict) - len(effects) - 1
    if rows >= min(2, len(each.standings)):
        table = [(line, "") for line in _standing_lines(each, rows, console.width)] if each.standings else []
        return [*where, *table, *verdict, *effects]
    for lines in ([*where, *verdict, *effects], [*where, *verdict]):
        if len(lines) <= room:
            return lines
    return [(_wrapped(each.title, console)[0], "bold")]


def _standing_lines(each: Headline, rows: int, width: int) -> Iterator[str]:
    """A header, and a row for each system with its DER at each stage; systems beyond ``rows`` are counted."""
    shown = each.standings if len(each.standings) <= rows else each.standings[: rows - 1]
    widths = [max(len(stage), 5) + 2 for stage in each.stages]
    name_width = min(
        max((cell_len(standing.name) for standing in shown), default=0), width - sum(widths) - len("DER %") - 2
    )
    name_width = max(name_width, len("DER %"))
    yield "DER %".ljust(name_width) + "".join(stage.rjust(w) for stage, w in zip(each.stages, widths, strict=True))
    for standing in shown:
        ders = [percent(standing.stages[stage].der) if stage in standing.stages else NONE for stage in each.stages]
        cells = "".join(der.rjust(w) for der, w in zip(ders, widths, strict=True))
        yield set_cell_size(shortened(standing.name, name_width), name_width) + cells
    if len(shown) < len(each.standings):
        yield f"and {plural(len(each.standings) - len(shown), 'more system')}: see the report"


def _failure_lines(failures: Sequence[str], console: Console) -> Lines:
    """The failed runs with their reasons, each cut to a line or two, as the report has all of them."""
    shown = failures if len(failures) <= FAILURES_SHOWN else failures[: FAILURES_SHOWN - 1]
    most = 2 if len(failures) < FAILURES_SHOWN else 1
    lines: Lines = [(line, "red") for failure in shown for line in _cut(f"Failed: {failure}", console, most)]
    if len(shown) < len(failures):
        lines.append((f"Failed: {plural(len(failures) - len(shown), 'more run')}: see the report", "red"))
    return lines


def _wrapped(text: str, console: Console, margin: int = 0) -> list[str]:
    """Lines of whole words; a word that takes more than half a line is shortened."""
    words = Text(short_words(" ".join(text.split()), console.width // 2))
    return [line.plain.rstrip() for line in words.wrap(console, console.width - margin)]


def _cut(text: str, console: Console, most: int) -> list[str]:
    """At most so many lines, with dots where whole words were left out."""
    lines = _wrapped(text, console, margin=len(" …"))
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1]} …"]


def _print_line(console: Console, text: str, style: str) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print each run's epochs, then each dataset's tables and footnotes, then failures and notes."""
    summary = summarize(comparison)
    for run in comparison.runs:
        _print_epochs(console, run)
    for dataset in summary.datasets:
        for section in summary.of(dataset):
            console.print(Text(_heading(section), style="bold underline"))
            for title, table in contents(summary, section):
                _print_table(console, title, table)
        _print_footnotes(console, summary.footnotes_of(dataset))
    for failure in summary.failures:
        console.print(Text(failure, style="red"))
    for note in summary.notes:
        console.print(Text(note, style="dim"))


def print_leaderboard(leaderboard: Leaderboard, console: Console) -> None:
    """One table per board with its footnotes, with costs on wide terminals; then the notes."""
    for board in leaderboard.boards:
        _print_table(console, board.title, board.scores + board.costs if console.width >= WIDE else board.scores)
        _print_footnotes(console, board.footnotes)
    for note in leaderboard.notes:
        console.print(Text(note, style="dim"))


def _print_epochs(console: Console, run: Run) -> None:
    """The fine-tuning guide's table of epochs; on narrow terminals losses and rates are separate tables."""
    if not run.epochs:
        return
    table = abridged(epoch_table(run), run.best_epoch)
    best = "" if run.best_epoch is None else f"; the best is {run.best_epoch}"
    if console.width >= WIDE:
        _print_table(console, f"{visible(run.name)}: epochs{best}", table)
        return
    losses = [at for at, name in enumerate(EPOCH_COLUMNS) if name.startswith("loss")]
    rates = [at for at in range(1, len(table.columns)) if at not in losses]
    _print_table(console, f"{visible(run.name)}: losses", table.only([0, *losses]))
    _print_table(console, f"{visible(run.name)}: rates on dev windows{best}", table.only([0, *rates]))


def _heading(section: Section) -> str:
    same = constants(section)
    protocol = f"{visible(section.dataset)}, {section.subset}, {convention(section.condition)}"
    return f"{protocol}; {same}" if same else protocol


def _print_table(console: Console, title: str, table: Table) -> None:
    """Words are shortened where the table is too wide, and never broken."""
    console.print(Text(title, style="bold"))
    for word_width, padding in product(WORD_WIDTHS, (1, 0)):
        names = [short_words(_column_name(column), word_width) for column in table.columns]
        rows = [[short_words(cell.text, word_width) for cell in row] for row in table.rows]
        columns = list(zip(names, *rows, strict=True))
        spare = console.width - (1 + padding) * (len(columns) - 1) - sum(map(_longest_word, columns))
        if spare >= 0:
            break
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, padding, 0, 0), pad_edge=False, show_edge=False)
    for column, name, width in zip(table.columns, names, _column_widths(columns, spare), strict=True):
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        drawn.add_column(Text(name), justify=justify, width=width, overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    console.print(drawn, "")


def _column_widths(columns: Sequence[Sequence[str]], spare: int) -> list[int]:
    """Each column's longest word, and what is spare divided among the columns whose texts are longer."""
    widths = list(map(_longest_word, columns))
    wanted = [max(len(line) for text in texts for line in text.split("\n")) for texts in columns]
    by_need = sorted(range(len(columns)), key=lambda at: wanted[at] - widths[at])
    for done, at in enumerate(by_need):
        given = max(0, min(wanted[at] - widths[at], spare // (len(columns) - done)))
        widths[at] += given
        spare -= given
    return widths


def _longest_word(texts: Sequence[str]) -> int:
    return max(len(word) for text in texts for word in text.split() or [""])


def _column_name(column: Column) -> str:
    """The guide's long compound names, such as loss/val/vad and FalseAlarm, take several lines."""
    return "\n".join(name_parts(column.name)) if column.numeric else column.name


def _print_footnotes(console: Console, footnotes: dict[str, str]) -> None:
    for letter, reason in footnotes.items():
        console.print(Text.assemble((f"{letter}  ", "bold"), reason))
