"""The figures of docs/scoring-ami.md equal the scorer's, if the recordings' RTTM files are available."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from places import ROOT

from diarbench.benchmarks.scoring.baselines import one_speaker, silence
from diarbench.benchmarks.scoring.der import CONDITIONS, score
from diarbench.benchmarks.scoring.dover_lap import dover_lap
from diarbench.benchmarks.scoring.significance import compare, interval
from diarbench.benchmarks.scoring.slices import contributions, slices
from diarbench.datasets.folds import number_groups
from diarbench.datasets.io.rttm import read_rttm, read_uem
from diarbench.reports.results.scores import ErrorSeconds

AMI = Path(os.environ.get("DIARBENCH_SCORING_ORACLE", ROOT / "../shared/scoring")) / "ami_test"


def percent(fraction):
    return "-" if fraction is None else f"{100 * fraction:.2f}"


@pytest.mark.skipif(not AMI.is_dir(), reason="no folder of oracle data")
def test_worked_page():
    page = (ROOT / "docs/scoring-ami.md").read_text(encoding="utf-8")
    reference, scored = read_rttm(AMI / "ref.rttm"), read_uem(AMI / "dz_pyannote_baseline.uem")
    a, b = (read_rttm(AMI / f"{name}.rttm") for name in ("dz_pyannote_baseline", "dz_wavlm_updated_conformer"))
    systems = {
        "silence": {uri: silence(regions) for uri, regions in scored.items()},
        "one speaker": {uri: one_speaker(regions) for uri, regions in scored.items()},
        "A: pyannote baseline": a,
        "B: WavLM and Conformer": b,
        "DOVER-Lap of the two": dover_lap([a, b], scored),
    }
    rows: dict[str, list[str]] = {}
    numbers = number_groups(reference)
    groups = [numbers[uri] for uri in scored]
    for protocol in CONDITIONS.values():
        scores = [score(reference, system, scored, [protocol])[protocol.name] for system in systems.values()]
        errors = [list(by_recording.values()) for by_recording in scores]
        for name, parts in zip(systems, errors, strict=True):
            of_system = interval(parts, groups)
            bounds = f" ({percent(of_system.low)} to {percent(of_system.high)})"
            is_baseline = name in ("silence", "one speaker")
            rows.setdefault(name, []).append(percent(sum(parts, ErrorSeconds()).der) + ("" if is_baseline else bounds))
        difference = compare(errors[2], errors[3], groups=groups)
        bounds = f"({percent(difference.interval.low)} to {percent(difference.interval.high)})"
        rows.setdefault("**B minus A**, points", []).append(f"**{percent(difference.der)}** {bounds}")
        rows.setdefault("p", []).append(f"{difference.p:.5f}")
        rows.setdefault("units", []).append(difference.interval.counted)
    for name, cells in rows.items():
        assert f"| {name} | {' | '.join(cells)} |" in page
    protocol = CONDITIONS["full"]
    parts = [slices(reference, side, scored, protocol) for side in (a, b)]
    points = contributions(*parts)
    for slicing in ("speech", "to the nearest boundary", "shortest turn"):
        for label, point in points[slicing].items():
            rates = [percent(side[slicing][label].der) for side in parts]
            assert f"| {' | '.join([label, *rates, f'{100 * point:+.2f}'])} |" in page, (slicing, label)
