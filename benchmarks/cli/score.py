"""``bench score`` and ``bench compare``: score RTTM files of any system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.scores import ErrorSeconds

if TYPE_CHECKING:
    from diarbench.benchmarks.scoring.evaluate import Score
    from diarbench.benchmarks.scoring.inputs import Inputs
    from diarbench.benchmarks.scoring.slices import Slices
    from diarbench.reports.results.statistics import Difference


Reference = Annotated[Path, typer.Argument(metavar="REF", help="Reference: an RTTM file, or a folder of them.")]

Uem = Annotated[
    Path | None,
    typer.Option(
        help="Scored regions: a UEM file, or a folder of them. Default: each recording from 0 to its last turn end."
    ),
]

Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--condition",
        help="full, fair, forgiving, or the half-width of a collar in seconds with or without overlap: 0.1+overlap,"
        " 0.1-overlap. Repeat for several; default: the first three.",
    ),
]

PerFile = Annotated[bool, typer.Option("--per-file", help="Also show every recording.")]

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables, and notes to stderr.")]

ShowSlices = Annotated[
    bool, typer.Option("--slices", help="Show where the errors are: by situation, the worst regions, speaker counts.")
]

CrossCheck = Annotated[
    bool, typer.Option("--cross-check", help="Score again with pyannote.metrics, and show the largest difference.")
]

FAIL_IF_WORSE = "--fail-if-worse"


class Compare(TyperCommand):
    """The command ``bench compare``. Typer has no options with an optional value; ``--fail-if-worse`` is one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, with 0 points where none are given."""
        if FAIL_IF_WORSE in args:
            after = args.index(FAIL_IF_WORSE) + 1
            try:
                float(args[after])
            except (IndexError, ValueError):
                args = [*args[:after], "0", *args[after:]]
        return super().parse_args(ctx, args)


def score(
    reference: Reference,
    hypothesis: Annotated[Path, typer.Argument(metavar="HYP", help="Hypothesis: an RTTM file, or a folder of them.")],
    uem: Uem = None,
    condition: Conditions = None,
    per_file: PerFile = False,
    slices: ShowSlices = False,
    cross_check: CrossCheck = False,
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics", help="Also show Jaccard error rate, purity, coverage, detection error and speaker count."
        ),
    ] = False,
    fail_above: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="RATE",
            help="Exit with status 1 if the DER under the first condition is above this many per cent.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Score a hypothesis RTTM: error seconds and rates under each condition, with confidence intervals."""
    from diarbench.benchmarks.cli import score_tables as tables
    from diarbench.benchmarks.scoring import slices as slicing
    from diarbench.benchmarks.scoring.evaluate import protocols_named, score_system
    from diarbench.benchmarks.scoring.inputs import read_inputs
    from diarbench.benchmarks.scoring.pyannote_metrics import other_metrics
    from diarbench.reports.console import make_console

    inputs = read_inputs(reference, [hypothesis], uem)
    protocols = protocols_named(condition)
    sides = inputs.reference, inputs.hypotheses[0], inputs.scored
    agreement = _scored_without_collar(inputs, reference, [hypothesis], uem, cross_check)

    conditions: dict[str, Any] = {}
    for name, scored in score_system(inputs, protocols).items():
        conditions[name] = {**_parts(scored.errors), **_protocol_and_interval(scored)}
        if per_file:
            conditions[name]["files"] = {uri: _parts(seconds) for uri, seconds in scored.recordings.items()}
        if slices:
            worst = slicing.worst_regions(*sides, scored.protocol)
            conditions[name]["slices"] = _dump(slicing.slices(*sides, scored.protocol))
            conditions[name]["worst_regions"] = [region.model_dump() for region in worst]
            conditions[name]["speaker_counts"] = slicing.speaker_counts(*sides, scored.protocol).model_dump()
    result: dict[str, Any] = {"conditions": conditions, **_size(inputs), **agreement}
    if metrics:
        result["metrics"] = other_metrics(*sides).model_dump()
    if not _print_notes_and_json(inputs, json, result):
        tables.print_score(make_console(), f"{hypothesis} against {reference}", protocols, result)
    if fail_above is not None:
        _check_rate(hypothesis, conditions[protocols[0].name]["der"], protocols[0].name, fail_above)


def compare(
    reference: Reference,
    hypothesis_a: Annotated[
        Path, typer.Argument(metavar="HYP_A", help="RTTM of the first system: a file, or a folder of them.")
    ],
    hypothesis_b: Annotated[Path, typer.Argument(metavar="HYP_B", help="RTTM of the second system.")],
    uem: Uem = None,
    condition: Conditions = None,
    per_file: PerFile = False,
    slices: ShowSlices = False,
    cross_check: CrossCheck = False,
    fail_if_worse: Annotated[
        float | None,
        typer.Option(
            FAIL_IF_WORSE,
            min=0,
            metavar="[POINTS]",
            help="Exit with status 1 if the second system's DER under the first condition is worse than the first's by"
            " more than this many points; 0 if none are given.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare two systems on the same recordings: the difference, its significance, and where it comes from.

    The tables also have three other rows: silence, one speaker, and the DOVER-Lap fusion of the two systems.
    """
    from diarbench.benchmarks.cli import score_tables as tables
    from diarbench.benchmarks.scoring import slices as slicing
    from diarbench.benchmarks.scoring.evaluate import FUSION, compare_systems, protocols_named
    from diarbench.benchmarks.scoring.inputs import read_inputs
    from diarbench.reports.console import make_console

    paths = [hypothesis_a, hypothesis_b]
    inputs = read_inputs(reference, paths, uem)
    protocols = protocols_named(condition)
    agreement = _scored_without_collar(inputs, reference, paths, uem, cross_check)
    a, b = _labels(hypothesis_a, hypothesis_b)

    conditions: dict[str, Any] = {}
    pairs = compare_systems(inputs, protocols)
    for name, pair in pairs.items():
        baselines = {key: score for key, score in pair.others.items() if key != FUSION}
        systems = {**baselines, a: pair.a, b: pair.b, FUSION: pair.others[FUSION]}
        conditions[name] = {
            "protocol": pair.a.protocol.model_dump(),
            "systems": {
                system: {**_parts(score.errors), "interval": score.interval.model_dump()}
                for system, score in systems.items()
            },
            "difference": {**pair.difference.model_dump(), "verdict": pair.difference.verdict(a, b)},
        }
        if per_file:
            conditions[name]["files"] = {
                uri: {a: _parts(pair.a.recordings[uri]), b: _parts(pair.b.recordings[uri])} for uri in inputs.scored
            }
        if slices:
            parts_a, parts_b = (
                slicing.slices(inputs.reference, turns, inputs.scored, pair.a.protocol) for turns in inputs.hypotheses
            )
            conditions[name]["slices"] = {a: _dump(parts_a), b: _dump(parts_b)}
            conditions[name]["explains"] = slicing.contributions(parts_a, parts_b)
    result = {"conditions": conditions, **_size(inputs), **agreement}
    if not _print_notes_and_json(inputs, json, result):
        verdicts = {name: pair.difference.verdict("A", "B") for name, pair in pairs.items()}
        tables.print_comparison(make_console(), paths, (a, b), protocols, result, verdicts)
    if fail_if_worse is not None:
        _check_difference((a, b), pairs[protocols[0].name].difference, protocols[0].name, fail_if_worse)


def _check_rate(hypothesis: Path, der: float | None, condition: str, limit: float) -> None:
    """Raises UserError where a DER is above a limit in per cent, or where there is no DER."""
    if der is None:
        raise UserError(f"{hypothesis}: no reference speech is scored under {condition}, so --fail-above cannot pass")
    if 100 * der > limit:
        rate = _above(100 * der, limit)
        raise UserError(f"{hypothesis}: DER of {rate} % under {condition}, above --fail-above {limit:g}")


def _check_difference(names: tuple[str, str], difference: Difference, condition: str, limit: float) -> None:
    """Raises UserError where B is worse than A by more points than the limit, significantly or not."""
    points = 100 * difference.der
    if points > limit + 1e-9:  # a difference of seconds that are equal may not be exactly 0
        worse = f"{names[1]} is {_above(points, limit)} points worse than {names[0]}"
        evidence = "" if difference.is_significant else f" ({difference.p_text}, not significant)"
        if these := difference.for_these:
            evidence = f" ({these.p_text}, for these speakers)"
        raise UserError(f"{worse} under {condition}{evidence}, above {FAIL_IF_WORSE} {limit:g}")


def _above(value: float, limit: float) -> str:
    """The value with two decimals, or with as many as show that it is above the limit."""
    return next(text for digits in range(2, 18) if float(text := f"{value:.{digits}f}") > limit)


def _labels(hypothesis_a: Path, hypothesis_b: Path) -> tuple[str, str]:
    """What the two systems are called: their files' names, or more where another row has the same name."""
    from diarbench.benchmarks.scoring.evaluate import BASELINES, FUSION

    paths = (hypothesis_a, hypothesis_b)
    taken = {*BASELINES, FUSION}
    for labels in ([path.stem for path in paths], [str(path) for path in paths]):
        if len(set(labels)) == len(labels) and not taken & set(labels):
            return labels[0], labels[1]
    return f"{hypothesis_a} (A)", f"{hypothesis_b} (B)"


def _size(inputs: Inputs) -> dict[str, int]:
    """The number of recordings, of groups that share speakers or a session, and of recordings where that is unknown."""
    unknown = len(inputs.scored) - len(inputs.known_groups)
    return {"recordings": len(inputs.scored), "groups": len(set(inputs.groups)), "groups_unknown": unknown}


def _protocol_and_interval(score: Score) -> dict[str, Any]:
    return {"protocol": score.protocol.model_dump(), "interval": score.interval.model_dump()}


def _scored_without_collar(
    inputs: Inputs, reference: Path, hypotheses: Sequence[Path], uem: Path | None, cross_check: bool
) -> dict[str, Any]:
    """Add the notes on speech outside of a UEM to ``inputs``; with ``cross_check``, compare with pyannote.metrics.

    Both need the scores without a collar. Returns how far pyannote.metrics differs from them.
    """
    from importlib.metadata import version

    from diarbench.benchmarks.scoring import der, pyannote_metrics
    from diarbench.benchmarks.scoring.inputs import hypothesis_seconds, outside_notes

    if not uem and not cross_check:
        return {}
    largest = 0.0
    for path, hypothesis in zip(hypotheses, inputs.hypotheses, strict=True):
        errors = der.score(inputs.reference, hypothesis, inputs.scored, [der.CONDITIONS["full"]])["full"]
        if cross_check:
            largest = max(largest, pyannote_metrics.cross_check(inputs.reference, hypothesis, inputs.scored, errors))
        if uem:
            inputs.notes += outside_notes(path, hypothesis, inputs.scored, hypothesis_seconds(der.pooled(errors)))
    if uem:
        inputs.notes += outside_notes(reference, inputs.reference, inputs.scored, der.pooled(errors).total)
    if not cross_check:
        return {}
    return {"agrees_with": f"pyannote.metrics {version('pyannote.metrics')}", "largest_difference_s": largest}


def _print_notes_and_json(inputs: Inputs, json: bool, result: dict[str, Any]) -> bool:
    """Print the notes, and the result if ``json`` is set; returns ``json``."""
    import json as json_

    from diarbench.reports.console import make_console

    for note in inputs.notes:
        make_console(stderr=json, soft_wrap=True).print(f"note: {note}", style="yellow", highlight=False)
    if json:
        typer.echo(json_.dumps({**result, "notes": inputs.notes}, indent=1))
    return json


def _parts(errors: ErrorSeconds) -> dict[str, Any]:
    """Error seconds, the DER, and each component as a fraction of the reference speech."""
    parts = ("miss", "false_alarm", "confusion")
    fractions = {part: getattr(errors, part) / errors.total if errors.total else None for part in parts}
    return {**errors.model_dump(), "fractions": fractions}


def _dump(slices: Slices) -> dict[str, Any]:
    return {
        slicing: {label: errors.model_dump() for label, errors in parts.items()} for slicing, parts in slices.items()
    }
