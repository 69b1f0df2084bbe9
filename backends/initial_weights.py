"""The weights that ``--init`` can name, resolved without importing a toolkit or using the internet.

``auto`` is each backend's own: see `resolve_init` in its ``backend.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from diarbench.backends.base import HubFiles, InitialWeights
from diarbench.backends.packages import importable
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import sha256_of
from diarbench.datasets.io.names import check_relative_path, first_names
from diarbench.reports.results.run import Run, Weights
from diarbench.reports.results.run_folder import RunFolder

SCRATCH = Weights(origin="scratch", pretrained=False)


def cached_hub_file(files: HubFiles) -> Path | None:
    """The weights of a Hugging Face repository in the hub's cache on this machine, or None; never downloads.

    None also where a companion of the weights is not in the cache. Raises UserError for what is no repository's name,
    or no revision.
    """
    try:
        check_relative_path(files.revision or "main")  # a file in the cache has this name
    except ValueError as error:
        name = f"hub:{files.repository}@{files.revision}"
        raise UserError(f"{name}: not a revision; give a branch or a commit") from error
    if not importable("huggingface_hub"):
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    def cached(name: str) -> Path | None:
        path = try_to_load_from_cache(files.repository, name, revision=files.revision)
        return Path(path) if isinstance(path, str) else None

    try:
        complete = all(map(cached, files.companions))
        return next(filter(None, map(cached, files.names)), None) if complete else None
    except HFValidationError as error:
        raise UserError(f"hub:{files.repository}: not a repository name; expected hub:OWNER/NAME") from error


def weights_on_hub(
    init: str, names: tuple[str, ...], known: Mapping[str, Weights], companions: tuple[str, ...] = ()
) -> InitialWeights:
    """The weights ``hub:ID`` or ``hub:ID@REVISION``, in the hub's cache or to be downloaded.

    ``known`` describes the weights of some repositories, by repository; ``companions`` are files that they need.
    """
    repository, _, revision = init.removeprefix("hub:").partition("@")
    files = HubFiles(repository, names, revision or None, companions)
    weights = known.get(repository, Weights(origin=init, pretrained=True)).model_copy(update={"origin": init})
    path = cached_hub_file(files)
    if path is None:
        return InitialWeights(weights, hub=files)
    return InitialWeights(weights.model_copy(update={"sha256": sha256_of(path)}), path)


def download_weights(initial: InitialWeights) -> InitialWeights:
    """The weights with their file on this machine; the hub client's cache, token and offline switch apply.

    Raises UserError with the client's reason.
    """
    if initial.hub is None:
        return initial
    repository, names, revision, companions = initial.hub
    if not importable("huggingface_hub"):
        raise UserError(f"hub:{repository}: needs huggingface_hub: pip install huggingface_hub")
    for companion in companions:
        if _download(repository, companion, revision) is None:
            raise UserError(f"hub:{repository}: contains no {companion}, which its weights need")
    path = next(filter(None, (_download(repository, name, revision) for name in names)), None)
    if path is None:
        raise UserError(f"hub:{repository}: contains no {' or '.join(names)}; download the file and pass its path")
    weights = initial.weights.model_copy(update={"sha256": sha256_of(path)})
    return replace(initial, weights=weights, path=path, hub=None)


def _download(repository: str, name: str, revision: str | None) -> Path | None:
    """A file of a repository; None where the repository does not contain it.

    Raises UserError where it is not available.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except GatedRepoError as error:
        raise UserError(
            f"hub:{repository}: access needs the authors' consent: request it at "
            f"https://huggingface.co/{repository} and set HF_TOKEN to your token"
        ) from error
    except LocalEntryNotFoundError as error:  # offline, or no network
        raise _hub_error(repository, name, error) from error
    except EntryNotFoundError:
        return None
    except Exception as error:  # the client raises many kinds; each means that the file is not available
        raise _hub_error(repository, name, error) from error


def _hub_error(repository: str, name: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0]
    return UserError(
        f"hub:{repository}: {name} cannot be downloaded from the hub ({reason}); pass a local path instead"
    )


def weights_in_file(init: str, suffixes: tuple[str, ...]) -> InitialWeights:
    """The weights in a local file. Raises UserError where it is absent or has another suffix."""
    path = Path(init).expanduser().resolve()
    if path.is_dir():
        raise UserError(f"--init {init}: is a folder; {_instead_of_folder(init, path, suffixes)}")
    if not path.is_file():
        raise UserError(f"--init {init}: no such file; expected a path, auto, scratch, hub:ID or run:FOLDER")
    if path.suffix not in suffixes:
        raise UserError(f"--init {init}: expected a file ending in {' or '.join(suffixes)}")
    if folder := RunFolder.of_checkpoint(path):
        return _of_run(folder.read_run(), path)
    return InitialWeights(Weights(origin=str(path), pretrained=True, sha256=sha256_of(path)), path)


def _instead_of_folder(init: str, path: Path, suffixes: tuple[str, ...]) -> str:
    """What to give in place of a folder: a run's, one that ``bench export`` wrote, or another."""
    if RunFolder(path).run.is_file():
        return f"to start from this run: --init run:{init}"
    listed = [file for pattern in ("*", "*/*") for file in sorted(path.glob(pattern)) if file.suffix in suffixes]
    found = [str(Path(init) / file.relative_to(path)) for file in listed if file.is_file()]
    if not found:
        return f"--init takes a file ending in {' or '.join(suffixes)}, and there is none in it"
    return f"--init takes a file: {first_names(found)}"


def weights_of_run(init: str, backend: str) -> InitialWeights:
    """The weights ``run:FOLDER``: the best checkpoint of an earlier run.

    Raises UserError where the folder holds no run, a run of another backend, or one without a checkpoint yet.
    """
    folder = RunFolder(Path(init.removeprefix("run:")).expanduser().resolve())
    run = read_run(folder, f"--init {init}")
    if run.backend != backend:
        raise UserError(f"--init {init}: a run of {run.backend}, not of {backend}; use --init {run.backend}={init}")
    return _of_run(run, best_checkpoint(folder, run, f"--init {init}"))


def read_run(folder: RunFolder, option: str) -> Run:
    """The run in a folder; messages start with ``option``. Raises UserError where the folder holds no run."""
    if not folder.run.is_file():
        raise UserError(f"{option}: no run.json in this folder; a run is a folder inside a comparison's folder")
    return folder.read_run()


def best_checkpoint(folder: RunFolder, run: Run, option: str) -> Path:
    """The checkpoint of a run's best epoch. Raises UserError where it has none yet."""
    if run.folds:
        raise UserError(f"{option}: pools {len(run.folds)} folds and has no network; give one of them, {run.folds[0]}")
    best = folder.checkpoint("best")
    if not best.is_file():
        raise UserError(f"{option}: no checkpoints/best.ckpt; the run's state is {run.state}")
    return best


def _of_run(run: Run, checkpoint: Path) -> InitialWeights:
    """A run's checkpoint, trained on the run's corpus and on those of the run's own initial weights."""
    earlier = run.weights or SCRATCH
    return InitialWeights(
        Weights(
            origin=f"{checkpoint.name} of run {run.name} ({run.job}), which began from {earlier.origin}",
            pretrained=True,
            sha256=sha256_of(checkpoint),
            licence=earlier.licence,
            training_corpora=tuple(dict.fromkeys((*earlier.training_corpora, run.corpus))),
            fixed_parts=earlier.fixed_parts,
        ),
        checkpoint,
    )
