"""The terminal's console: names are shown as they are, and no control character of one reaches the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from diarbench.datasets.io.names import is_control

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def make_console(*, stderr: bool = False, plain: bool = False, **options: Any) -> Console:
    """A console on standard output, or on standard error; ``plain`` has no colour.

    Text is never read as markup: brackets and colons may be part of a user's file names.
    """
    if plain:
        options["color_system"] = None
    console = Console(stderr=stderr, markup=False, emoji=False, **options)
    console.push_render_hook(_ReplaceControls())
    return console


class _ReplaceControls(RenderHook):
    """Replace control characters in all that is printed. rich's own cursor movements are segments of another kind."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Printable(renderable) for renderable in renderables]


class _Printable:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from map(_without_controls, console.render(self.renderable, options))


def _without_controls(segment: Segment) -> Segment:
    if segment.control or not any(map(is_control, segment.text)):
        return segment
    text = "".join(REPLACEMENT if char != "\n" and is_control(char) else char for char in segment.text)
    return Segment(text, segment.style)
