"""Render a self-contained page from a template, with its style and scripts, and a policy that allows only these."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diarbench.datasets.io.names import visible
from diarbench.reports.formatting import name_parts

FOLDER = Path(__file__).parent / "templates"


def render_template(template: str, scripts: Sequence[str], library: str = "", **values: Any) -> str:
    """The page; ``scripts`` are files that run as one, ``library`` the source of a script that they add later."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["breakable"] = lambda name: Markup("<wbr>").join(name_parts(visible(name)))
    script = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in scripts)
    return environment.get_template(template).render(
        **values,
        style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # The page's policy allows only these scripts, so that a name injected as markup could run nothing.
        script_hashes=" ".join(f"'sha256-{_sha256(source)}'" for source in (script, library) if source),
    )


def _sha256(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _shown(value: Any) -> Any:
    """Escape control characters in what the template prints, except in our own markup."""
    return visible(value) if type(value) is str else value
