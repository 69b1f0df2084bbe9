"""The answer in a few lines, for every renderer: which system leads, by how much, whether that is real, whether
fine-tuning helped, and what to do next.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diarbench.datasets.folds import groups_of
from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import bounds, convention, difference_span, minutes, percent, plural, span
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Run
from diarbench.reports.results.run_folder import ComparisonFolder
from diarbench.reports.results.statistics import FEWEST_UNITS, GROUPS, Difference
from diarbench.reports.summary.comparability import STAGES
from diarbench.reports.summary.summary import Contender, Section, Summary
from diarbench.reports.summary.systems import shared_pipelines

STEPS = {"Fine-tuning": "finetuned", "Tuning": "tuned"}
"""The steps of a run, and the stage after each."""

NAMED_AT_MOST = 3
"""Systems that a sentence names one by one; more are counted."""


@dataclass(frozen=True)
class Standing:
    """A system's place in the ranking, with what it is at each stage."""

    name: str
    best: Contender
    stages: dict[str, Contender]


@dataclass(frozen=True)
class NextStep:
    """What to do next, and the command for it."""

    text: str
    command: str


@dataclass(frozen=True)
class Headline:
    """The answer for one dataset, on its test set under the first condition."""

    dataset: str
    where: str
    """The test set, its size and the protocol."""
    stages: tuple[str, ...]
    """The stages that any system reached, in order."""
    standings: tuple[Standing, ...]
    """Every competing system, the lowest DER at its best stage first."""
    title: str
    """The verdict in a few words, without evidence."""
    verdict: str
    """Which system leads, by how much, and whether that is real."""
    effects: dict[str, str]
    """What fine-tuning and tuning changed; by step."""
    caveats: tuple[str, ...]
    next_steps: tuple[NextStep, ...]


def headline(summary: Summary, dataset: str, folder: Path) -> Headline:
    """The headline of a dataset; ``folder`` is the comparison's, for the commands."""
    sections = summary.of(dataset)
    section = sections[0] if sections else None
    contenders = section.contenders if section else []
    standings = tuple(
        Standing(visible(contender.name), contender, section.stages_of(contender) if section else {})
        for contender in contenders
    )
    stages = tuple(stage for stage in STAGES if any(stage in standing.stages for standing in standings))
    title, verdict = _verdict(section, contenders)
    return Headline(
        visible(dataset),
        _where(section) if section else visible(dataset),
        stages,
        standings,
        f"{visible(dataset)}: {title}",
        verdict,
        dict(_effects(summary, section, standings)) if section else {},
        tuple(_caveats(summary, section, contenders)) if section else (),
        tuple(_next_steps(summary, section, contenders, folder)),
    )


def _where(section: Section) -> str:
    """``ami-mini, test of 2 recordings (48 s of speech), full: no collar, overlap scored; pyannote: community-1``."""
    speech_s = max((line.row.total for line in section.lines if line.row), default=0.0)
    size = f"{plural(len(section.recordings), 'recording')} ({minutes(speech_s)} of speech)"
    test = f"{section.subset} of {size}" if section.recordings else section.subset
    is_foreign = all(line.is_out_of_domain for line in section.lines if line.run and line.row)
    note = " (no system was trained on it)" if is_foreign and section.recordings else ""
    pipelines = map(visible, shared_pipelines(line.run for line in section.lines if line.run))
    told = dict.fromkeys(bounds(line.run.min_speakers, line.run.max_speakers) for line in section.lines if line.run)
    where = [f"{visible(section.dataset)}{note}, {test}, {convention(section.condition)}", *pipelines]
    return "; ".join([*where, *(f"told that there are {each}" for each in told if each and len(told) == 1)])


def _verdict(section: Section | None, contenders: Sequence[Contender]) -> tuple[str, str]:
    """The verdict in a few words, and with its evidence."""
    if section is None:
        return "no result", "No scores on the test set."
    if not contenders:
        return "no result", "No run was scored."
    first, rival = contenders[0], _rival(contenders)
    leader, seeds = _label(section, first), _seeds(contenders)
    if rival is None:
        interval = "" if first.interval is None or first.interval.low is None else f" ({span(first.interval)})"
        rate = f"{percent(first.der)} %{interval}"
        return f"{leader} {percent(first.der)} %", f"{leader} has a DER of {rate}; nothing to compare it with; {seeds}."
    lead = rival.der - first.der
    second = _label(section, rival)
    by = f"{second} by {_points(lead)}"
    ahead = f"{leader} ahead by {_points(lead)}"
    contrast = section.contrast(first, rival)
    if not lead:
        return "no winner", f"No winner: {leader} and {second} have the same DER; {seeds}."
    if contrast is None:
        return f"{leader} leads, untested", f"{leader} leads {by}, which was not tested; {seeds}."
    difference = contrast.difference if contrast.a == first.label else contrast.difference.reversed()
    if these := difference.for_these:
        title = f"{leader} leads by {_points(lead)} for these speakers"
        found = f"{leader} leads {by} for these speakers ({_evidence(these)})"
        return title, f"{found}; {difference.for_others}; {seeds}."
    if not difference.has_verdict:
        few = "the test set is too small to tell whether that is real"
        return f"no verdict, {ahead}", f"No verdict: {leader} leads {by}, but {few}; {seeds}."
    if not difference.is_significant:
        found = f"{leader} leads {by}, maybe by chance ({_evidence(difference)})"
        return f"no clear winner, {ahead}", f"No clear winner: {found}; {seeds}."
    unsure = [other for other in contenders[1:] if other != rival and not _is_better(section, first, other)]
    but = f"; not shown to beat {_listed([other.name for other in unsure])}" if unsure else ""
    return f"{leader} leads by {_points(lead)}", f"{leader} leads {by} ({_evidence(difference)}){but}; {seeds}."


def _rival(contenders: Sequence[Contender]) -> Contender | None:
    """What the leader is compared with: the best system of another toolkit, or the second where there is only one."""
    others = contenders[1:]
    return next((other for other in others if other.backend != contenders[0].backend), next(iter(others), None))


def _label(section: Section, contender: Contender) -> str:
    """The system at the first stage with its DER: where nothing was gained on dev, later stages are the same system."""
    return visible(next(c.label for c in section.stages_of(contender).values() if c.der == contender.der))


def _is_better(section: Section, a: Contender, b: Contender) -> bool:
    contrast = section.contrast(a, b)
    return contrast is not None and contrast.difference.is_significant


def _evidence(difference: Difference) -> str:
    """The interval of B minus A in points, the p-value, and on how many recordings A is better and worse."""
    favourable = (
        ""
        if difference.better_a is None
        else f", better on {difference.better_a} and worse on {difference.better_b} of {difference.units_text}"
    )
    return f"{difference_span(difference.interval)}, {difference.p_text}{favourable}"


def _points(rate: float) -> str:
    return f"{percent(abs(rate))} points"


def _seeds(contenders: Sequence[Contender]) -> str:
    if not _is_trained(contenders):
        return "nothing was trained"
    counts = sorted({len({run.seed for run in contender.runs}) for contender in contenders})
    seeds = "one seed" if counts == [1] else plural(counts[0], "seed")
    if len(counts) > 1:
        seeds = f"{counts[0]} to {counts[-1]} seeds"
    repetitions = max(len({run.repetition for run in contender.runs}) for contender in contenders)
    return seeds if repetitions == 1 else f"{seeds}, {repetitions} repetitions"


def _is_trained(contenders: Sequence[Contender]) -> bool:
    return any(run.train for contender in contenders for run in contender.runs)


def _listed(names: Sequence[str]) -> str:
    """The names; where there are many, the first ones and a count."""
    shown = list(map(visible, names))
    if len(shown) > NAMED_AT_MOST:
        shown = [*shown[: NAMED_AT_MOST - 1], f"{len(shown) - NAMED_AT_MOST + 1} more"]
    return ", ".join(shown)


def _effects(summary: Summary, section: Section, standings: Sequence[Standing]) -> Iterator[tuple[str, str]]:
    """Each step with a sentence on what it changed."""
    fold_runs = {run.name: run for run in summary.comparison.fold_runs}
    for step, after in STEPS.items():
        reached = [standing for standing in standings if after in standing.stages]
        known = [standing for standing in reached if next(iter(standing.stages)) != after]
        outcomes = [_outcome(section, standing, after, fold_runs) for standing in known]
        if len(known) <= NAMED_AT_MOST:
            texts = [f"{s.name} {change}" for s, (_, change) in zip(known, outcomes, strict=True)]
            texts += [f"{s.name} {_without_start(s)}" for s in reached if s not in known]
        else:
            counts = {outcome: [o for o, _ in outcomes].count(outcome) for outcome, _ in outcomes}
            texts = [f"{outcome}: {count} of {len(known)} systems" for outcome, count in counts.items()]
        if texts and (known or step == "Fine-tuning"):
            yield step, ", ".join(texts[: NAMED_AT_MOST + 1])


def _without_start(standing: Standing) -> str:
    is_pretrained = any(run.weights and run.weights.pretrained for run in standing.best.runs)
    return "has no pretrained result" if is_pretrained else "trained from scratch"


def _outcome(section: Section, standing: Standing, after: str, fold_runs: Mapping[str, Run]) -> tuple[str, str]:
    """``better``, ``worse``, ``not shown to help`` or ``not tested``; and the sentence's part with the points."""
    stages = list(standing.stages)
    start, end = standing.stages[stages[stages.index(after) - 1]], standing.stages[after]
    change = end.der - start.der
    direction = "better" if change < 0 else "worse"
    if not change:
        is_tuning = after == "tuned"
        runs = [fold_runs[name] for run in end.runs for name in run.folds] or end.runs  # a pooled run decided nothing
        choices = [(run.tuning.choice if run.tuning else None) if is_tuning else run.epoch_choice for run in runs]
        is_kept = any(choice is not None and choice.kept_start for choice in choices)
        kept = "defaults kept" if is_tuning else "pretrained network kept"
        return "no change", f"no gain on dev: {kept}" if is_kept else "unchanged"
    contrast = section.contrast(start, end)
    if contrast is None:
        return "not tested", f"{_points(change)} {direction} (not tested)"
    if contrast.difference.is_significant:
        return direction, f"{_points(change)} {direction}"
    if contrast.difference.for_these:
        return f"{direction} for these speakers", f"{_points(change)} {direction} for these speakers"
    if not contrast.difference.has_verdict:
        return "no verdict", f"{_points(change)} {direction} (no verdict)"
    return "not shown to help", f"not shown to help ({_points(change)} {direction})"


def _caveats(summary: Summary, section: Section, contenders: Sequence[Contender]) -> Iterator[str]:
    recordings = len(section.recordings)
    if recordings and recordings < FEWEST_UNITS:
        yield f"{plural(recordings, 'test recording')}: a verdict needs at least {FEWEST_UNITS}."
    if _is_trained(contenders) and all(len(contender.lines) == 1 for contender in contenders):
        yield "One seed: another seed can give another order."
    rival = _rival(contenders)
    if rival and any(len(section.stages_of(contender)) > 1 for contender in contenders):
        yield "Each system stands at the stage with its lowest DER on test; intervals and p do not count that choice."
    contrast = rival and section.contrast(contenders[0], rival)
    if contrast:
        groups = summary.comparison.groups.get(section.dataset, {})
        in_folds = any(run.folds for contender in contenders for run in contender.runs)
        yield from _alike(section.recordings, groups, contrast.difference, in_folds)
        yield from _reach(contrast.difference)
    references = [line.row.der for line in section.lines if line.backend == "reference" and line.row]
    floor = min((der for der in references if der is not None), default=None)
    if contenders and floor is not None and contenders[0].der >= floor:
        yield f"No system is better than a trivial baseline ({percent(floor)} %)."
    for mark, reason in summary.footnotes.items():
        marked = [contender.name for contender in contenders if mark in _marks(section, contender)]
        if marked:
            yield f"{_listed(marked)}: {reason}."


def _marks(section: Section, contender: Contender) -> set[str]:
    """The marks of a system at any stage."""
    names = {run.name for run in contender.runs}
    lines = [line for line in section.lines if line.run and line.run.name in names and line.stage in STAGES]
    return {mark for line in lines for mark in line.marks}


def _alike(
    recordings: Sequence[str], groups: Mapping[str, int], difference: Difference, in_folds: bool
) -> Iterator[str]:
    """What recordings that share speakers or a session mean for the difference between the leader and its rival."""
    unknown = [uri for uri in recordings if uri not in groups]
    if unknown:
        some = "the" if len(unknown) == len(recordings) else f"{len(unknown)} of the {len(recordings)}"
        yield f"Shared speakers are not known for {some} test recordings: each counts as independent."
        if in_folds:
            yield "So a fold may have been trained on speakers that it tests."
    count = len(set(groups_of(recordings, groups)))
    if count == 1 < len(recordings):
        yield "All test recordings share speakers or a session: other speakers can give another order."
    elif count < len(recordings):
        what = f"The {len(recordings)} test recordings are {plural(count, 'group')} without common speakers or sessions"
        if difference.interval.unit == GROUPS:
            yield f"{what}: what holds for other speakers is tested over these groups."
        else:
            yield f"{what}. At least {FEWEST_UNITS} are needed to tell about other speakers."


def _reach(difference: Difference) -> Iterator[str]:
    """What carries the difference between the leader and its rival, and what would decide it."""
    if difference.outliers:
        yield f"Without {_listed(difference.outliers)} the verdict would be another one."
    if difference.needs_seeds and difference.folds:
        yield "The trainings of the folds differ too much: more seeds or repetitions are needed, not more recordings."
    elif difference.needs_seeds:
        yield "The seeds differ too much: more seeds are needed, and no number of recordings replaces them."
    elif difference.is_beyond_reach:
        yield "The two are too close: no number of recordings worth having would separate them."
    elif difference.units_needed is not None and difference.has_verdict:
        needed, interval = difference.units_needed, difference.interval
        others = " for other speakers" if difference.for_these else ""
        enough = f"About {needed:,} {interval.noun} would separate the two{others}"
        yield f"{enough} (80 % power); there are {interval.units}."


def _next_steps(
    summary: Summary, section: Section | None, contenders: Sequence[Contender], folder: Path
) -> Iterator[NextStep]:
    command = _repeatable(summary.comparison)
    if summary.failures and command:
        yield NextStep("Run the failed runs again", command)
    decided = section is not None and (len(contenders) == 1 or _is_clear(section, contenders))
    deciding = list(_deciding_steps(section, contenders, command)) if section and contenders and command else []
    yield from () if decided else deciding
    best = next((run for contender in contenders[:1] for run in contender.runs), None)
    if best and contenders[0].stage == best.final_stage and not best.folds:
        # In a merged report the run's name is a path from the report's folder, such as ../other/run.
        path = shlex.quote(os.path.normpath(ComparisonFolder(folder).run(best.name).path))
        yield NextStep("Diarize a recording with the leader", f"bench diarize talk.wav --run {path}")
        yield NextStep("Export the leader for its toolkit", f"bench export {path} exported")
    yield from deciding if decided else ()


def _deciding_steps(section: Section, contenders: Sequence[Contender], command: str) -> Iterator[NextStep]:
    """What would make the verdict firmer, as far as the command can take it: more recordings tested, and more seeds."""
    if not _is_trained(contenders):
        return
    options = {word.partition("=")[0] for word in shlex.split(command)}
    if len(section.recordings) < FEWEST_UNITS and not {"--folds", "--also-score"} & options:
        yield NextStep("Test every recording, by cross-validation", f"{_without_out(command)} --folds 5")
    if "--seed" not in options and all(len(contender.lines) == 1 for contender in contenders):
        yield NextStep("Repeat with more seeds", f"{command} --seed 1 --seed 2 --seed 3")


def _without_out(command: str) -> str:
    """The command with the default folder: other runs do not go into the same one."""
    words = shlex.split(command)
    kept = [word for at, word in enumerate(words) if "--out" not in (word, words[at - 1])]
    return shlex.join(kept)


def _is_clear(section: Section, contenders: Sequence[Contender]) -> bool:
    rival = _rival(contenders)
    return rival is not None and _is_better(section, contenders[0], rival)


def _repeatable(comparison: Comparison) -> str | None:
    """The command of the comparison, where it is one `bench run`."""
    lines = comparison.command.splitlines()
    is_run = len(lines) == 1 and lines[0].startswith("bench run ") and "&&" not in lines[0]
    return visible(lines[0]) if is_run else None
