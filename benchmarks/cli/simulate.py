"""``bench data simulate`` and ``bench data perturb``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from diarbench.benchmarks.cli.console import _log_to_terminal, _Progress
from diarbench.benchmarks.cli.dataset_tables import _summary
from diarbench.benchmarks.cli.options import Formants, MakeNoise, Workers, _is_dataset, _numbers
from diarbench.datasets.dataset import SUBSETS
from diarbench.datasets.io.errors import UserError


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
    same_speaker_share: Annotated[
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

    from diarbench.datasets.conversion.convert import convert as convert_
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.dataset import Dataset
    from diarbench.datasets.io.audio import AUDIO_SUFFIXES
    from diarbench.datasets.io.files import files
    from diarbench.datasets.simulation import conversations as simulations
    from diarbench.datasets.simulation.effects import Effects
    from diarbench.datasets.simulation.perturbation import Perturbation
    from diarbench.datasets.simulation.segments import speech_segments, split_speakers
    from diarbench.datasets.simulation.turn_taking import fit_turn_taking, turn_taking_from_options

    _log_to_terminal()
    is_dataset = _is_dataset(source)
    origin = open_dataset(source) if is_dataset else Path(source)
    by_subset = speech_segments(origin)
    if measure_on and add_to:
        raise UserError("--measure-on and --add-to: give one, as --add-to measures on its dataset, too")
    beside = add_to or measure_on
    real = open_dataset(beside) if beside else None
    wanted = (1.0, 0.0, 0.0) if real else _numbers("--shares", shares, 3, 0, float("inf"))
    pool = {k: v for k, v in by_subset.items() if k} or split_speakers(by_subset[None], wanted, seed)
    if like or (is_dataset and overlapped is None):
        style = fit_turn_taking(open_dataset(like or source), (like_subset,) if like_subset else SUBSETS)
    else:
        style = turn_taking_from_options(
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
        effects = Effects(
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
            perturbation=Perturbation(
                _numbers("--perturb", perturb, 2, 0.5, 2) if perturb else None,  # type: ignore[arg-type]
                _numbers("--formants", formants, 2, 0.5, 2) if formants else None,  # type: ignore[arg-type]
                same_speaker_share,
            ),
            seed=seed,
            workers=processes,
            corpus=origin.info.corpus if isinstance(origin, Dataset) else "",
            source=source,
            licence=licence + heard_in,
        )
        if real:
            corpus = simulations.add_to_dataset(real, corpus, train=bool(add_to))
        with _Progress("simulated") as progress:
            made = convert_(corpus, target, progress=progress)
    finally:
        simulations.clear(work)
    Console().print(_summary([made] if not like else [open_dataset(like), made]))


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

    from diarbench.datasets.conversion.convert import convert as convert_
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.simulation import conversations as simulations
    from diarbench.datasets.simulation import perturbation as perturbing
    from diarbench.datasets.simulation.effects import Effects
    from diarbench.datasets.simulation.perturbation import Perturbation

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
            effects=Effects(
                noises=noises,
                synthetic_noise=make_noise,
                snr_db=_numbers("--snr-db", snr_db, 2, -50, 100),  # type: ignore[arg-type]
                gain_db=_numbers("--gain-db", gain_db, 2, -60, 20) if gain_db else (0.0, 0.0),  # type: ignore[arg-type]
            ),
            perturbation=Perturbation(
                _numbers("--speed", speed, 2, 0.5, 2),  # type: ignore[arg-type]
                _numbers("--formants", formants, 2, 0.5, 2) if formants else None,  # type: ignore[arg-type]
            ),
            seed=seed,
            workers=workers or os.cpu_count() or 1,
        )
        corpus.licence += heard_in
        with _Progress("perturbed") as progress:
            made = convert_(simulations.add_to_dataset(beside, corpus, train=True), target, progress=progress)
    finally:
        simulations.clear(work)
    Console().print(_summary([dataset, made]))


def _noises(given: str | None, work: Path) -> tuple[tuple[Path, ...], str]:
    """The files that ``--noise`` comes to, and what it adds to a licence."""
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.io.audio import AUDIO_SUFFIXES
    from diarbench.datasets.io.files import files
    from diarbench.datasets.simulation.segments import noise_from_pauses

    if given is None:
        return (), ""
    if _is_dataset(given):
        dataset = open_dataset(given)
        return noise_from_pauses(dataset, work), f"; noise: {dataset.info.licence}"
    if not (found := tuple(files(Path(given), AUDIO_SUFFIXES))):
        raise UserError(f"--noise {given}: no audio files here")
    return found, ""
