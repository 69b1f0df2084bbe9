"""The paths of the files of a run and of a comparison.

A comparison's folder holds the folders of its runs:

    OUT/                                   a comparison: ComparisonFolder
      results.json  report.md  report.html  plots/
      reference/DATASET/SUBSET/URI.{rttm,uem}
      fusion/DATASET-RECIPE-seedN/SUBSET/URI.rttm
      .slurm-*/                            for Slurm's jobs; each command makes its own
      RUN/                                 a run: RunFolder
        job.json  run.json  state  log.txt  slurm.log  speed.json  epochs.csv  tuning.json  scores.json
        checkpoints/{first,last,best}.ckpt  profiles/
        rttm/SUBSET/URI.rttm               of the final stage; rttm-STAGE/ for the others
        also/DATASET/rttm/...              other domains
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
from diarbench.datasets.io.records import read_record
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Job, read_job
from diarbench.reports.results.run import Run
from diarbench.reports.results.scores import Scores

SLURM = ".slurm-"
"""How the name of a folder begins that a command makes for the jobs that it submits to Slurm."""

SUBMISSION_LINK = ".slurm*/.submission_file_*.sh"
"""A link that submitit leaves beside each script that it submits."""


def refuse_links(folder: Path, may_be_link: bool = False) -> None:
    """Raises UserError where a folder, or anything in it, is a link: what is written there could land anywhere.

    The user's own folder of a comparison ``may_be_link``, to another disk. Nothing is written to the links of submitit,
    which are left alone.
    """
    for root, folders, files in os.walk(folder):
        for path in (Path(root), *(Path(root) / name for name in (*folders, *files))):
            if path.is_symlink() and not (may_be_link and path == folder) and not path.match(SUBMISSION_LINK):
                raise UserError(f"{path}: is a link; diarbench writes to no links in a folder of results; remove it")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def job(self) -> Path:
        return self.path / "job.json"

    @property
    def run(self) -> Path:
        return self.path / "run.json"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def slurm_log(self) -> Path:
        """The log of a Slurm job that ended without a result."""
        return self.path / "slurm.log"

    @property
    def cancelled(self) -> Path:
        """A file whose presence asks that the run ends."""
        return self.path / ".cancelled"

    @property
    def speed(self) -> Path:
        return self.path / "speed.json"

    @property
    def epochs(self) -> Path:
        return self.path / "epochs.csv"

    @property
    def tuning(self) -> Path:
        return self.path / "tuning.json"

    @property
    def scores(self) -> Path:
        return self.path / "scores.json"

    @property
    def profiles(self) -> Path:
        return self.path / "profiles"

    def checkpoint(self, name: str) -> Path:
        """``first``, ``last`` or ``best``."""
        return self.path / "checkpoints" / f"{name}.ckpt"

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> RunFolder | None:
        """The run that wrote a checkpoint; None where the file is in no run's folder."""
        folder = cls(checkpoint.parent.parent)
        return folder if folder.checkpoint(checkpoint.stem) == checkpoint and folder.run.is_file() else None

    def read_run(self) -> Run:
        """Raises UserError where ``run.json`` is missing or damaged."""
        return read_record(self.run, Run, "run the command that made it again, which writes it anew")

    def read_job(self) -> Job:
        """Raises UserError where ``job.json`` is missing, damaged, or written by a newer version of diarbench."""
        return read_job(self.job)

    def read_scores(self) -> Scores:
        """Raises UserError where ``scores.json`` is missing or damaged."""
        cure = f"remove it and {self.run}, and run the same command again, which scores the run anew"
        return read_record(self.scores, Scores, cure)

    def rttm(self, run: Run, dataset: str, stage: str) -> Path:
        """The folder of a stage's RTTM, with a folder for each subset in it."""
        place = self.path if dataset == run.dataset else self.path / "also" / dataset
        return place / ("rttm" if stage == run.final_stage else f"rttm-{stage}")

    def final_rttm(self) -> list[Path]:
        """The folders of the final stage's RTTM, of other domains too."""
        return [self.path / "rttm", *sorted(self.path.glob("also/*/rttm"))]

    def oracle_stages(self) -> list[str]:
        """The stages in which the reference replaced a part of the pipeline."""
        return sorted(folder.name.removeprefix("rttm-") for folder in self.path.glob("rttm-oracle-*"))

    def sources(self) -> Iterator[Path]:
        """The files that a comparison's rows depend on."""
        for pattern in ("rttm*/*/*.rttm", "also/*/rttm*/*/*.rttm", self.epochs.name):
            yield from sorted(self.path.glob(pattern))

    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files that a comparison's rows depend on, by path in this folder."""
        return {path.relative_to(self.path).as_posix(): sha256_of(path) for path in self.sources()}

    def check_sources(self, hashes: Mapping[str, str]) -> None:
        """Raises UserError where a file is not the one with this hash."""
        current = self.hashes()
        for name, sha256 in hashes.items():
            if current.get(name) != sha256:
                happened = "changed" if name in current else "is gone"
                raise UserError(
                    f"{self.path / name}: {happened} since it was scored; restore it, or remove it and {self.run}, and "
                    "run the same command again"
                )


@dataclass(frozen=True)
class ComparisonFolder:
    """The folder of a comparison."""

    path: Path

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def leaderboard(self) -> Path:
        return self.path / "leaderboard.md"

    def report(self, suffix: str, number: int | None = None) -> Path:
        """``report.md`` or ``report.html``; numbered where there are several."""
        return self.path / f"report{'' if number is None else f'-{number}'}.{suffix}"

    def run(self, name: str) -> RunFolder:
        return RunFolder(self.path / name)

    def read_results(self) -> Comparison:
        """Raises UserError where ``results.json`` is missing or damaged."""
        return read_record(self.results, Comparison, "run the command that made it again, which writes it anew")

    def reference(self, dataset: str, subset: str) -> Path:
        return self.path / "reference" / dataset / subset

    def fusion(self, dataset: str, recipe: str | None, seed: int | None, subset: str) -> Path:
        return self.path / "fusion" / f"{dataset}-{recipe}-seed{seed}" / subset

    def slurm_folders(self) -> list[Path]:
        """The folders of Slurm's jobs that are left; ``.slurm`` is that of earlier versions."""
        found = (self.path / ".slurm", *self.path.glob(f"{SLURM}*"))
        return [folder for folder in found if folder.is_dir() and not folder.is_symlink()]

    def own_files(self) -> set[str]:
        """Names of everything in the folder that is not a run."""
        files = (self.results, self.report("md"), self.report("html"), self.leaderboard, self.plots)
        return {path.name for path in files} | {"reference", "fusion"}

    def shared_sources(self) -> Iterator[Path]:
        """The files outside the runs that the rows depend on."""
        for name in ("reference", "fusion"):
            yield from sorted((self.path / name).rglob("*.*"))
