"""The README names what exists; its commands are run by tests/benchmarks/runs/test_main_job.py."""

from __future__ import annotations

import re

from places import ROOT

README = (ROOT / "README.md").read_text()


def test_its_make_targets_and_files_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", README):
        if target != "and":
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
