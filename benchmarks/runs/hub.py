"""Upload an exported run to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diarbench.datasets.io.errors import UserError


def check_upload(repository: str) -> None:
    """Raises UserError where the name is not one of a repository, or the hub does not know the user's token."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    with _errors_of(repository):
        validate_repo_id(repository)
        if "/" not in repository:
            raise HFValidationError(repository)
        HfApi().whoami()


def upload(folder: Path, repository: str) -> None:
    """Upload a folder; a repository that does not exist yet is created as a private one.

    Raises UserError where the hub refuses; the folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _errors_of(repository, f"; {folder} is complete, upload it with: hf upload {repository} {folder}"):
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository, commit_message="Export of a diarbench run")


@contextmanager
def _errors_of(repository: str, advice: str = "") -> Iterator[None]:
    """Turn what can go wrong with the hub into one line, with what to do."""
    from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError

    option = f"--push-to-hub {repository}"
    try:
        yield
    except HFValidationError as error:
        raise UserError(f"{option}: not the name of a repository; give OWNER/NAME") from error
    except LocalTokenNotFoundError as error:
        raise UserError(f"{option}: no token; log in with 'hf auth login', or set HF_TOKEN") from error
    except Exception as error:  # the client raises many kinds; each means that the hub does not do it
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{option}: the hub cannot be used ({reason}){advice}") from error
