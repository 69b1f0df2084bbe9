"""``bench data simulate`` and ``bench data perturb``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from diarbench.benchmarks.cli.console import RecordingProgress, log_to_terminal
from diarbench.benchmarks.cli.dataset_tables import summary_table
from diarbench.benchmarks.cli.options import Formants, MakeNoise, Workers, is_dataset, parse_numbers
from diarbench.datasets.dataset import SUBSETS
from diarbench.datasets.io.errors import UserError


def simulate(
    source: Annotated[str, typer.Argument(help="A dataset, or a folder with one folder of utterances per speaker.")],
    target: Annotated[Path, typer.Argument(metavar="DEST", help="The new dataset.")],
    recordings: Annotated[int, typer.Option(min=1, help="Number of conversations in all subsets together.")] = 100,
    duration_s: Annotated[float, typer.Option(min=1.0, help="Approximate length of each conversation.")] = 60.0,
    like: Annotated[
        str | None, typer.Option(help="A dataset to fit turn-taking to; by default SOURCE, if it is a dataset.")
    ] = None,
    like_subset: Annotated[
        Literal["train", "dev", "test"] | None, typer.Option(help="Fit turn-taking to this subset only.")
    ] = None,
    overlapped: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Set turn-taking by options instead: the share of turns that overlap."),
    ] = None,
    overlap_share: Annotated[
        str, typer.Option(help="With --overlapped: range of the overlap, as a share of the turn's length.")
    ] = "0.3,0.4",
    pause_s: Annotated[
        float, typer.Option(min=0.0, help="With --overlapped: mean pause before the other turns.")
    ] = 0.5,
    turn_s: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH", help="With --overlapped: range of the turn length; by default as in the material."
        ),
    ] = None,
    speakers: Annotated[str, typer.Option(help="With --overlapped: numbers of speakers to draw from.")] = "2,3,4",
    shares: Annotated[str, typer.Option(help="Shares of the conversations for train, dev and test.")] = "0.8,0.1,0.1",
    measure_on: Annotated[
        str | None, typer.Option(help="Simulate train only, and take dev and test from this dataset.")
    ] = None,
    add_to: Annotated[
        str | None, typer.Option(help="Like --measure-on, but keep the dataset's train recordings as well.")
    ] = None,
    perturb: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Make new speakers by speed perturbation: a random factor per speaker and conversation.",
        ),
    ] = None,
    formants: Formants = None,
    same_speaker_share: Annotated[
        float,
        typer.Option(
            "--same-speaker-share",
            "--one-voice",  # its name in version 0.1
            min=0.0,
            max=1.0,
            help="Share of the conversations whose speakers are all made from one voice.",
        ),
    ] = 0.0,
    level_db: Annotated[
        float, typer.Option(min=0.0, max=40.0, help="Change each speaker's level by up to this much, up or down.")
    ] = 0.0,
    turn_db: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=40.0,
            help="Change each turn's level by up to this much, and each frequency by up to half of it.",
        ),
    ] = 0.0,
    gain_db: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Range of the gain of each conversation.")
    ] = None,
    rooms: Annotated[
        Path | None, typer.Option(help="A folder of room impulse responses to draw from.", exists=True)
    ] = None,
    make_rooms: Annotated[
        bool, typer.Option("--make-rooms", help="Simulate rooms instead (image-source method).")
    ] = False,
    noise: Annotated[
        str | None,
        typer.Option(help="A folder of noise recordings, or a dataset whose silences in train are used as noise."),
    ] = None,
    make_noise: MakeNoise = False,
    snr_db: Annotated[str, typer.Option(help="Range of the SNR of each conversation.")] = "5,20",
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same conversations.", min=0)] = 0,
    workers: Workers = None,
) -> None:
    """Simulate conversations from speech of single speakers; no two subsets share a speaker."""
    import os

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
    from diarbench.reports.console import make_console

    log_to_terminal()
    source_is_dataset = is_dataset(source)
    origin = open_dataset(source) if source_is_dataset else Path(source)
    segments = speech_segments(origin)
    if measure_on and add_to:
        raise UserError("use either --measure-on or --add-to: --add-to also takes dev and test from its dataset")
    base = add_to or measure_on
    real = open_dataset(base) if base else None
    subset_shares = (1.0, 0.0, 0.0) if real else parse_numbers("--shares", shares, 3, 0, float("inf"))
    pool = {k: v for k, v in segments.items() if k} or split_speakers(segments[None], subset_shares, seed)
    if like or (source_is_dataset and overlapped is None):
        style = fit_turn_taking(open_dataset(like or source), (like_subset,) if like_subset else SUBSETS)
    else:
        style = turn_taking_from_options(
            [segment for voices in pool.values() for voice in voices.values() for segment in voice],
            overlapped=0.3 if overlapped is None else overlapped,
            overlap_share=parse_numbers("--overlap-share", overlap_share, 2, 0, 1),  # type: ignore[arg-type]
            pause_s=pause_s,
            speakers=tuple(round(count) for count in parse_numbers("--speakers", speakers, None, 2, 99)),
            seed=seed,
            turn_s=parse_numbers("--turn-s", turn_s, 2, 0.1, 600) if turn_s else None,  # type: ignore[arg-type]
        )
    counts = {
        s: max(1, round(recordings * share / sum(subset_shares)))
        for s, share in zip(SUBSETS, subset_shares, strict=True)
        if share
    }
    processes = workers or os.cpu_count() or 1
    licence = origin.info.licence if isinstance(origin, Dataset) else f"that of {source}"
    with simulations.work_folder(target) as work:
        noises, noise_licence = _noise_files(noise, work)
        effects = Effects(
            tuple(files(rooms, AUDIO_SUFFIXES)) if rooms else (),
            make_rooms,
            noises,
            make_noise,
            parse_numbers("--snr-db", snr_db, 2, -50, 100),  # type: ignore[arg-type]
            level_db,
            turn_db,
            parse_numbers("--gain-db", gain_db, 2, -60, 20) if gain_db else (0.0, 0.0),  # type: ignore[arg-type]
        )
        if rooms and not effects.rooms:
            raise UserError(f"--rooms {rooms}: contains no audio files")
        corpus = simulations.simulate(
            pool,
            style,
            work,
            recordings=counts,
            duration_s=duration_s,
            effects=effects,
            perturbation=Perturbation(
                parse_numbers("--perturb", perturb, 2, 0.5, 2) if perturb else None,  # type: ignore[arg-type]
                parse_numbers("--formants", formants, 2, 0.5, 2) if formants else None,  # type: ignore[arg-type]
                same_speaker_share,
            ),
            seed=seed,
            workers=processes,
            corpus=origin.info.corpus if isinstance(origin, Dataset) else "",
            source=source,
            licence=licence + noise_licence,
        )
        if real:
            corpus = simulations.add_to_dataset(real, corpus, train=bool(add_to))
        with RecordingProgress("simulated") as progress:
            simulated = convert_(corpus, target, progress=progress)
    make_console().print(summary_table([simulated] if not like else [open_dataset(like), simulated]))


def perturb(
    source: Annotated[str, typer.Argument(help="A dataset.")],
    target: Annotated[
        Path, typer.Argument(metavar="DEST", help="The new dataset: SOURCE with perturbed copies added to train.")
    ],
    copies: Annotated[int, typer.Option(min=1, help="Number of copies of each train recording.")] = 3,
    speed: Annotated[str, typer.Option(metavar="LOW,HIGH", help="Range of the speed factor of each copy.")] = "0.9,1.1",
    formants: Formants = None,
    noise: Annotated[
        str | None, typer.Option(help="A folder of noise recordings or a dataset, as in 'bench data simulate'.")
    ] = None,
    make_noise: MakeNoise = False,
    snr_db: Annotated[str, typer.Option(help="Range of the SNR of each copy.")] = "5,20",
    gain_db: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="Range of the gain of each copy.")] = None,
    add_to: Annotated[
        str | None, typer.Option(help="Add the copies to the train subset of this dataset instead.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same copies.", min=0)] = 0,
    workers: Workers = None,
) -> None:
    """Add copies of the train recordings at other speeds; dev and test do not change."""
    import os

    from diarbench.datasets.conversion.convert import convert as convert_
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.simulation import conversations as simulations
    from diarbench.datasets.simulation import perturbation as perturbing
    from diarbench.datasets.simulation.effects import Effects
    from diarbench.datasets.simulation.perturbation import Perturbation
    from diarbench.reports.console import make_console

    log_to_terminal()
    dataset = open_dataset(source)
    base = open_dataset(add_to) if add_to else dataset
    with simulations.work_folder(target) as work:
        noises, noise_licence = _noise_files(noise, work)
        corpus = perturbing.perturb(
            dataset,
            work,
            copies=copies,
            effects=Effects(
                noises=noises,
                synthetic_noise=make_noise,
                snr_db=parse_numbers("--snr-db", snr_db, 2, -50, 100),  # type: ignore[arg-type]
                gain_db=parse_numbers("--gain-db", gain_db, 2, -60, 20) if gain_db else (0.0, 0.0),  # type: ignore[arg-type]
            ),
            perturbation=Perturbation(
                parse_numbers("--speed", speed, 2, 0.5, 2),  # type: ignore[arg-type]
                parse_numbers("--formants", formants, 2, 0.5, 2) if formants else None,  # type: ignore[arg-type]
            ),
            seed=seed,
            workers=workers or os.cpu_count() or 1,
        )
        corpus.licence += noise_licence
        with RecordingProgress("perturbed") as progress:
            perturbed = convert_(simulations.add_to_dataset(base, corpus, train=True), target, progress=progress)
    make_console().print(summary_table([dataset, perturbed]))


def _noise_files(source: str | None, work: Path) -> tuple[tuple[Path, ...], str]:
    """The files that ``--noise`` refers to, and the note to add to the licence."""
    from diarbench.datasets.corpora.catalog import open_dataset
    from diarbench.datasets.io.audio import AUDIO_SUFFIXES
    from diarbench.datasets.io.files import files
    from diarbench.datasets.simulation.segments import noise_from_pauses

    if source is None:
        return (), ""
    if is_dataset(source):
        dataset = open_dataset(source)
        return noise_from_pauses(dataset, work), f"; noise: {dataset.info.licence}"
    paths = tuple(files(Path(source), AUDIO_SUFFIXES))
    if not paths:
        raise UserError(f"--noise {source}: contains no audio files")
    return paths, ""
