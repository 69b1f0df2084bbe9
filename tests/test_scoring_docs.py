"""The worked page says what the scorer says, where the recordings' files are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diarbench.benchmarks.fusion import dover_lap
from diarbench.benchmarks.reference_systems import one_speaker, silence
from diarbench.benchmarks.scoring import CONDITIONS
from diarbench.benchmarks.significance import compare, interval, units_of
from diarbench.benchmarks.slices import contributions, slices
from diarbench.datasets.rttm import read_rttm, read_uem
from diarbench.reports.records import ErrorSeconds

ROOT = Path(__file__).parents[1]
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
    told: dict[str, list[str]] = {}
    for protocol in CONDITIONS.values():
        errors = units_of(reference, list(systems.values()), scored, protocol).errors
        for name, parts in zip(systems, errors, strict=True):
            sure = f" ({percent(interval(parts).low)} to {percent(interval(parts).high)})"
            known = name in ("silence", "one speaker")
            told.setdefault(name, []).append(percent(sum(parts, ErrorSeconds()).der) + ("" if known else sure))
        found = compare(errors[2], errors[3])
        sure = f"({percent(found.interval.low)} to {percent(found.interval.high)})"
        told.setdefault("**B minus A**, points", []).append(f"**{percent(found.der)}** {sure}")
        told.setdefault("p", []).append(f"{found.p:.5f}")
    for name, cells in told.items():
        assert f"| {name} | {' | '.join(cells)} |" in page
    protocol = CONDITIONS["full"]
    parts = [slices(reference, side, scored, protocol) for side in (a, b)]
    points = contributions(*parts)
    for slicing in ("speech", "to the nearest boundary", "shortest turn"):
        for label, point in points[slicing].items():
            rates = [percent(side[slicing][label].der) for side in parts]
            assert f"| {' | '.join([label, *rates, f'{100 * point:+.2f}'])} |" in page, (slicing, label)
