"""``bench score`` and ``bench compare``: anybody's RTTM, of any toolkit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diarbench.reports.records import ErrorSeconds

if TYPE_CHECKING:
    from diarbench.benchmarks.scoring import ScoringProtocol
    from diarbench.benchmarks.scoring_inputs import Inputs
    from diarbench.benchmarks.slices import Slices

Reference = Annotated[Path, typer.Argument(metavar="REF", help="Reference: an RTTM file, or a folder of them.")]
Uem = Annotated[
    Path | None,
    typer.Option(help="Scored regions: a UEM file, or a folder. Without it, each recording's whole extent."),
]
Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--condition",
        help="full, fair, forgiving, or a collar's half-width in seconds with or without overlap: 0.1+overlap,"
        " 0.1-overlap. May be given more than once; all three where not given.",
    ),
]
PerFile = Annotated[bool, typer.Option("--per-file", help="Each recording's figures too.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables; notes then go to stderr.")]
Where = Annotated[
    bool, typer.Option("--slices", help="Where the error is: by what was going on, the worst regions, speaker counts.")
]


def score(
    reference: Reference,
    hypothesis: Annotated[Path, typer.Argument(metavar="HYP", help="Hypothesis: an RTTM file, or a folder of them.")],
    uem: Uem = None,
    condition: Conditions = None,
    per_file: PerFile = False,
    slices: Where = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Jaccard error rate, purity, coverage, detection error, speaker count.")
    ] = False,
    json: Json = False,
) -> None:
    """Score hypothesis RTTM against a reference: seconds and rates under each condition, with intervals."""
    from rich.console import Console

    from diarbench.benchmarks import scoring_tables as tables
    from diarbench.benchmarks import significance
    from diarbench.benchmarks.metrics import other_metrics
    from diarbench.benchmarks.scoring import pooled
    from diarbench.benchmarks.scoring import score as score_
    from diarbench.benchmarks.scoring_inputs import read_inputs
    from diarbench.benchmarks.slices import slices as slices_
    from diarbench.benchmarks.slices import speaker_counts, worst_regions

    inputs = read_inputs(reference, [hypothesis], uem)
    protocols = _protocols(condition)
    sides = inputs.reference, inputs.hypotheses[0], inputs.scored
    errors = score_(*sides, protocols)
    agreement = _cross_check(inputs, reference, [hypothesis], uem)

    found: dict[str, Any] = {}
    for protocol in protocols:
        units = significance.units_of(inputs.reference, inputs.hypotheses, inputs.scored, protocol)
        found[protocol.name] = {
            **_parts(pooled(errors[protocol.name])),
            "protocol": protocol.model_dump(),
            "interval": significance.interval(units.errors[0], units.unit).model_dump(),
        }
        if per_file:
            found[protocol.name]["files"] = {uri: _parts(one) for uri, one in errors[protocol.name].items()}
        if slices:
            found[protocol.name]["slices"] = _dump(slices_(*sides, protocol))
            found[protocol.name]["worst_regions"] = [w.model_dump() for w in worst_regions(*sides, protocol)]
            found[protocol.name]["speaker_counts"] = speaker_counts(*sides, protocol).model_dump()
    result: dict[str, Any] = {"conditions": found, "recordings": len(inputs.scored), **agreement}
    if metrics:
        result["metrics"] = other_metrics(*sides).model_dump()
    if not _told_as_json(inputs, json, result):
        tables.print_score(Console(), f"{hypothesis} against {reference}", protocols, result)


def compare(
    reference: Reference,
    hypothesis_a: Annotated[Path, typer.Argument(metavar="HYP_A", help="One system's RTTM, a file or a folder.")],
    hypothesis_b: Annotated[Path, typer.Argument(metavar="HYP_B", help="The other's.")],
    uem: Uem = None,
    condition: Conditions = None,
    per_file: PerFile = False,
    slices: Where = False,
    json: Json = False,
) -> None:
    """Compare two systems on the same recordings: the difference, how sure it is, and where it comes from.

    Beside them: silence, one speaker, and the DOVER-Lap fusion of the two.
    """
    from rich.console import Console

    from diarbench.benchmarks import scoring_tables as tables
    from diarbench.benchmarks import significance
    from diarbench.benchmarks.fusion import dover_lap
    from diarbench.benchmarks.reference_systems import one_speaker, silence
    from diarbench.benchmarks.scoring import pooled
    from diarbench.benchmarks.scoring import score as score_
    from diarbench.benchmarks.scoring_inputs import read_inputs
    from diarbench.benchmarks.slices import contributions
    from diarbench.benchmarks.slices import slices as slices_
    from diarbench.reports.records import UserError

    paths = [hypothesis_a, hypothesis_b]
    inputs = read_inputs(reference, paths, uem)
    protocols = _protocols(condition)
    agreement = _cross_check(inputs, reference, paths, uem)
    a, b = [str(path) for path in paths] if hypothesis_a.stem == hypothesis_b.stem else [path.stem for path in paths]
    systems = {
        "silence": {uri: silence(regions) for uri, regions in inputs.scored.items()},
        "one speaker": {uri: one_speaker(regions) for uri, regions in inputs.scored.items()},
        a: inputs.hypotheses[0],
        b: inputs.hypotheses[1],
        "DOVER-Lap of the two": dover_lap(inputs.hypotheses, inputs.scored),
    }
    errors = {name: score_(inputs.reference, turns, inputs.scored, protocols) for name, turns in systems.items()}

    found: dict[str, Any] = {}
    for protocol in protocols:
        units = significance.units_of(inputs.reference, list(systems.values()), inputs.scored, protocol)
        of_system = dict(zip(systems, units.errors, strict=True))
        try:
            difference = significance.compare(of_system[a], of_system[b], units.unit)
        except ValueError as error:
            raise UserError(f"{reference}: under {protocol}, {error}") from error
        found[protocol.name] = {
            "protocol": protocol.model_dump(),
            "systems": {
                name: {
                    **_parts(pooled(errors[name][protocol.name])),
                    "interval": significance.interval(of_system[name], units.unit).model_dump(),
                }
                for name in systems
            },
            "difference": {**difference.model_dump(), "verdict": difference.verdict(a, b)},
        }
        if per_file:
            found[protocol.name]["files"] = {
                uri: {name: _parts(errors[name][protocol.name][uri]) for name in (a, b)} for uri in inputs.scored
            }
        if slices:
            of = {name: slices_(inputs.reference, systems[name], inputs.scored, protocol) for name in (a, b)}
            found[protocol.name]["slices"] = {name: _dump(one) for name, one in of.items()}
            found[protocol.name]["explains"] = contributions(of[a], of[b])
    result = {"conditions": found, "recordings": len(inputs.scored), **agreement}
    if not _told_as_json(inputs, json, result):
        tables.print_comparison(Console(), (a, b), protocols, result)


def _protocols(conditions: Sequence[str] | None) -> list[ScoringProtocol]:
    from diarbench.benchmarks.scoring import CONDITIONS
    from diarbench.benchmarks.scoring_inputs import parse_condition

    return [parse_condition(text, CONDITIONS) for text in dict.fromkeys(conditions or CONDITIONS)]


def _cross_check(inputs: Inputs, reference: Path, hypotheses: Sequence[Path], uem: Path | None) -> dict[str, Any]:
    """Score every hypothesis again with pyannote.metrics; adds the notes that only scoring can give."""
    from importlib.metadata import version

    from diarbench.benchmarks.scoring import CONDITIONS, cross_check, pooled
    from diarbench.benchmarks.scoring import score as score_
    from diarbench.benchmarks.scoring_inputs import hypothesis_seconds, outside

    largest = 0.0
    for path, hypothesis in zip(hypotheses, inputs.hypotheses, strict=True):
        errors = score_(inputs.reference, hypothesis, inputs.scored, [CONDITIONS["full"]])["full"]
        largest = max(largest, cross_check(inputs.reference, hypothesis, inputs.scored, errors))
        if uem:
            inputs.notes += outside(path, hypothesis, inputs.scored, hypothesis_seconds(pooled(errors)))
    if uem:
        inputs.notes += outside(reference, inputs.reference, inputs.scored, pooled(errors).total)
    return {"agrees_with": f"pyannote.metrics {version('pyannote.metrics')}", "largest_difference_s": largest}


def _told_as_json(inputs: Inputs, json: bool, result: dict[str, Any]) -> bool:
    """Print the notes, and the result where JSON is asked for."""
    import json as json_

    from rich.console import Console

    for note in inputs.notes:
        Console(stderr=json, soft_wrap=True).print(f"note: {note}", style="yellow", highlight=False, markup=False)
    if json:
        typer.echo(json_.dumps({**result, "notes": inputs.notes}, indent=1, ensure_ascii=False))
    return json


def _parts(errors: ErrorSeconds) -> dict[str, Any]:
    """Seconds, the rate, and each part as a fraction of the reference speech."""
    parts = ("miss", "false_alarm", "confusion")
    fractions = {part: getattr(errors, part) / errors.total if errors.total else None for part in parts}
    return {**errors.model_dump(), "fractions": fractions}


def _dump(slices: Slices) -> dict[str, Any]:
    return {
        slicing: {label: errors.model_dump() for label, errors in parts.items()} for slicing, parts in slices.items()
    }
