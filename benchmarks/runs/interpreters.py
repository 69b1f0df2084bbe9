"""Other interpreters that work the runs of a backend: ``--env BACKEND=PYTHON``.

A toolkit whose packages exclude those of another one lives in a virtual environment of its own. Its runs are worked by
that environment's interpreter; only records, arrays and paths cross, and this process never imports the toolkit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from diarbench.benchmarks.runs.backend_facts import BackendFacts, Question, Reply
from diarbench.benchmarks.runs.environment import OWN_VARIABLES
from diarbench.benchmarks.runs.virtual_environments import python_of
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import cache_dir
from diarbench.datasets.io.records import Record, read_record, write_record
from diarbench.reports.results.job import JOB_FORMAT

OLDEST_PYTHON = (3, 11)

ANSWER_S = 300
"""How long an interpreter may take to answer; a pipeline may be downloaded meanwhile."""

PROBE = """
import json, sys
sys.path.remove("")
found = {"python": list(sys.version_info[:2]), "diarbench": None}
try:
    from importlib.metadata import version
    found["diarbench"] = version("diarbench")
except ImportError:
    pass
print(json.dumps(found))
"""
"""Runs on any Python 3, imports nothing of ours, and looks for nothing in the current folder."""

ISOLATED = ("-E", "-P")
"""The interpreter's options: no packages from this process's PYTHONPATH, no modules from the current folder."""


def interpreters(options: Sequence[str]) -> dict[str, str]:
    """The interpreter of each backend from options ``BACKEND=PYTHON``; ``auto`` is the one of `bench env create`.

    Raises UserError for an option of another form, and for an interpreter that cannot work runs.
    """
    found: dict[str, str] = {}
    for option in options:
        backend, python = divided(option)
        if backend in found:
            raise UserError(f"--env {option}: {backend} has an environment already; name each backend once")
        found[backend] = python or str(python_of(backend))
        check_interpreter(found[backend], f"--env {option}")
        _remember(found[backend])
    return found


def divided(option: str) -> tuple[str, str | None]:
    """The backend of an option ``BACKEND=PYTHON`` and its interpreter's path; None for ``auto``. Raises UserError."""
    backend, separator, python = option.partition("=")
    if not (backend and separator and python):
        raise UserError(f"--env {option}: expected BACKEND=PYTHON, an interpreter's path or auto")
    return backend, None if python == "auto" else _absolute(option, python)


class KnownInterpreters(Record):
    """``interpreters.json`` in the cache: the interpreters that were given to ``--env`` here."""

    paths: tuple[str, ...] = ()


def check_known(python: str, backend: str, where: str) -> None:
    """Raises UserError for a run's interpreter that was never given here: a stranger's run could name any program."""
    if python not in _known().paths:
        raise UserError(
            f"{where}: its environment is {python}, which was never given to --env here; if you trust it, run 'bench "
            f"doctor --env {backend}={python}' first"
        )


def _known() -> KnownInterpreters:
    with suppress(UserError):  # there is none yet
        return read_record(_known_file(), KnownInterpreters)
    return KnownInterpreters()


def _known_file() -> Path:
    return cache_dir() / "environments" / "interpreters.json"


def _remember(python: str) -> None:
    if python not in (paths := _known().paths):
        write_record(_known_file(), KnownInterpreters(paths=(*paths, python)))


def _absolute(option: str, python: str) -> str:
    """The path of an interpreter that is named by a path or by a command; the links of an environment are kept."""
    path = Path(python).expanduser()
    command = shutil.which(path)
    if command is None:
        reason = "is a folder" if path.is_dir() else "cannot be executed" if path.exists() else "no such file"
        raise UserError(f"--env {option}: {reason}; give the path of an interpreter, such as ENVIRONMENT/bin/python")
    return str(Path(command).absolute())


def check_interpreter(python: str, where: str) -> None:
    """Raises UserError where this is no Python that diarbench runs on, or has another version of diarbench."""
    try:
        found = json.loads(run_interpreter(python, where, [*ISOLATED[:1], "-c", PROBE]).stdout)
        release, installed = tuple(found["python"]), found["diarbench"]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{where}: {python} is not a Python interpreter") from error
    this = version("diarbench")
    if release < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise UserError(f"{where}: is Python {'.'.join(map(str, release))}; diarbench needs {oldest} or newer")
    if installed is None:
        raise UserError(f"{where}: has no diarbench; install it: {python} -m pip install diarbench=={this}")
    if installed != this:
        raise UserError(
            f"{where}: has diarbench {installed}, and this is {this}; install it: {python} -m pip install "
            f"diarbench=={this}"
        )


def ask(python: str, question: Question, where: str) -> BackendFacts:
    """`facts_of` in another interpreter. Raises UserError as it does, and where the interpreter cannot answer."""
    arguments = [*ISOLATED, "-m", "diarbench.benchmarks.runs.backend_facts"]
    done = run_interpreter(python, where, arguments, question.model_dump_json())
    try:
        reply = json.loads(done.stdout)
        job_format = int(reply["job_format"])
    except (ValueError, TypeError, KeyError) as error:
        if "No module named diarbench" in done.stderr:
            raise UserError(f"{where}: has an older diarbench; install the one of this environment there") from error
        words = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise UserError(f"{where}: {python} does not answer ({words})") from error
    if job_format != JOB_FORMAT:
        age = "an older" if job_format < JOB_FORMAT else "a newer"
        raise UserError(f"{where}: has {age} diarbench; install the one of this environment there")
    return _facts(python, question, where, Reply.model_validate(reply))


def _facts(python: str, question: Question, where: str, reply: Reply) -> BackendFacts:
    if reply.facts is None:
        raise UserError(f"{where}: {reply.error}")
    if cure := reply.facts.missing:
        cure = f"{python} -m {cure}" if cure.startswith("pip ") else cure
        raise UserError(f"{where}: backend {question.backend} is not installed there: {cure}")
    return reply.facts


def run_interpreter(
    python: str, where: str, arguments: Sequence[str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run an interpreter. Raises UserError where it cannot be started, or does not end."""
    try:
        return subprocess.run(
            [python, *arguments],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=ANSWER_S,
            env={name: value for name, value in os.environ.items() if name not in OWN_VARIABLES},
        )
    except OSError as error:
        if not Path(python).exists():
            raise UserError(f"{where}: {python}: no such file any more; make the environment again") from error
        raise UserError(f"{where}: {python} is not a Python interpreter ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{where}: {python} did not answer within {ANSWER_S} s") from error
