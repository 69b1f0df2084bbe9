"""One run in one process: ``python -m diarbench.benchmarks.worker RUN_FOLDER/job.json``.

Needs the job file and the dataset's folder, touches its own folder alone. What it would print goes to ``log.txt``;
its standard output carries a JSON object a line, for whoever shows the progress. A second start goes on where the
first was stopped.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import IO, Any

from diarbench.backends import registry
from diarbench.backends.base import Backend, Diarizer, Start, load_checkpoint
from diarbench.backends.recipes import Recipe
from diarbench.backends.trackers import tracking
from diarbench.backends.weights import fetched
from diarbench.benchmarks.cache import CachedDiarizer, InferenceCache
from diarbench.benchmarks.environment import environment
from diarbench.benchmarks.profiling import Profiler
from diarbench.benchmarks.scoring import CONDITIONS, cross_check, pooled, score
from diarbench.benchmarks.speed import Stopwatch
from diarbench.benchmarks.tuning import Budget, Tuner, spaces
from diarbench.datasets.fractions import annotated_s, with_train
from diarbench.datasets.layout import Dataset, Recording, from_annotation
from diarbench.datasets.rttm import Turn, read_rttm, write_rttm
from diarbench.reports.records import (
    FileScore,
    Job,
    Phase,
    Row,
    Run,
    Scores,
    Subset,
    UserError,
    digest,
    read_record,
    write_record,
    write_whole,
)

logger = logging.getLogger(__name__)

Turns = Mapping[str, Sequence[Turn]]
"""By uri."""
MEASURED: tuple[Subset, ...] = ("dev", "test")


class Worker:
    """Takes a run from its job to its scores."""

    def __init__(self, folder: Path, job: Job, events: IO[str]) -> None:
        self.folder, self.job, self.events = folder, job, events
        self.leads = leads(job)
        """Whether this process keeps the run's record; of several that train together the others do nothing else."""
        self.speed = Stopwatch(folder / "speed.json")
        self.cache = InferenceCache()
        self.record = run_record(job)
        self.profiler = Profiler(folder / "profiles") if job.profile else None

    def run(self) -> None:
        """Train, diarize, score. Raises UserError for what the user can mend."""
        dataset = _opened(self.job.dataset_root, self.job.fingerprint)
        others = [_opened(domain.root, domain.fingerprint) for domain in self.job.also_score]
        backend = registry.load(self.job.backend)
        start = backend.locate(self.job.init)
        if self.job.init_sha256 not in (None, start.weights.sha256):
            raise UserError(
                f"--init {self.job.init}: its weights changed since they were asked for; choose another --out"
            )
        start = fetched(start)
        device = _device(self.job)
        self._note(corpus=dataset.info.corpus, environment=environment(device), weights=start.weights)
        self._train(backend, start, with_train(dataset, self.job.train_fraction, self.job.seed), device)
        if not self.leads:
            return
        stages = {"finetuned": "best"}
        if start.weights.pretrained:
            stages = {"pretrained": "first", **stages}
        if self.job.final_stage == "tuned":
            self._tune(backend, start, dataset, device)
            stages["tuned"] = "best"
        self._enter("diarizing")
        for stage, checkpoint in stages.items():
            for scored in (dataset, *others):
                self._diarize(backend, start, scored, device, stage, checkpoint)
        self._enter("scoring")
        rows, differences = [], []
        with self.speed.phase("scoring"):
            for scored, stage, subset in [
                *((dataset, *each) for each in product(stages, MEASURED)),
                *((dataset, oracle, "test") for oracle in self._oracles()),
                *((other, stage, "test") for other, stage in product(others, stages)),
            ]:
                found, difference = self._score(scored, subset, stage)
                rows += found
                differences.append(difference)
        write_record(self.folder / "scores.json", Scores(rows=tuple(rows), largest_difference_s=max(differences)))
        self._note(phases=tuple(self.speed.phases))
        self._enter("done")

    def _train(self, backend: Backend, start: Start, dataset: Dataset, device: str) -> None:
        from diarbench.backends.training import Trainer, end_group, launched, seed_all

        self._enter("training")
        recipe, job = Recipe(**self.job.recipe), self.job
        fabric = launched(device, job.devices, job.nodes, job.strategy, recipe.precision)
        seed_all(job.seed, 0)
        network: Any = backend.network(start, recipe.objective)
        self._note(
            parameters=sum(p.numel() for p in network.parameters()),
            objective=network.trained_on,
            train_s=annotated_s(dataset.subset("train")),
        )
        if self.job.search_space:  # told before hours of training, not after
            spaces(backend.diarizer(network, "cpu"), self.job.search_space)
        trained_by = (network, backend.name, dataset, recipe, job.seed, fabric, self.folder)
        if not self.leads:
            Trainer(*trained_by).run(lambda **_: None)
            end_group()
            return
        told = {**job.model_dump(exclude={"recipe", "loggers"}), **job.recipe}
        self.speed.loaded()
        with self.speed.phase("training"), tracking(job.loggers, self.folder, told) as trackers:
            trained = Trainer(*trained_by, trackers).run(self._tell)
            end_group()
        # The clock of a run that was stopped and went on is the training loop's own.
        measured = self.speed.phases[-1]
        self.speed.keep(Phase(**{**measured.model_dump(), "seconds": trained.seconds, "audio_s": trained.audio_s}))
        self._note(
            epochs=trained.epochs,
            best_epoch=trained.best_epoch,
            trained_audio_s=trained.audio_s,
            notes=(*trained.notes, *crowded(dataset, start)),
        )
        for note in trained.notes:
            self._tell(note=note)

    def _tune(self, backend: Backend, start: Start, dataset: Dataset, device: str) -> None:
        """Search for hyper-parameters on dev, going on where a search was stopped or more trials are asked for."""
        self._enter("tuning")
        network, diarizer = self._restored(backend, start, "best", device)
        tuner = Tuner(
            *(network, device, dataset.subset("dev"), self.job.tune_condition, self.job.seed),
            *(self.cache, self.folder / "tuning.json", self._tell),
        )
        budget = Budget(self.job.trials, self.job.tune_seconds)
        with self.speed.phase("tuning"):
            tuning = tuner.run(diarizer, self.job.search_space, budget)
        self._note(tuning=tuning)
        if tuning.best and tuning.default_der is not None:
            rates = f"dev DER {tuning.default_der:.1%} to {tuning.best.der:.1%}"
            self._tell(note=f"tuned in {len(tuning.trials)} trials, {rates}")
        # What was decoded with other values goes; inference is in the cache.
        for folder in (self.folder / "rttm", *self.folder.glob("also/*/rttm")):
            shutil.rmtree(folder, ignore_errors=True)

    def _diarize(
        self, backend: Backend, start: Start, dataset: Dataset, device: str, stage: str, checkpoint: str
    ) -> None:
        """Write the stage's RTTM, going on where there is some. Dev goes first and warms up: test's clock counts.

        Of another domain, the test subset's alone.
        """
        home = dataset.info.name == self.job.dataset
        recordings = [recording for subset in (MEASURED if home else ("test",)) for recording in dataset.subset(subset)]
        cached: CachedDiarizer | None = None
        values: Mapping[str, Any] = {}
        for done, recording in enumerate(recordings, start=1):
            path = self._rttm(stage, dataset, recording)
            if not path.is_file():
                if cached is None:
                    network, diarizer = self._restored(backend, start, checkpoint, device)
                    tuning = self.record.tuning if stage == "tuned" else None
                    values = tuning.chosen if tuning else diarizer.defaults
                    self._note(notes=tuple(dict.fromkeys((*self.record.notes, *diarizer.notes))))
                    cached = CachedDiarizer(self.cache, network, diarizer, device, values)
                clocked = home and stage == self.record.final_stage and recording.subset == "test"
                where = recording.subset if home else dataset.info.name
                phase = "diarizing" if clocked else f"diarizing {stage} {where}"
                inference, cost = cached.infer(recording)
                with self.speed.phase(phase, audio_s=recording.duration_s) as clock:
                    clock.add(cost)
                    turns = from_annotation(cached.diarizer.decode(recording, inference, values))
                if clocked:
                    with self.speed.phase("oracles", audio_s=recording.duration_s):
                        oracles = cached.diarizer.oracles(recording, inference, values)
                    for oracle, annotation in oracles.items():
                        write_rttm(self._rttm(oracle, dataset, recording), recording.uri, from_annotation(annotation))
                write_rttm(path, recording.uri, turns)
            self._tell(stage=stage, done=done, total=len(recordings))

    def _restored(self, backend: Backend, start: Start, checkpoint: str, device: str) -> tuple[Any, Diarizer]:
        """The network of a checkpoint, and its diarizer."""
        with self.speed.phase("restoring"):
            network = self._network(backend, start, checkpoint)
            return network, backend.diarizer(network, device)

    def _network(self, backend: Backend, start: Start, checkpoint: str) -> Any:
        objective = Recipe(**self.job.recipe).objective
        if checkpoint == "first" and objective.head == "fresh":
            # Training began with a head of random weights; what is pretrained is the head that it replaced.
            return backend.network(start, objective.model_copy(update={"head": "kept"}))
        return backend.restore(load_checkpoint(self.folder / "checkpoints" / f"{checkpoint}.ckpt", backend.name))

    def _score(self, dataset: Dataset, subset: Subset, stage: str) -> tuple[list[Row], float]:
        """A row a condition, from the RTTM on disk; and how far pyannote.metrics is from the collar-0 one."""
        recordings = dataset.subset(subset)
        hypothesis = {r.uri: read_rttm(self._rttm(stage, dataset, r)).get(r.uri, []) for r in recordings}
        identity = {
            "run": self.record.name,
            "dataset": dataset.info.name,
            "backend": self.job.backend,
            "recipe": self.job.recipe["name"],
            "seed": self.job.seed,
            "stage": stage,
            "init": self.job.init,
            "subset": subset,
        }
        return rows_of(recordings, hypothesis, identity)

    def _oracles(self) -> list[str]:
        """The stages in which the reference stood in for a part of the pipeline."""
        return sorted(folder.name.removeprefix("rttm-") for folder in self.folder.glob("rttm-oracle-*"))

    def _rttm(self, stage: str, dataset: Dataset, recording: Recording) -> Path:
        folder = rttm_folder(self.record, dataset.info.name, stage)
        return self.folder / folder / recording.subset / f"{recording.uri}.rttm"

    def _enter(self, state: str) -> None:
        if not self.leads:
            return
        self._profile(None if state == "done" else state)
        self._note(state=state)
        write_whole(self.folder / "state", f"{state}\n")
        self._tell(state=state)

    def _profile(self, state: str | None) -> None:
        """End the profile of the state before, and begin that of this one."""
        if self.profiler is not None:
            self.profiler.end()
            self._note(notes=tuple(dict.fromkeys((*self.record.notes, *self.profiler.notes))))
            if state is not None:
                self.profiler.begin(state)

    def _note(self, **fields: Any) -> None:
        """Keep what is known of the run so far in ``run.json``."""
        if not self.leads:
            return
        self.record = self.record.model_copy(update=fields)
        write_record(self.folder / "run.json", self.record)

    def _tell(self, **event: Any) -> None:
        self.events.write(json.dumps(event) + "\n")
        self.events.flush()


def rows_of(recordings: Sequence[Recording], hypothesis: Turns, identity: dict[str, Any]) -> tuple[list[Row], float]:
    """A row a condition for a system's turns by uri, and pyannote.metrics' largest difference at collar 0 (seconds)."""
    reference = {recording.uri: recording.turns for recording in recordings}
    scored = {recording.uri: recording.regions for recording in recordings}
    errors = score(reference, hypothesis, scored, list(CONDITIONS.values()))
    difference = cross_check(reference, hypothesis, scored, errors["full"])
    rows = [
        Row(
            **identity,
            condition=condition,
            protocol=digest(CONDITIONS[condition]),
            files=tuple(FileScore(uri=uri, **seconds.model_dump()) for uri, seconds in by_uri.items()),
            **pooled(by_uri).model_dump(),
        )
        for condition, by_uri in errors.items()
    ]
    return rows, difference


def leads(job: Job) -> bool:
    """Whether this process is the first of those that train together: whoever starts the others gives them a rank."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return job.devices * job.nodes == 1 or all(os.environ.get(rank, "0") == "0" for rank in ranks)


def _device(job: Job) -> str:
    """The job's device, with torch held to this process's share of the job's threads."""
    import torch

    torch.set_num_threads(max(1, job.threads // job.devices))
    return device_of(job.device)


DEVICES = ("auto", "cpu", "cuda")


def device_of(asked: str) -> str:
    """The device that ``auto`` comes to here."""
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked


def crowded(dataset: Dataset, start: Start) -> tuple[str, ...]:
    """What is to be told of recordings with more speakers than a network can tell apart; known before it is made."""
    counts = [len({t.speaker for t in r.turns}) for listed in dataset.recordings.values() for r in listed]
    over = [count for count in counts if start.max_speakers and count > start.max_speakers]
    if not over:
        return ()
    return (
        f"{len(over)} of {len(counts)} recordings have more than the {start.max_speakers} speakers that the network "
        f"tells apart (up to {max(over)}): it can only miss the others, or take them for one of these",
    )


def _opened(root: str, fingerprint: str) -> Dataset:
    dataset = Dataset.open(Path(root))
    if dataset.info.fingerprint != fingerprint:
        raise UserError(f"{dataset.root}: changed since this run was asked for; choose another --out")
    return dataset


def rttm_folder(run: Run, dataset: str, stage: str) -> str:
    """Where in a run's folder a stage's RTTM is: the final stage's in ``rttm``, an earlier one's beside it.

    What it made of another domain is in ``also/DATASET/``.
    """
    folder = "rttm" if stage == run.final_stage else f"rttm-{stage}"
    return folder if dataset == run.dataset else f"also/{dataset}/{folder}"


def run_record(job: Job) -> Run:
    """What is known of a run before it starts."""
    return Run(
        name=job.name,
        job=job.hash,
        backend=job.backend,
        dataset=job.dataset,
        dataset_root=job.dataset_root,
        corpus="",
        fingerprint=job.fingerprint,
        recipe=job.recipe["name"],
        recipe_settings={key: value for key, value in job.recipe.items() if key != "name"},
        seed=job.seed,
        train_fraction=job.train_fraction,
        also_scored=job.also_score,
        init=job.init,
        state="queued",
    )


def main() -> None:
    """Run the job; a failure is told in ``run.json`` and by the exit status."""
    path = Path(sys.argv[1])
    folder = path.parent
    # The toolkits print; whatever they print belongs in the log, and standard output to the events.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    log = (folder / "log.txt").open("a", encoding="utf-8")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr, force=True)
    worker = Worker(folder, read_record(path, Job), events)
    try:
        worker.run()
    except Exception as error:
        logger.exception("the run failed")
        if not worker.leads:
            sys.exit(1)
        reason = str(error).strip().splitlines() or [""]
        failure = reason[0] if isinstance(error, UserError) else f"{type(error).__name__}: {reason[0]} (see log.txt)"
        worker._profile(None)
        worker._note(state="failed", failure=failure)
        write_whole(folder / "state", "failed\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
