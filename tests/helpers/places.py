"""Where the tests find things."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
DUMMY_BACKEND = TESTS / "dummy_backend"
SHARED = ROOT.parent / "shared"
"""Real references and outputs that some tests use where they are at hand; no part of the repository."""
SCORING_ORACLE = Path(os.environ.get("DIARBENCH_SCORING_ORACLE") or SHARED / "scoring")
