"""Conversations made of single-speaker speech, taking turns as a real dataset does, or as asked.

Landini et al., "From simulated mixtures to simulated conversations as training data for end-to-end neural diarization"
(Interspeech 2022) draw pauses and overlaps between turns one by one from those of real conversations. Here they are
drawn an island at a time, a silence and the unbroken speech after it, so that an interjection stays in the long turn
that it came in, and speech, silence and overlap come out as they were fitted.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diarbench.datasets.acoustics import (
    at_snr,
    coloured,
    in_room,
    made_noise,
    made_room,
    noise_from,
    room_from,
    with_formants,
)
from diarbench.datasets.audio import Clip, need, write_audio
from diarbench.datasets.convert import Corpus, Found, in_parallel
from diarbench.datasets.layout import SAMPLE_RATE, Dataset
from diarbench.datasets.rttm import Turn
from diarbench.datasets.sources.pairing import AUDIO_SUFFIXES, files
from diarbench.reports.records import SUBSETS, Subset, UserError

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

SHORTEST_S = 0.3
"""Speech shorter than this is not used as material."""
FADE_S = 0.005
LOCAL_NAME = re.compile(r"(spk|speaker|s)?[_-]?\d{1,3}", re.IGNORECASE)
"""Names that mean another person in every recording."""


class Step(NamedTuple):
    """A turn: how long, how far from the end of all speech before it (negative: it overlaps), and who takes it."""

    length_s: float
    distance_s: float
    speaker: int
    """By order of appearance in the island."""


class Island(NamedTuple):
    """A silence (the first step's distance) and the unbroken speech after it."""

    steps: tuple[Step, ...]
    resumes: bool
    """Whoever spoke last before the silence goes on."""

    @property
    def speakers(self) -> int:
        return 1 + max(step.speaker for step in self.steps)


@dataclass(frozen=True)
class Style:
    """How conversations go: islands, and numbers of speakers, to draw from."""

    islands: tuple[Island, ...]
    speakers: tuple[int, ...]


class Piece(NamedTuple):
    """A stretch of one speaker's speech in a file; in the file's seconds."""

    path: Path
    start_s: float
    length_s: float
    factor: float = 1.0
    """How much faster it is played, by resampling: pitch and formants go up with the speed."""
    formants: float = 1.0
    """How much higher its formants are than that."""


@dataclass(frozen=True)
class Effects:
    """What rooms and noise do to the speech: files to draw from, or made up, and the ratio to the noise."""

    rooms: tuple[Path, ...] = ()
    """Room impulse responses."""
    made_rooms: bool = False
    """Rooms made up by the image-source method (pyroomacoustics)."""
    noises: tuple[Path, ...] = ()
    made_noise: bool = False
    """Noise made up: steady, from white to brown, with knocks over it; in half of the conversations where there are
    files as well."""
    snr_db: tuple[float, float] = (5.0, 20.0)
    level_db: float = 0.0
    """Each speaker is up to so much louder or quieter than the speech was."""
    turn_db: float = 0.0
    """Each turn is, once more, and up to half of it at each frequency: no level and no microphone tells who speaks."""
    gain_db: tuple[float, float] = (0.0, 0.0)
    """Of a whole conversation, with its noise."""


@dataclass(frozen=True)
class Perturbation:
    """How other speakers are made of those there are, drawn anew for each conversation."""

    speed: tuple[float, float] | None = None
    """Between so much slower and faster, on a log scale; pitch and formants go with it."""
    formants: tuple[float, float] | None = None
    """Formants between so much lower and higher than that."""
    one_voice: float = 0.0
    """In this share of the conversations all are made of a single one, with factors that are not near each other:
    nothing but pitch and formants tells them apart, no microphone and no language.
    """

    @property
    def words(self) -> str:
        """What is done to speakers, to follow what they are called; nothing where nothing is."""
        speed = f" at {self.speed[0]:g} to {self.speed[1]:g} of their speed" if self.speed else ""
        low, high = self.formants or (1, 1)
        return speed + (f", formants at {low:g} to {high:g} of theirs" if self.formants else "")

    def factors(self, places: np.ndarray) -> list[list[float]]:
        """Speed and formants, to two decimals, for places (speakers, 2) from 0 to 1 in their ranges."""
        import numpy as np

        low, high = np.log([self.speed or (1, 1), self.formants or (1, 1)]).T
        found: list[list[float]] = np.exp(low + places * (high - low)).round(2).tolist()
        return found

    def suffix(self, speed: float, formants: float) -> str:
        """Of the name of a speaker that was made of another."""
        return f"@{speed:.2f}" + (f",{formants:.2f}" if self.formants else "")


def fit(dataset: Dataset, subsets: Sequence[Subset] = SUBSETS) -> Style:
    """The turn-taking of a dataset's references, in these subsets. Raises UserError where nobody speaks."""
    recordings = [recording for subset in subsets for recording in dataset.recordings.get(subset, ())]
    style = style_of((recording.turns, recording.duration_s) for recording in recordings)
    if not style.islands:
        where = "it" if set(subsets) == set(SUBSETS) else " and ".join(subsets)
        raise UserError(f"{dataset.root}: nobody speaks in {where}, so there is nothing to fit")
    return style


def style_of(recordings: Iterable[tuple[Sequence[Turn], float]]) -> Style:
    """The turn-taking of recordings, each with its turns and its length in seconds.

    The silence at a recording's end goes with that at its beginning, for which speech comes round again.
    """
    islands: list[Island] = []
    speakers: list[int] = []
    for turns, duration_s in recordings:
        ordered = sorted(turns)
        end_s = min(0.0, max((turn.end_s for turn in turns), default=0.0) - duration_s)
        last, before, steps, names = "", "", [], {}  # type: ignore[var-annotated]
        for turn in ordered:
            distance_s = turn.start_s - end_s
            if steps and distance_s > 0:
                islands.append(Island(tuple(steps), before == next(iter(names))))
                before, steps, names = last, [], {}
            steps.append(Step(turn.end_s - turn.start_s, distance_s, names.setdefault(turn.speaker, len(names))))
            if turn.end_s > end_s:
                end_s, last = turn.end_s, turn.speaker
        if steps:
            islands.append(Island(tuple(steps), before == next(iter(names))))
            speakers.append(len({turn.speaker for turn in turns}))
    return Style(tuple(islands), tuple(speakers))


def asked(
    pieces: Sequence[Piece],
    *,
    overlapped: float,
    overlap_share: tuple[float, float],
    pause_s: float,
    speakers: tuple[int, ...],
    seed: int,
    turn_s: tuple[float, float] | None = None,
) -> Style:
    """Turns as long as the material's pieces, or between ``turn_s`` long; a share of them overlaps the one before.

    By so much of its own length, but by no more than what the turn before has left to itself. The others come after a
    pause, exponential with a mean of ``pause_s`` seconds.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    lengths_s = [piece.length_s for piece in pieces]
    if turn_s:
        lengths_s = np.random.default_rng([seed, 1]).uniform(*turn_s, len(pieces)).tolist()
    islands: list[list[Step]] = []
    alone_s = 0.0
    for length_s in lengths_s:
        if islands and rng.random() < overlapped:
            overlap_s = min(rng.uniform(*overlap_share) * length_s, alone_s)
            islands[-1].append(Step(length_s, -overlap_s, 1 - islands[-1][-1].speaker))
            alone_s = length_s - overlap_s
        else:
            islands.append([Step(length_s, rng.exponential(pause_s), 0)])
            alone_s = length_s
    return Style(tuple(Island(tuple(steps), resumes=False) for steps in islands), speakers)


def material(source: Path | Dataset) -> dict[Subset | None, dict[str, list[Piece]]]:
    """Pieces of speech by subset and speaker: a dataset's stretches where one speaks alone, or a folder a speaker.

    Raises UserError where there is none.
    """
    pieces: dict[Subset | None, dict[str, list[Piece]]] = {}
    if isinstance(source, Dataset):
        for subset, recordings in source.recordings.items():
            for recording in recordings:
                for turn in alone(recording.turns):
                    name = f"{recording.uri}-{turn.speaker}" if LOCAL_NAME.fullmatch(turn.speaker) else turn.speaker
                    piece = Piece(recording.audio, turn.start_s, turn.end_s - turn.start_s)
                    pieces.setdefault(subset, {}).setdefault(name, []).append(piece)
    else:
        import soundfile

        for path in files(source, AUDIO_SUFFIXES):
            try:
                length_s = soundfile.info(str(path)).duration
            except (OSError, RuntimeError) as error:
                raise UserError(f"{path}: not readable audio ({error})") from error
            if path.parent != source and length_s >= SHORTEST_S:
                speaker = path.relative_to(source).parts[0]
                pieces.setdefault(None, {}).setdefault(speaker, []).append(Piece(path, 0.0, length_s))
    if not pieces:
        where = source.root if isinstance(source, Dataset) else source
        raise UserError(f"{where}: no speech to build from (a dataset, or a folder of audio files for each speaker)")
    return pieces


def silences(dataset: Dataset, work: Path) -> tuple[Path, ...]:
    """Noise to draw from, written below ``work``: of each train recording the annotated stretches in which nobody
    speaks, one after another, ends faded.

    Raises UserError where none is `SHORTEST_S` long.
    """
    import numpy as np
    import soundfile

    work.mkdir(parents=True, exist_ok=True)
    found = []
    for recording in dataset.subset("train"):
        quiet = recording.reference.get_timeline().gaps(recording.scored)
        pieces = [Piece(recording.audio, gap.start, gap.duration) for gap in quiet if gap.duration >= SHORTEST_S]
        if pieces:
            found.append(work / f"silences_{recording.uri}.wav")
            faded = [_faded(_as_it_is(piece, found[-1])) for piece in pieces]
            soundfile.write(str(found[-1]), np.concatenate(faded), SAMPLE_RATE, subtype="PCM_16")
    if not found:
        raise UserError(
            f"{dataset.root}: nobody is silent for {SHORTEST_S:g} s in train, so no noise can be cut from it"
        )
    return tuple(found)


def alone(turns: Sequence[Turn]) -> list[Turn]:
    """The stretches, of at least `SHORTEST_S`, in which a turn's speaker speaks alone."""
    edges = sorted({time for turn in turns for time in (turn.start_s, turn.end_s)})
    stretches: list[Turn] = []
    active: set[Turn] = set()
    starting, position = sorted(turns), 0
    for start_s, end_s in pairwise(edges):
        active = {turn for turn in active if turn.end_s > start_s}
        while position < len(starting) and starting[position].start_s <= start_s:
            active.add(starting[position])
            position += 1
        if len(active) == 1 and end_s - start_s >= SHORTEST_S:
            stretches.append(Turn(start_s, end_s, next(iter(active)).speaker))
    return stretches


def divide(
    speakers: dict[str, list[Piece]], shares: Sequence[float], seed: int
) -> dict[Subset, dict[str, list[Piece]]]:
    """Speakers drawn into subsets, none into two. Raises UserError where a subset would have fewer than two."""
    import numpy as np

    names = sorted(speakers)
    np.random.default_rng(seed).shuffle(names)
    wanted = [(subset, share / sum(shares)) for subset, share in zip(SUBSETS, shares, strict=True) if share > 0]
    divided: dict[Subset, dict[str, list[Piece]]] = {}
    for place, (subset, share) in enumerate(wanted):
        left = len(wanted) - place - 1
        count = len(names) if not left else max(2, round(share * len(speakers)))
        count = min(count, len(names) - 2 * left)
        if count < 2:
            raise UserError(
                f"{len(speakers)} speakers are too few for {len(wanted)} subsets; each needs two of its own"
            )
        divided[subset] = {name: speakers[name] for name in names[:count]}
        names = names[count:]
    return divided


@dataclass(frozen=True)
class _Job:
    """One conversation to be made."""

    uri: str
    subset: Subset
    speakers: dict[str, list[Piece]]
    """Those that take part."""
    turns: list[Turn]
    effects: Effects
    seed: tuple[int, ...]
    target: Path


def simulate(
    speakers: dict[Subset, dict[str, list[Piece]]],
    style: Style,
    work: Path,
    *,
    recordings: dict[Subset, int],
    duration_s: float,
    effects: Effects | None = None,
    perturbation: Perturbation | None = None,
    seed: int = 0,
    workers: int = 1,
    corpus: str = "",
    source: str = "",
    licence: str = "that of the speech",
) -> Corpus:
    """Conversations of about ``duration_s`` seconds as a corpus to convert; their audio is written below ``work``.

    Perturbed speakers are named ``NAME@SPEED``, or ``NAME@SPEED,FORMANTS``, by factors of two decimals.
    The same seed gives the same recordings, whatever the workers. Raises UserError where a subset has fewer than two
    speakers, or for conversations of one voice that is not perturbed.
    """
    made_by = perturbation or Perturbation()
    if made_by.one_voice and not (made_by.speed or made_by.formants):
        raise UserError("conversations of one voice need that it be made into several; perturb it, or its formants")
    for subset, count in recordings.items():
        there = len(speakers.get(subset, {}))
        if count and there < 2:
            raise UserError(f"{source}: conversations in {subset} need two speakers at least, and it has {there}")
    work.mkdir(parents=True, exist_ok=True)
    jobs = (
        job
        for subset, count in recordings.items()
        if count
        for job in _jobs(subset, count, speakers[subset], style, work, duration_s, effects or Effects(), made_by, seed)
    )
    voices = sum(len(speakers[subset]) for subset, count in recordings.items() if count)
    made_of = source
    if made_by != Perturbation():
        made_of += f", its {voices} speakers{made_by.words}"
    if made_by.one_voice:
        made_of += f", {made_by.one_voice:.0%} of the conversations of one voice"
    return Corpus(
        corpus, all_made(_make, jobs, workers), f"simulated from {made_of}, seed {seed}", licence, "as simulated"
    )


def joined(real: Dataset, simulated: Corpus, *, train: bool) -> Corpus:
    """Simulated conversations to train on, with a dataset's dev and test, and with ``train`` beside its own."""
    subsets: tuple[Subset, ...] = SUBSETS if train else ("dev", "test")
    theirs = [recording for subset in subsets for recording in real.subset(subset)]
    taken = {recording.uri for recording in theirs}
    found = (Found(each.uri, (Clip(each.audio),), each.turns, each.regions, each.subset) for each in theirs)
    made = (replace(each, uri=_not_in(taken, each.uri)) for each in simulated.found)
    kept, as_simulated = ("all", "more to train on") if train else ("dev and test", "train")
    return Corpus(
        real.info.corpus,
        chain(made, found),
        f"{simulated.source}; {kept} of {real.info.name}",
        f"{simulated.licence}; {kept}: {real.info.licence}",
        f"{as_simulated} as simulated, {kept} as they were",
    )


def _not_in(taken: set[str], uri: str) -> str:
    while uri in taken:
        uri = f"more_{uri}"
    return uri


def _jobs(
    subset: Subset,
    count: int,
    speakers: dict[str, list[Piece]],
    style: Style,
    work: Path,
    duration_s: float,
    effects: Effects,
    perturbation: Perturbation,
    seed: int,
) -> Iterator[_Job]:
    """A subset's conversations, laid out one after another, as they share the deck."""
    import numpy as np

    most = min(len(speakers), max(2, *style.speakers))
    deck = Deck(style, most, np.random.default_rng([seed, SUBSETS.index(subset)]))
    for number in range(count):
        key = (seed, SUBSETS.index(subset), number)
        rng = np.random.default_rng(key)
        size = max(2, deck.fewest, min(int(rng.choice(style.speakers)), most))
        names = [str(name) for name in rng.choice(sorted(speakers), size=size, replace=False)]
        taking_part = _perturbed(names, speakers, perturbation, np.random.default_rng((*key, 4)))
        turns = converse(deck, list(taking_part), duration_s, rng)
        uri = f"{subset}_{number:05d}"
        yield _Job(uri, subset, taking_part, turns, effects, key, work / f"{uri}.wav")


def _perturbed(
    names: Sequence[str], speakers: dict[str, list[Piece]], by: Perturbation, rng: np.random.Generator
) -> dict[str, list[Piece]]:
    """The speakers that take part, or others made of them, or of the first alone."""
    import numpy as np

    if by == Perturbation():
        return {name: speakers[name] for name in names}
    count = len(names)
    of_one = by.one_voice > 0 and rng.random() < by.one_voice
    if of_one:  # each factor from a stretch of its range that no other speaker's is from
        places = np.column_stack([(rng.permutation(count) + rng.uniform(0.25, 0.75, count)) / count for _ in range(2)])
    else:
        places = rng.random((count, 2))
    made = {}
    for name, (speed, formants) in zip([names[0]] * count if of_one else names, by.factors(places), strict=True):
        perturbed = [piece._replace(factor=speed, formants=formants) for piece in speakers[name]]
        made[name + by.suffix(speed, formants)] = perturbed
    if len(made) < count:
        raise UserError(f"{count} speakers of one voice come out alike: widen what it is perturbed by")
    return made


def all_made(make: Callable[[Any], Found], jobs: Iterator[Any], workers: int) -> Iterator[Found]:
    """What is made of jobs. Raises the first UserError that one of them raises."""
    for made in in_parallel(make, jobs, workers):
        if isinstance(made, UserError):
            raise made
        yield made


class Deck:
    """The islands of a style, shuffled; each comes once before any comes again, in whichever conversation it fits.

    So that many conversations together are like what was fitted. Islands of more than ``most`` speakers never come, and
    a warning says how many.
    """

    def __init__(self, style: Style, most: int, rng: np.random.Generator) -> None:
        self.islands = [island for island in style.islands if island.speakers <= most]
        self.rng = rng
        self.left: list[Island] = []
        if not self.islands:
            raise UserError(f"no stretch of the conversations to be like has as few as {most} speakers")
        self.fewest = min(island.speakers for island in self.islands)
        """Speakers that a conversation needs for any island to fit."""
        if len(self.islands) < len(style.islands):
            lost = len(style.islands) - len(self.islands)
            log.warning("%d of %d stretches have more than %d speakers: left out", lost, len(style.islands), most)

    def draw(self, speakers: int) -> Island:
        """The next island of at most so many speakers, which must not be under ``fewest``."""
        while True:
            for place, island in enumerate(self.left):
                if island.speakers <= speakers:
                    return self.left.pop(place)
            self.left += [self.islands[place] for place in self.rng.permutation(len(self.islands))]


def converse(deck: Deck, speakers: Sequence[str], duration_s: float, rng: np.random.Generator) -> list[Turn]:
    """Who speaks when, until about ``duration_s``."""
    turns: list[Turn] = []
    end_s, last = 0.0, ""
    while end_s < duration_s:
        island = deck.draw(len(speakers))
        cast = [str(name) for name in rng.permutation(list(speakers))]
        if last and (cast[0] == last) != island.resumes:
            other = cast.index(last) if island.resumes else 1
            cast[0], cast[other] = cast[other], cast[0]
        for step in island.steps:
            start_s = end_s + step.distance_s
            turns.append(Turn(round(start_s, 6), round(start_s + step.length_s, 6), cast[step.speaker]))
            if turns[-1].end_s > end_s:
                end_s, last = turns[-1].end_s, turns[-1].speaker
    return turns


def _make(job: _Job) -> Found:
    """Lay one conversation's speech out into a file; the same speech whatever the rooms and the noise."""
    import numpy as np

    room_rng, speech_rng, noise_rng, level_rng = (np.random.default_rng((*job.seed, use)) for use in range(4))
    turn_rng = np.random.default_rng((*job.seed, 5))  # 4 is for the perturbation
    mixture = np.zeros(round(max(turn.end_s for turn in job.turns) * SAMPLE_RATE) + 1, dtype=np.float32)
    rooms = _rooms(job.effects, len(job.speakers), room_rng)
    for (name, pieces), room in zip(job.speakers.items(), rooms, strict=True):
        track = np.zeros_like(mixture)
        for turn in job.turns:
            if turn.speaker == name:
                at = round(turn.start_s * SAMPLE_RATE)
                speech = _speech(pieces, round((turn.end_s - turn.start_s) * SAMPLE_RATE), speech_rng, job.target)
                if job.effects.turn_db:
                    louder = np.float32(10 ** (turn_rng.uniform(-job.effects.turn_db, job.effects.turn_db) / 20))
                    speech = louder * coloured(speech, job.effects.turn_db / 2, turn_rng)
                track[at : at + len(speech)] += speech[: len(track) - at]
        level = np.float32(10 ** (level_rng.uniform(-job.effects.level_db, job.effects.level_db) / 20))
        mixture += level * (track if room is None else in_room(track, room))
    write_recorded(mixture, job.effects, job.target, noise_rng, level_rng)
    return Found(job.uri, (Clip(job.target),), job.turns, None, job.subset)


def _speech(pieces: list[Piece], frames: int, rng: np.random.Generator, scratch: Path) -> np.ndarray:
    """So many samples of a speaker: pieces one after another until they suffice, the last one cut; ends faded."""
    import numpy as np

    parts: list[np.ndarray] = []
    wanted = frames
    while wanted > 0:
        piece = pieces[rng.integers(len(pieces))]
        wanted_s = wanted / SAMPLE_RATE * piece.factor
        spare_s = max(0.0, piece.length_s - wanted_s)
        start_s = piece.start_s + rng.uniform(0, spare_s)
        part = read_piece(piece._replace(start_s=start_s, length_s=min(piece.length_s, wanted_s)), scratch)[:wanted]
        if not len(part):
            raise UserError(f"{piece.path}: ends before the speech that its reference tells of at {start_s:.3f} s")
        parts.append(_faded(part))
        wanted -= len(part)
    return np.concatenate(parts)


def _faded(part: np.ndarray) -> np.ndarray:
    """The same array, its ends faded in place."""
    import numpy as np

    fade = min(round(FADE_S * SAMPLE_RATE), len(part) // 2)
    part[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    part[len(part) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return part


def read_piece(piece: Piece, scratch: Path) -> np.ndarray:
    """A piece as float32 mono at 16 kHz, whatever it is in its file, at the speed and with the formants asked for.

    ``scratch`` is a path beside which a file of another kind may be converted.
    """
    samples = _as_it_is(piece, scratch)
    if piece.factor != 1:
        samples = need("soxr", "perturbing speech").resample(samples, SAMPLE_RATE * piece.factor, SAMPLE_RATE)
    return samples if piece.formants == 1 else with_formants(samples, piece.formants)


def _as_it_is(piece: Piece, scratch: Path) -> np.ndarray:
    import soundfile

    with soundfile.SoundFile(str(piece.path)) as file:
        if (file.samplerate, file.channels) == (SAMPLE_RATE, 1):
            file.seek(min(round(piece.start_s * SAMPLE_RATE), file.frames))
            return file.read(round(piece.length_s * SAMPLE_RATE) or 1, dtype="float32")
    converted = scratch.with_suffix(".piece.wav")
    write_audio((Clip(piece.path, start_s=piece.start_s, duration_s=piece.length_s),), converted)
    samples: Any = soundfile.read(str(converted), dtype="float32")[0]
    converted.unlink()
    return samples


def _rooms(effects: Effects, count: int, rng: np.random.Generator) -> list[np.ndarray | None]:
    """An impulse response a speaker, of one room where rooms are made up; None: as it is."""
    if effects.made_rooms:
        return [*made_room(count, rng)]
    if effects.rooms:
        return [room_from(effects.rooms[rng.integers(len(effects.rooms))]) for _ in range(count)]
    return [None] * count


def write_recorded(
    mixture: np.ndarray, effects: Effects, target: Path, noise_rng: np.random.Generator, gain_rng: np.random.Generator
) -> None:
    """Write a mixture with its noise, as loud as is drawn, or as a file can hold."""
    import numpy as np
    import soundfile

    if effects.noises or effects.made_noise:
        mixture = mixture + _noise(effects, mixture, noise_rng)
    mixture = mixture * np.float32(10 ** (gain_rng.uniform(*effects.gain_db) / 20))
    peak = float(np.abs(mixture).max())
    soundfile.write(str(target), mixture * min(1.0, 0.99 / (peak or 1.0)), SAMPLE_RATE, subtype="PCM_16")


def _noise(effects: Effects, mixture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise as long as the mixture, at a signal-to-noise ratio drawn from the range."""
    if effects.made_noise and not (effects.noises and rng.random() < 0.5):
        noise = made_noise(len(mixture), rng)
    else:
        noise = noise_from(effects.noises[rng.integers(len(effects.noises))], len(mixture), rng)
    return at_snr(noise, mixture, rng.uniform(*effects.snr_db))


def clear(work: Path) -> None:
    """Remove what `simulate` wrote; converted recordings are links to it, or copies."""
    shutil.rmtree(work, ignore_errors=True)
