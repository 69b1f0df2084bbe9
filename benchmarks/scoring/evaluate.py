"""Score one system, or compare two: what ``bench score``, ``bench compare`` and the Python API share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diarbench.benchmarks.scoring import significance
from diarbench.benchmarks.scoring.baselines import one_speaker, silence
from diarbench.benchmarks.scoring.der import CONDITIONS, ScoringProtocol, pooled, score
from diarbench.benchmarks.scoring.dover_lap import dover_lap
from diarbench.benchmarks.scoring.inputs import Inputs, Turns, parse_condition
from diarbench.datasets.io.errors import UserError
from diarbench.reports.results.scores import ErrorSeconds
from diarbench.reports.results.statistics import Difference, Interval

BASELINES = {"silence": silence, "one speaker": one_speaker}
FUSION = "DOVER-Lap of the two"


@dataclass(frozen=True)
class Score:
    """One system under one condition."""

    protocol: ScoringProtocol
    errors: ErrorSeconds
    """Pooled over the recordings; ``errors.der`` is the rate, as a fraction."""
    recordings: dict[str, ErrorSeconds]
    interval: Interval
    """95 % interval of the rate, over recordings."""


@dataclass(frozen=True)
class PairedScores:
    """Two systems under one condition on the same recordings."""

    a: Score
    b: Score
    difference: Difference
    """B minus A, with its interval and the p-value of a paired permutation test."""
    others: dict[str, Score]
    """For orientation: silence, one speaker, and the DOVER-Lap fusion of the two systems."""


def protocols_named(conditions: Sequence[str] | None) -> list[ScoringProtocol]:
    """The protocols of some conditions; all three named ones where None. Raises UserError for an unknown one."""
    return [parse_condition(text, CONDITIONS) for text in dict.fromkeys(conditions or CONDITIONS)]


def score_system(inputs: Inputs, protocols: Sequence[ScoringProtocol]) -> dict[str, Score]:
    """The first hypothesis of ``inputs`` under each protocol, by name."""
    return {protocol.name: _score_all(inputs, {"": inputs.hypotheses[0]}, protocol)[""] for protocol in protocols}


def compare_systems(inputs: Inputs, protocols: Sequence[ScoringProtocol]) -> dict[str, PairedScores]:
    """The first two hypotheses of ``inputs`` under each protocol, by name.

    Raises UserError where a protocol scores no speech.
    """
    others: dict[str, Turns] = {
        **{
            name: {uri: baseline(regions) for uri, regions in inputs.scored.items()}
            for name, baseline in BASELINES.items()
        },
        FUSION: dover_lap(inputs.hypotheses, inputs.scored),
    }
    systems = {"a": inputs.hypotheses[0], "b": inputs.hypotheses[1], **others}
    pairs = {}
    for protocol in protocols:
        scores = _score_all(inputs, systems, protocol)
        a, b = (list(scores[name].recordings.values()) for name in ("a", "b"))
        try:
            difference = significance.compare(a, b, list(inputs.scored), inputs.groups)
        except ValueError as error:
            raise UserError(f"under {protocol}, {error}") from error
        pairs[protocol.name] = PairedScores(
            scores["a"], scores["b"], difference, {name: scores[name] for name in others}
        )
    return pairs


def _score_all(inputs: Inputs, systems: Mapping[str, Turns], protocol: ScoringProtocol) -> dict[str, Score]:
    """Scores by system."""
    scores = {}
    for name, turns in systems.items():
        recordings = score(inputs.reference, turns, inputs.scored, [protocol])[protocol.name]
        interval = significance.interval(list(recordings.values()), inputs.groups)
        scores[name] = Score(protocol, pooled(recordings), recordings, interval)
    return scores
