"""NeMo's model, imported without torch's compiler.

A module that NeMo imports with it calls ``torch.compile`` on an attention that Sortformer does not use. This imports
the compiler, 0.7 s of a process's start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial, wraps
from typing import Any

import torch


@contextmanager
def compiling_on_first_call() -> Iterator[None]:
    """Inside the block, ``torch.compile`` returns functions that are compiled when they are first called."""
    package: Any = torch
    compile_now = package.compile

    def defer(function: Callable[..., Any] | None = None, **options: Any) -> Any:
        if function is None:  # a decorator with options
            return partial(defer, **options)
        if isinstance(function, torch.nn.Module):
            return compile_now(function, **options)
        compiled = cache(partial(compile_now, function, **options))

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            return compiled()(*arguments, **named)

        return call

    package.compile = defer
    try:
        yield
    finally:
        package.compile = compile_now


with compiling_on_first_call():
    from nemo.collections.asr.models import SortformerEncLabelModel as SortformerEncLabelModel
