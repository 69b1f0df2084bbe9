"""The four root folders are subpackages of diarbench, and shadow nobody."""

from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_root_folders_have_no_init() -> None:
    for folder in ("backends", "benchmarks", "datasets", "reports"):
        assert (ROOT / folder).is_dir()
        assert not (ROOT / folder / "__init__.py").exists(), f"{folder}/__init__.py would shadow other packages"
