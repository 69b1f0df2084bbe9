"""Virtual environments that tests make in a moment: the packages are links to those of this environment."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution
from pathlib import Path


def make_environment(folder: Path, packages: Sequence[str], sites: Sequence[Path] = ()) -> Path:
    """An environment with these distributions and what they require, and nothing else; returns its interpreter.

    ``sites`` are folders of further packages.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages_folder,) = folder.glob("lib/python3*/site-packages")
    for part in {part for package in required(packages) for part in parts_of(package)}:
        (packages_folder / part.name).symlink_to(part)
    (packages_folder / "sites.pth").write_text("".join(f"{site}\n" for site in sites))
    return folder / "bin" / "python"


def required(packages: Sequence[str]) -> Iterator[Distribution]:
    """The distributions and all that they require without an extra."""
    waiting, known = list(packages), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in known:
            continue
        known.add(name)
        found = next(iter(Distribution.discover(name=name, path=[sysconfig.get_path("purelib")])), None)
        if found is None:  # for another platform
            continue
        yield found
        waiting += [re.split(r"[^\w.-]", line)[0] for line in found.requires or () if "extra ==" not in line]


def parts_of(package: Distribution) -> set[Path]:
    """The files and folders of a distribution in the folder of packages."""
    files = package.files or ()
    return {
        Path(str(package.locate_file(file.parts[0]))) for file in files if file.parts[0] not in ("..", "__pycache__")
    }
