"""One run in one process: ``python -m diarbench.benchmarks.runs.worker RUN_FOLDER/job.json``.

The worker needs the job file and the dataset's folder, and writes only to its own folder. The toolkits' output goes to
``log.txt``; standard output carries one JSON object per line, the events that the progress display shows. A worker that
is started again resumes where the last one stopped. It holds the folder's lock, so that no other works the same run.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from diarbench.backends import registry
from diarbench.backends.base import (
    AcceptsPipeline,
    Backend,
    BoundsSpeakers,
    Diarizer,
    Inference,
    InitialWeights,
    SpeakerBounds,
)
from diarbench.backends.checkpoints import load_checkpoint, number_of_parameters, save_checkpoint
from diarbench.backends.initial_weights import download_weights
from diarbench.backends.objective import Objective
from diarbench.backends.recipes.schema import Recipe
from diarbench.backends.training.loggers import open_loggers
from diarbench.benchmarks.runs.environment import (
    END_WITH_PARENT,
    OWN_VARIABLES,
    collect_garbage_rarely,
    environment,
    is_main_process,
    set_up_device,
    share_of_threads,
    watch_load,
)
from diarbench.benchmarks.runs.evaluation import (
    bounded,
    mark_cancelled,
    mark_interrupted,
    open_unchanged,
    queued_run,
    score_rows,
    scored_subsets,
    too_many_speakers_warning,
)
from diarbench.benchmarks.runs.executors.command import HELD
from diarbench.benchmarks.runs.inference_cache import CachedDiarizer, InferenceCache
from diarbench.benchmarks.runs.profiling import Profiler
from diarbench.benchmarks.runs.search_space import search_spaces
from diarbench.benchmarks.runs.timing import Stopwatch, with_cost
from diarbench.benchmarks.runs.tuning import Budget, Tuner
from diarbench.datasets.dataset import Dataset, Recording, Subset, annotated_s, from_annotation
from diarbench.datasets.folds import heard_in_training, with_fold
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import remove_partial, write_atomic
from diarbench.datasets.io.lock import HeldError, hold
from diarbench.datasets.io.names import plural
from diarbench.datasets.io.records import write_record
from diarbench.datasets.io.rttm import Turn, read_rttm, write_rttm
from diarbench.datasets.subsampling import with_mixed_in, with_train
from diarbench.datasets.verification import check_unchanged
from diarbench.reports.results.job import Job
from diarbench.reports.results.recipe_search import RecipeSearch
from diarbench.reports.results.run import Phase
from diarbench.reports.results.run_folder import RunFolder, refuse_links
from diarbench.reports.results.scores import Row, Scores

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from pyannote.core import Annotation

logger = logging.getLogger(__name__)

TIMED_RECORDINGS = 10
"""The number of test recordings for which each stage measures the real-time factor."""


class Worker:
    """Performs one run, from its job to its scores."""

    def __init__(self, folder: Path, job: Job, events: IO[str]) -> None:
        self.folder, self.job, self.events = folder, job, events
        self.files = RunFolder(folder)
        self.is_main_process = is_main_process(job)
        """Whether this process writes the run's record, diarizes and scores; the others only train."""
        self.bounds = SpeakerBounds(job.min_speakers, job.max_speakers)
        self.speed = Stopwatch(self.files.speed)
        self.cache = InferenceCache()
        self.record = queued_run(job)
        self.profiler = Profiler(self.files.profiles) if job.profile else None
        self.datasets: list[Dataset] = []
        """Those that were opened."""

    def run(self) -> None:
        """Train, tune, diarize and score. Raises UserError for what the user can fix."""
        home = self._open(self.job.dataset, self.job.dataset_root, self.job.fingerprint)
        dataset = with_fold(home, self.job.fold)
        others = [self._open(each.dataset, each.root, each.fingerprint) for each in self.job.also_score]
        backend = registry.load_for(self.job)
        start = backend.resolve_init(self.job.init)
        if self.job.init_sha256 not in (None, start.weights.sha256):
            raise UserError(
                f"--init {self.job.init}: these weights changed since the run was planned; choose another --out"
            )
        start = download_weights(start)
        device = set_up_device(self.job)
        pipeline = backend.pipeline if isinstance(backend, AcceptsPipeline) else None
        self._note(
            corpus=dataset.info.corpus, environment=environment(device), weights=start.weights, pipeline=pipeline
        )
        if self.job.train:
            own = with_train(dataset, self.job.train_fraction, self.job.seed)
            mixed = [
                (self._open(Path(other.dataset).name, other.dataset, other.fingerprint or ""), other.share)
                for other in Recipe(**self.job.recipe).mix
            ]
            self._train(backend, start, with_mixed_in(own, mixed), device)
        if not self.is_main_process:
            return
        stages = {"finetuned": "best"}
        if not self.job.train:
            self._keep_pretrained(backend, start)
            stages = {"pretrained": "best"}
        elif start.weights.pretrained:
            stages = {"pretrained": "first", **stages}
        if self.job.trials != 0:
            self._tune(backend, start, dataset, device)
            stages["tuned"] = "best"
        self._enter("diarizing")
        for stage, checkpoint in stages.items():
            for scored in (dataset, *others):
                self._diarize(backend, start, scored, device, stage, checkpoint)
        self._enter("scoring")
        self._check_datasets()
        rows, differences = [], []
        with self.speed.phase("scoring"):
            for scored, stage, subset in [
                *((dataset, stage, subset) for stage, subset in product(stages, scored_subsets(dataset))),
                *((dataset, oracle, "test") for oracle in self.files.oracle_stages()),
                *((other, stage, "test") for other, stage in product(others, stages)),
            ]:
                stage_rows, difference = self._score(scored, subset, stage)
                rows += stage_rows
                differences.append(difference)
        scores = Scores(rows=tuple(rows), largest_difference_s=max(differences), source_hashes=self.files.hashes())
        write_record(self.files.scores, scores)
        self._note(phases=tuple(self.speed.phases))
        self._enter("done")

    def is_done(self) -> bool:
        """Whether the folder holds the finished run of this job."""
        try:
            record = self.files.read_run()
        except UserError:
            return False
        return record.state == "done" and record.job == self.job.hash

    def interrupt(self) -> None:
        """Record that the run was stopped from outside."""
        if self.is_main_process:
            mark_interrupted(self.files)

    def fail(self, error: Exception) -> None:
        """Record why the run failed, in one line."""
        if not self.is_main_process:
            return
        if not isinstance(error, UserError):
            try:  # the file may have changed on which a toolkit failed, or another of the processes that train
                self._check_datasets()
            except UserError as changed:
                error = changed
        reason = str(error).strip().splitlines() or [""]
        failure = reason[0] if isinstance(error, UserError) else f"{type(error).__name__}: {reason[0]} (see log.txt)"
        self._profile(None)
        self._note(state="failed", failure=failure)
        write_atomic(self.files.state, "failed\n")

    def _open(self, name: str, root: str, fingerprint: str) -> Dataset:
        dataset = open_unchanged(name, root, fingerprint)
        self.datasets.append(dataset)
        return dataset

    def _check_datasets(self) -> None:
        """Raises UserError where a file changed."""
        for dataset in self.datasets:
            check_unchanged(dataset)

    def _train(self, backend: Backend, start: InitialWeights, dataset: Dataset, device: str) -> None:
        from diarbench.backends.training.distributed import end_group, launch_fabric, seed_all
        from diarbench.backends.training.trainer import Trainer

        self._enter("training")
        recipe, job = Recipe(**self.job.recipe), self.job
        fabric = launch_fabric(device, job.devices, job.nodes, job.strategy, recipe.precision)
        search: RecipeSearch | None = None
        if job.recipe_search:
            recipe, search = self._search_recipe(recipe, backend, start, dataset, fabric)
        seed_all(job.seed, 0)
        network: Any = backend.network(start, recipe.objective)
        self._note(
            parameters=sum(p.numel() for p in network.parameters()),
            objective=network.loss_description,
            train_s=annotated_s(dataset.subset("train")),
        )
        if self.job.search_space or self.bounds.text:  # an error is raised before training, not hours later
            search_spaces(bounded(backend.diarizer(network, "cpu"), self.bounds), self.job.search_space)
        trainer_arguments = (network, backend.name, dataset, recipe, job.seed, fabric, self.folder)
        # A fresh head has random weights: the network before training is then not the pretrained one.
        is_pretrained = start.weights.pretrained and recipe.objective.head != "fresh"
        options: dict[str, Any] = {"may_keep_first": is_pretrained and not job.require_training, "workers": job.workers}
        if not self.is_main_process:
            Trainer(*trainer_arguments, **options).run(lambda **_: None)
            end_group()
            return
        settings = {**job.model_dump(exclude={"recipe", "recipe_search", "loggers"}), **recipe.model_dump()}
        if search is None:
            self.speed.loaded()
        with self.speed.phase("training"), open_loggers(job.loggers, self.folder, settings) as loggers:
            trained = Trainer(*trainer_arguments, loggers, **options).run(self._emit)
            end_group()
        # Where training was resumed, only the training loop knows the total time.
        measured = self.speed.phases[-1]
        seconds, audio_s = (search.seconds, search.audio_s) if search else (trained.seconds, trained.audio_s)
        self.speed.store(Phase(**{**measured.model_dump(), "seconds": seconds, "audio_s": audio_s}))
        self._note(
            recipe_search=search,
            recipe_settings=recipe.model_dump(mode="json", exclude={"name"}),
            epochs=trained.epochs,
            best_epoch=trained.best_epoch,
            epoch_choice=trained.choice,
            trained_audio_s=audio_s,
            heard=heard_in_training(dataset),
            notes=(*trained.notes, *too_many_speakers_warning(dataset, start, recipe.objective)),
        )
        for note in (*trained.notes, *self.record.decisions):
            self._emit(note=note)

    def _search_recipe(
        self, recipe: Recipe, backend: Backend, start: InitialWeights, dataset: Dataset, fabric: Fabric
    ) -> tuple[Recipe, RecipeSearch]:
        """Search for a recipe on dev; the training of the best one is then the run's own."""
        from diarbench.backends.training.distributed import seed_all
        from diarbench.backends.training.trainer import Trainer
        from diarbench.benchmarks.runs.recipe_search import RecipeSearcher

        def make_trainer(candidate: Recipe, folder: Path) -> Trainer:
            seed_all(self.job.seed, 0)
            network = backend.network(start, candidate.objective)
            return Trainer(
                network, backend.name, dataset, candidate, self.job.seed, fabric, folder, workers=self.job.workers
            )

        searcher = RecipeSearcher(recipe, self.job.recipe_search, self.folder, fabric, make_trainer)
        if not self.is_main_process:
            return searcher.run(lambda **_: None)
        self.speed.loaded()
        with self.speed.phase("training"):
            return searcher.run(self._emit)

    def _keep_pretrained(self, backend: Backend, start: InitialWeights) -> None:
        """Save the pretrained network as the run's best one."""
        network: Any = backend.network(start, _with_own_head(Recipe(**self.job.recipe).objective))
        self._note(parameters=number_of_parameters(network))
        save_checkpoint(self.files.checkpoint("best"), backend.name, network)

    def _tune(self, backend: Backend, start: InitialWeights, dataset: Dataset, device: str) -> None:
        """Search for hyper-parameters on dev; resumes a search that was stopped, or that has too few trials."""
        self._enter("tuning")
        network, diarizer = self._restored(backend, start, "best", device)
        tuner = Tuner(
            *(network, device, dataset.subset("dev"), self.job.tune_condition, self.job.seed),
            *(self.cache, self.files.tuning, self._emit),
        )
        budget = Budget(self.job.trials, self.job.tune_seconds)
        with self.speed.phase("tuning"):
            tuning = tuner.run(diarizer, self.job.search_space, budget)
        self._note(tuning=tuning)
        if tuning.best and tuning.default_der is not None:
            gained = "" if tuning.chosen_der == tuning.default_der else f" to {tuning.chosen_der:.1%}"
            reason = f"; {tuning.choice.reason}" if tuning.choice else ""
            trials = plural(len(tuning.trials), "trial")
            self._emit(note=f"tuned in {trials}, dev DER {tuning.default_der:.1%}{gained}{reason}")
        # RTTM decoded with other hyper-parameters is deleted; inference stays in the cache.
        for folder in self.files.final_rttm():
            shutil.rmtree(folder, ignore_errors=True)

    def _diarize(
        self, backend: Backend, start: InitialWeights, dataset: Dataset, device: str, stage: str, checkpoint: str
    ) -> None:
        """Write the stage's RTTM files that do not exist yet.

        The first test recordings are timed, with a network that inferred before. Of another domain, only test is
        diarized.
        """
        home = dataset.info.name == self.job.dataset
        subsets: tuple[Subset, ...] = scored_subsets(dataset) if home else ("test",)
        recordings = [recording for subset in subsets for recording in dataset.subset(subset)]
        to_time = dataset.subset("test")[:TIMED_RECORDINGS] if home else ()
        shortest = min(recordings, key=lambda recording: recording.duration_s, default=None)
        cached: CachedDiarizer | None = None
        values: Mapping[str, Any] = {}
        for done, recording in enumerate(recordings, start=1):
            path = self._rttm(stage, dataset, recording)
            if not path.is_file():
                if cached is None:
                    network, diarizer = self._restored(backend, start, checkpoint, device)
                    told = (f"the pipeline was told that there are {self.bounds.text}",) if self.bounds.text else ()
                    tuning = self.record.tuning if stage == "tuned" else None
                    values = tuning.chosen if tuning else diarizer.defaults
                    self._note(notes=tuple(dict.fromkeys((*self.record.notes, *diarizer.notes, *told))))
                    cached = CachedDiarizer(self.cache, network, diarizer, device, values)
                timed = recording in to_time
                final = home and stage == self.record.final_stage and recording.subset == "test"
                place = recording.subset if home else dataset.info.name
                phase = "diarizing" if final else f"diarizing {stage} {place}"
                inference, cost = cached.infer(recording, warm_up=shortest if timed else None)
                decode = partial(with_cost, _decode, cached.diarizer, recording, inference, values)
                turns, decoding = recording.unchanged(recording.audio, decode)
                decoding.add(cost)
                self.speed.add(phase, decoding, recording.duration_s)
                if timed:
                    self.speed.add_real_time_factor(phase, decoding.seconds / recording.duration_s)
                if final:
                    decode_oracles = partial(with_cost, _decode_oracles, cached.diarizer, recording, inference, values)
                    oracles, cost = recording.unchanged(recording.audio, decode_oracles)
                    self.speed.add("oracles", cost, recording.duration_s)
                    for oracle, annotation in oracles.items():
                        write_rttm(self._rttm(oracle, dataset, recording), recording.uri, from_annotation(annotation))
                write_rttm(path, recording.uri, turns)
            self._emit(stage=stage, done=done, total=len(recordings))

    def _restored(self, backend: Backend, start: InitialWeights, checkpoint: str, device: str) -> tuple[Any, Diarizer]:
        """The network of a checkpoint and its diarizer."""
        with self.speed.phase("restoring"):
            network = self._network(backend, start, checkpoint)
            return network, bounded(backend.diarizer(network, device), self.bounds)

    def _network(self, backend: Backend, start: InitialWeights, checkpoint: str) -> Any:
        objective = Recipe(**self.job.recipe).objective
        if checkpoint == "first" and objective.head == "fresh":
            # Training started from a head of random weights; the pretrained stage uses the head that it replaced.
            return backend.network(start, _with_own_head(objective))
        return backend.restore(load_checkpoint(self.files.checkpoint(checkpoint), backend.name))

    def _score(self, dataset: Dataset, subset: Subset, stage: str) -> tuple[list[Row], float]:
        """One row per condition from the RTTM on disk, and the largest difference to pyannote.metrics (s)."""
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
        return score_rows(recordings, hypothesis, identity)

    def _rttm(self, stage: str, dataset: Dataset, recording: Recording) -> Path:
        folder = self.files.rttm(self.record, dataset.info.name, stage)
        return folder / recording.subset / f"{recording.uri}.rttm"

    def _enter(self, state: str) -> None:
        if not self.is_main_process:
            return
        self._profile(None if state == "done" else state)
        self._note(state=state)
        write_atomic(self.files.state, f"{state}\n")
        self._emit(state=state)

    def _profile(self, state: str | None) -> None:
        """End the profile of the previous state and begin that of ``state``."""
        if self.profiler is not None:
            self.profiler.end()
            self._note(notes=tuple(dict.fromkeys((*self.record.notes, *self.profiler.notes))))
            if state is not None:
                self.profiler.begin(state)

    def _note(self, **fields: Any) -> None:
        """Update fields of the run's record and write it to ``run.json``."""
        if not self.is_main_process:
            return
        self.record = self.record.model_copy(update=fields)
        write_record(self.files.run, self.record)

    def _emit(self, **event: Any) -> None:
        self.events.write(json.dumps(event) + "\n")
        self.events.flush()


def _decode(diarizer: Diarizer, recording: Recording, inference: Inference, values: Mapping[str, Any]) -> list[Turn]:
    return from_annotation(diarizer.decode(recording, inference, values))


def _decode_oracles(
    diarizer: Diarizer, recording: Recording, inference: Inference, values: Mapping[str, Any]
) -> dict[str, Annotation]:
    """Who spoke when by each oracle, by its name."""
    oracles = dict(diarizer.oracles(recording, inference, values))
    if isinstance(diarizer, BoundsSpeakers):
        number = max(1, len({turn.speaker for turn in recording.turns}))
        knowing = diarizer.with_speakers(SpeakerBounds(number, number))
        oracles["oracle-speaker-count"] = knowing.decode(recording, inference, values)
    return oracles


def _end_when_told(worker: Worker, parent: int | None) -> None:
    """End this process soon after the one that started it, which may have been killed, or when the run is cancelled."""
    while parent in (None, os.getppid()):
        if worker.is_main_process and worker.files.cancelled.exists():
            mark_cancelled(worker.files)
            break
        time.sleep(1)
    else:
        worker.interrupt()
    _end_now()


def _end_now() -> None:
    os.kill(os.getpid(), signal.SIGKILL)  # training may be in native code, which no exception reaches


def _with_own_head(objective: Objective) -> Objective:
    """The objective of the network as it was pretrained, where the recipe gives it a fresh head."""
    return objective.model_copy(update={"head": "kept"}) if objective.head == "fresh" else objective


def main() -> None:
    """Run the job. A failure is recorded in ``run.json`` and gives a non-zero exit status."""
    collect_garbage_rarely()
    folder = Path(sys.argv[1]).parent
    # Whatever the toolkits print goes to the log; the original standard output carries only events.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    refuse_links(folder)
    log = RunFolder(folder).log.open("a", encoding="utf-8")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stderr, force=True)
    worker = Worker(folder, RunFolder(folder).read_job(), events)
    watch_load(share_of_threads(worker.job))
    if worker.job.python:  # for the processes that train with this one
        for name in OWN_VARIABLES:
            os.environ.pop(name, None)
    if not worker.is_main_process:
        _work(worker)
        return
    try:
        with hold(folder, _end_now):
            if not worker.is_done():  # by another worker of the same job, which was started twice
                remove_partial(folder)
                _work(worker)
    except HeldError as error:
        logger.info("%s", error)
        sys.exit(HELD)


def _work(worker: Worker) -> None:
    parent = None
    if END_WITH_PARENT in os.environ:
        # The one that started this process may be gone already; those that only train are started by the main process.
        parent = int(os.environ[END_WITH_PARENT]) if worker.is_main_process else os.getppid()
    threading.Thread(target=_end_when_told, args=(worker, parent), daemon=True).start()
    try:
        worker.run()
    except BrokenPipeError:  # nobody reads the events any more
        worker.interrupt()
        sys.exit(1)
    except Exception as error:
        logger.exception("the run failed")
        worker.fail(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
