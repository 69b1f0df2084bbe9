"""Errors that a user can fix, and hints for misspelt names."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def require(module: str, purpose: str, extra: str = "data"):  # type: ignore[no-untyped-def]  # any module of the extra
    """An optional module of one of diarbench's extras. Raises UserError with the command that installs it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{purpose} needs {module}; install it with: pip install 'diarbench[{extra}]'") from error


class UserError(Exception):
    """An error that the user can fix; one line says what is wrong, where (``file:line``) and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # a value from a file may have several lines


def os_error_text(error: OSError, place: object = "") -> str:
    """What the operating system refused, on one line: the file, or ``place`` where it names none, and the reason."""
    path = error.filename2 or error.filename or place  # the second file is the one that is written, as in a copy
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{path}: {reason}" if path else reason


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """``' (did you mean X?)'`` for the nearest of some words, or nothing."""
    import difflib

    folded = {known.casefold(): known for known in words}
    near = difflib.get_close_matches(word.casefold(), folded, n=1)
    return f" (did you mean {folded[near[0]]}?)" if near else ""


def check_choice(option: str, value: str, known: Collection[str], kind: str | None = None) -> None:
    """Raises UserError if an option's value is unknown; ``kind`` names the values in the message."""
    if value not in known:
        message = f"no such {kind or option}{did_you_mean(value, known)}; one of {', '.join(known)}"
        raise UserError(f"--{option} {value}: {message}")
