"""``bench data ...``: fetch, convert, look at and check datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import typer

from diarbench.reports.records import SUBSETS, UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from diarbench.datasets.check import Finding
    from diarbench.datasets.layout import Dataset

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


Formants = Annotated[
    str | None, typer.Option(metavar="LOW,HIGH", help="... and with formants so much higher again, at the same pitch.")
]
MakeNoise = Annotated[
    bool, typer.Option("--make-noise", help="Make noise up, steady and with knocks; with --noise in half of them.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; as many as there are cores where not given.")]


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
    workers: Workers = None,
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="What only this source knows, e.g. mic=sdm.")
    ] = None,
) -> None:
    """Convert a corpus into the layout that both toolkits train on; what is changed on the way is counted."""
    import os

    from rich.console import Console

    from diarbench.datasets.catalog import find_corpus
    from diarbench.datasets.convert import Split
    from diarbench.datasets.convert import convert as convert_

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
def simulate(
    source: Annotated[str, typer.Argument(help="A dataset, or a folder with a folder of utterances for each speaker.")],
    target: Annotated[Path, typer.Argument(metavar="DEST", help="The new dataset.")],
    recordings: Annotated[int, typer.Option(min=1, help="How many conversations, over all subsets.")] = 100,
    duration_s: Annotated[float, typer.Option(min=1.0, help="How long each, about.")] = 60.0,
    like: Annotated[str | None, typer.Option(help="A dataset to take turns like; SOURCE where it is one.")] = None,
    like_subset: Annotated[
        Literal["train", "dev", "test"] | None, typer.Option(help="... and only like this subset of it.")
    ] = None,
    overlapped: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Instead: this share of turns overlaps.")
    ] = None,
    overlap_share: Annotated[str, typer.Option(help="... by so much of its own length.")] = "0.3,0.4",
    pause_s: Annotated[float, typer.Option(min=0.0, help="... others come after a pause of this mean.")] = 0.5,
    turn_s: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="... turns are between the two long, not as long as the material's."),
    ] = None,
    speakers: Annotated[str, typer.Option(help="... and this many speak, drawn from a list.")] = "2,3,4",
    shares: Annotated[str, typer.Option(help="Of the conversations, to train, dev and test.")] = "0.8,0.1,0.1",
    measure_on: Annotated[
        str | None, typer.Option(help="Instead: simulate train alone; dev and test are those of this dataset.")
    ] = None,
    add_to: Annotated[str | None, typer.Option(help="... and train on what it has for that, too.")] = None,
    perturb: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Make other speakers of them: each so much faster and higher, drawn anew a conversation.",
        ),
    ] = None,
    formants: Formants = None,
    one_voice: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="... all of one voice in this share of the conversations.")
    ] = 0.0,
    level_db: Annotated[
        float, typer.Option(min=0.0, max=40.0, help="Make each speaker up to so much louder or quieter.")
    ] = 0.0,
    turn_db: Annotated[
        float, typer.Option(min=0.0, max=40.0, help="... each turn once more, and as another microphone would have it.")
    ] = 0.0,
    gain_db: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Make each conversation louder by a draw between the two.")
    ] = None,
    rooms: Annotated[Path | None, typer.Option(help="Room impulse responses to draw from.", exists=True)] = None,
    make_rooms: Annotated[bool, typer.Option("--make-rooms", help="Make rooms up instead.")] = False,
    noise: Annotated[
        str | None,
        typer.Option(help="Noises to draw from: a folder, or a dataset, of whose train the silences are cut."),
    ] = None,
    make_noise: MakeNoise = False,
    snr_db: Annotated[str, typer.Option(help="Speech over noise, drawn between the two.")] = "5,20",
    seed: Annotated[int, typer.Option(help="The same seed makes the same conversations.", min=0)] = 0,
    workers: Workers = None,
) -> None:
    """Build conversations from speech of single speakers; no speaker is in two subsets."""
    import os

    from rich.console import Console

    from diarbench.datasets import simulate as simulations
    from diarbench.datasets.audio import AUDIO_SUFFIXES
    from diarbench.datasets.catalog import open_dataset
    from diarbench.datasets.convert import convert as convert_
    from diarbench.datasets.layout import Dataset
    from diarbench.datasets.sources.pairing import files

    _log_to_terminal()
    is_dataset = _is_dataset(source)
    origin = open_dataset(source) if is_dataset else Path(source)
    by_subset = simulations.material(origin)
    if measure_on and add_to:
        raise UserError("--measure-on and --add-to: give one, as --add-to measures on its dataset, too")
    beside = add_to or measure_on
    real = open_dataset(beside) if beside else None
    wanted = (1.0, 0.0, 0.0) if real else _numbers("--shares", shares, 3, 0, float("inf"))
    pool = {k: v for k, v in by_subset.items() if k} or simulations.divide(by_subset[None], wanted, seed)
    if like or (is_dataset and overlapped is None):
        style = simulations.fit(open_dataset(like or source), (like_subset,) if like_subset else SUBSETS)
    else:
        style = simulations.asked(
            [piece for speaker in pool.values() for pieces in speaker.values() for piece in pieces],
            overlapped=0.3 if overlapped is None else overlapped,
            overlap_share=_numbers("--overlap-share", overlap_share, 2, 0, 1),  # type: ignore[arg-type]
            pause_s=pause_s,
            speakers=tuple(round(count) for count in _numbers("--speakers", speakers, None, 2, 99)),
            seed=seed,
            turn_s=_numbers("--turn-s", turn_s, 2, 0.1, 600) if turn_s else None,  # type: ignore[arg-type]
        )
    counts = {
        s: max(1, round(recordings * share / sum(wanted))) for s, share in zip(SUBSETS, wanted, strict=True) if share
    }
    work = target.with_name(f".{target.name}.simulating")
    processes = workers or os.cpu_count() or 1
    licence = origin.info.licence if isinstance(origin, Dataset) else f"that of {source}"
    try:
        noises, heard_in = _noises(noise, work)
        effects = simulations.Effects(
            tuple(files(rooms, AUDIO_SUFFIXES)) if rooms else (),
            make_rooms,
            noises,
            make_noise,
            _numbers("--snr-db", snr_db, 2, -50, 100),  # type: ignore[arg-type]
            level_db,
            turn_db,
            _numbers("--gain-db", gain_db, 2, -60, 20) if gain_db else (0.0, 0.0),  # type: ignore[arg-type]
        )
        if rooms and not effects.rooms:
            raise UserError(f"--rooms {rooms}: no audio files here")
        corpus = simulations.simulate(
            pool,
            style,
            work,
            recordings=counts,
            duration_s=duration_s,
            effects=effects,
            perturbation=simulations.Perturbation(
                _numbers("--perturb", perturb, 2, 0.5, 2) if perturb else None,  # type: ignore[arg-type]
                _numbers("--formants", formants, 2, 0.5, 2) if formants else None,  # type: ignore[arg-type]
                one_voice,
            ),
            seed=seed,
            workers=processes,
            corpus=origin.info.corpus if isinstance(origin, Dataset) else "",
            source=source,
            licence=licence + heard_in,
        )
        if real:
            corpus = simulations.joined(real, corpus, train=bool(add_to))
        with _Progress("simulated") as progress:
            made = convert_(corpus, target, progress=progress)
    finally:
        simulations.clear(work)
    Console().print(_summary([made] if not like else [open_dataset(like), made]))


@app.command()
def perturb(
    source: Annotated[str, typer.Argument(help="A dataset.")],
    target: Annotated[Path, typer.Argument(metavar="DEST", help="The new dataset: the old one, and copies in train.")],
    copies: Annotated[int, typer.Option(min=1, help="Of each train recording.")] = 3,
    speed: Annotated[
        str, typer.Option(metavar="LOW,HIGH", help="Each so much faster and higher, drawn between the two.")
    ] = "0.9,1.1",
    formants: Formants = None,
    noise: Annotated[str | None, typer.Option(help="Noises to draw from, as of 'bench data simulate'.")] = None,
    make_noise: MakeNoise = False,
    snr_db: Annotated[str, typer.Option(help="Recording over noise, drawn between the two.")] = "5,20",
    gain_db: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Make each copy louder by a draw between the two.")
    ] = None,
    add_to: Annotated[
        str | None, typer.Option(help="Instead: DEST is this dataset, and the copies in its train.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same copies.", min=0)] = 0,
    workers: Workers = None,
) -> None:
    """Train on a dataset's recordings at other speeds as well; dev and test stay as they are."""
    import os

    from rich.console import Console

    from diarbench.datasets import perturb as perturbing
    from diarbench.datasets import simulate as simulations
    from diarbench.datasets.catalog import open_dataset
    from diarbench.datasets.convert import convert as convert_

    _log_to_terminal()
    dataset = open_dataset(source)
    beside = open_dataset(add_to) if add_to else dataset
    work = target.with_name(f".{target.name}.perturbing")
    try:
        noises, heard_in = _noises(noise, work)
        corpus = perturbing.perturb(
            dataset,
            work,
            copies=copies,
            effects=simulations.Effects(
                noises=noises,
                made_noise=make_noise,
                snr_db=_numbers("--snr-db", snr_db, 2, -50, 100),  # type: ignore[arg-type]
                gain_db=_numbers("--gain-db", gain_db, 2, -60, 20) if gain_db else (0.0, 0.0),  # type: ignore[arg-type]
            ),
            perturbation=simulations.Perturbation(
                _numbers("--speed", speed, 2, 0.5, 2),  # type: ignore[arg-type]
                _numbers("--formants", formants, 2, 0.5, 2) if formants else None,  # type: ignore[arg-type]
            ),
            seed=seed,
            workers=workers or os.cpu_count() or 1,
        )
        corpus.licence += heard_in
        with _Progress("perturbed") as progress:
            made = convert_(simulations.joined(beside, corpus, train=True), target, progress=progress)
    finally:
        simulations.clear(work)
    Console().print(_summary([dataset, made]))


@app.command()
def show(
    datasets: Annotated[list[str], typer.Argument(help="Converted datasets' folders, or names of 'bench data list'.")],
    plot: Annotated[
        Path | None, typer.Option(help="Draw the same, and the turns' lengths, into this PNG, SVG or PDF.")
    ] = None,
) -> None:
    """Hours, speakers, turns and overlap by subset; of several datasets side by side."""
    from rich.console import Console

    from diarbench.datasets.catalog import open_dataset

    opened = [open_dataset(dataset) for dataset in datasets]
    console = Console()
    console.print(_summary(opened))
    if plot:
        from diarbench.datasets.stats import draw

        draw(opened, plot)
        console.print(f"{plot}: drawn", highlight=False)


def _summary(opened: list[Dataset]) -> Table:
    """A row for each dataset's subset (``each``: speakers of a recording; ``turn s``: the median), and what each is."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from diarbench.datasets.stats import describe

    told = (f"{d.info.name}: {d.info.source}; {d.info.licence}; split: {d.info.split_rule}" for d in opened)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
        caption=escape("\n".join(told)),
        caption_justify="left",
    )
    table.add_column("", no_wrap=True)
    for heading in ("recs", "hours", "silence", "overlap", "speakers", "each", "turns", "turn s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for dataset in opened:
        for subset, recordings in dataset.recordings.items():
            if not recordings:
                continue
            held, numbers = dataset.info.subsets[subset], describe(recordings)
            table.add_row(
                escape(f"{dataset.info.name} {subset}"),
                str(held.recordings),
                f"{held.audio_s / 3600:.3f}",
                f"{1 - held.voiced_s / (held.scored_s or 1):.1%}",
                f"{held.overlap_s / (held.voiced_s or 1):.1%}",
                str(held.speakers),
                f"{numbers.speakers_per_recording:.1f}",
                str(held.turns),
                f"{numbers.median_turn_s:.2f}",
            )
        table.add_section()
    return table


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


def _noises(given: str | None, work: Path) -> tuple[tuple[Path, ...], str]:
    """The files that ``--noise`` comes to, and what it adds to a licence."""
    from diarbench.datasets import simulate as simulations
    from diarbench.datasets.audio import AUDIO_SUFFIXES
    from diarbench.datasets.catalog import open_dataset
    from diarbench.datasets.sources.pairing import files

    if given is None:
        return (), ""
    if _is_dataset(given):
        dataset = open_dataset(given)
        return simulations.silences(dataset, work), f"; noise: {dataset.info.licence}"
    if not (found := tuple(files(Path(given), AUDIO_SUFFIXES))):
        raise UserError(f"--noise {given}: no audio files here")
    return found, ""


def _is_dataset(given: str) -> bool:
    from diarbench.datasets.catalog import KNOWN

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


class _Progress:
    """Counts recordings on the terminal as they are done."""

    def __init__(self, done: str) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        text = TextColumn(f"{{task.completed}} recordings {done}")
        self.bar = Progress(SpinnerColumn(), text, TimeElapsedColumn(), console=Console(stderr=True))
        self.task = self.bar.add_task(done, total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, done: int) -> None:
        self.bar.update(self.task, completed=done)


def _log_to_terminal() -> None:
    """What is dropped or mended is logged as a warning: show it, a line each."""
    import logging

    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
