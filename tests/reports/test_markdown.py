"""report.md: its contents, and that names are escaped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from report_records import (
    CLEAR,
    CLEAR_CONTRASTS,
    SCRATCH,
    make_comparison,
    make_rows,
    make_run,
    staged,
    two_backends,
    with_statistics,
)

from diarbench.backends.recipes import load as recipes
from diarbench.datasets.io.names import visible
from diarbench.reports.markdown import code, escape, render_summary
from diarbench.reports.markdown import render as render_in
from diarbench.reports.results.comparison import Comparison

FOLD = re.compile(r"(?m)<details>\n<summary>[^<]*</summary>$|^</details>$")
"""The only HTML: what begins and ends a folded part."""


def render(comparison: Comparison) -> str:
    return render_in(comparison, Path("runs/real"))


def tables(text: str) -> list[list[str]]:
    """Blocks of lines that start with a pipe."""
    return [block.splitlines() for block in re.findall(r"(?m)(?:^\|.*\n)+", text)]


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_every_table_has_as_many_cells_in_each_line():
    for table in tables(render(two_backends())):
        assert len({cells(line) for line in table}) == 1


def test_it_says_what_was_run_on_what_and_how_to_repeat_it():
    text = render(two_backends())
    for needed in (
        "| pyannote | finetuned | 40.0 | - | 12.0 | 6.0 | 22.0 |",
        "bench run --backend pyannote --backend nemo",
        "ffffffffffff",
        "cpu, x86, 2 cores, 8 GB",
        "torch 2.14.1",
        "collar 0 s, overlap scored",
        "(a) started from pretrained weights",
        "| Epoch | loss/val/segmentation | loss/val/vad | loss/val | DiarizationErrorRate | Confusion |",
        "| 1 | 0.500 | 0.250 | 0.750 | 0.400 | 0.100 | 0.100 | 0.200 | 0.50 | 0.500 | 0.250 | 0.750 |",
    ):
        assert needed in text


def test_recipes_can_be_loaded_from_the_report(tmp_path):
    """Each recipe once, as YAML that ``--recipe`` loads."""
    quick = recipes.load("quick")
    settings = quick.model_dump(mode="json", exclude={"name"})
    runs = [make_run(backend, recipe="quick", recipe_settings=settings) for backend in ("pyannote", "nemo")]
    (shown,) = re.findall(r"(?ms)^### Recipe quick\n\n```yaml\n(.*?)^```", render(make_comparison(tuple(runs), [])))
    (tmp_path / "quick.yaml").write_text(shown)
    assert recipes.load(str(tmp_path / "quick.yaml")) == quick


HOSTILE = [
    "a|b",
    "a\nb\n# heading",
    "<img src=x onerror=alert(1)>",
    "`code`",
    "[link](http://example.org)",
    "*bold* _under_ ~~gone~~",
    "\u202eright to left",
    "../../etc/passwd",
    "&lt;b&gt;",
    "$x$",
    "x" * 200,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name):
    run = make_run(
        name,
        name=name,
        recipe=name,
        dataset=name,
        state="failed",
        failure=name,
        notes=(name,),
        recipe_settings={name: name},
    )
    text = render(make_comparison((run,), make_rows(run, "finetuned", (name, 10, 1, 1, 1)), command=f"bench {name}"))
    for table in tables(text):
        assert len({cells(line) for line in table}) == 1
    without_code = FOLD.sub("", re.sub(r"(?ms)^```.*?^```|^\*\*|\*\*$", "", text))
    assert not re.search(r"(?<!\\)[<`\[*_]", without_code)
    assert not re.search(r"(?m)^# heading", without_code)
    assert "\u202e" not in text
    assert "http://" not in without_code


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_read_the_same_once_rendered(name):
    run = make_run(name, weights=SCRATCH.model_copy(update={"origin": name}))
    other = make_run(name, recipe=name, name="other")
    rows = [row for each in (run, other) for row in make_rows(each, "finetuned", ("one", 10, 1, 1, 1))]
    tokens = (
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(render(make_comparison((run, other), rows)))
    )
    inline = [token for token in tokens if token.type == "inline"]
    assert {child.type for token in inline for child in token.children} <= {
        "text",
        "text_special",
        "strong_open",
        "strong_close",
    }
    blocks = [token.content for token in tokens if token.type == "html_block"]
    assert all(FOLD.fullmatch(block.strip()) for block in blocks)
    texts = ["".join(child.content for child in token.children) for token in inline]
    assert texts.count(visible(name)) >= 6 + 3 + 1  # backends a condition, recipes, and where the weights are from


def test_escaping_reads_the_same_once_rendered():
    assert escape("a|b<c>") == r"a\|b\<c\>"
    assert escape("ami-mini 0.5") == "ami-mini 0.5"


def test_a_command_with_a_fence_stays_in_its_block():
    assert code("a\n```\nb").splitlines() == ["````sh", "a", "```", "b", "````"]


def test_the_answer_comes_first_and_details_are_folded():
    text = render(staged(CLEAR, *CLEAR_CONTRASTS))
    assert text.splitlines()[2:5] == [
        "## mini: pyannote tuned leads by 6.9 points",
        "",
        "**pyannote tuned leads nemo tuned by 6.9 points (1.7 to 14.2, p = 0.016); one seed.**",
    ]
    open_tables = re.sub("(?s)<details>.*?</details>", "", text)
    assert [len(table) for table in tables(open_tables)] == [2 + 2, 2 + 6], "the answer, and the table of systems"
    assert "Versions" in text and "Versions" not in open_tables
    ders = [float(line.split("|")[3]) for line in tables(open_tables)[1][2:]]
    assert ders == sorted(ders)


def test_folded_parts_are_balanced_and_render_as_markdown():
    """GitHub renders Markdown inside details where an empty line separates it from the tags."""
    text = render(with_statistics(is_significant=True))
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    blocks = [token.content for token in tokens if token.type == "html_block"]
    assert all(FOLD.fullmatch(block.strip()) for block in blocks)
    assert len(blocks) % 2 == 0 and blocks
    assert sum(token.type == "table_open" for token in tokens) == len(tables(text))


def test_the_summary_fits_a_comment():
    text = render_summary([staged(CLEAR, *CLEAR_CONTRASTS)], Path("runs/real"))
    assert text.startswith("## mini: pyannote tuned leads by 6.9 points")
    assert "| pyannote | 6.9 | 7.3 | 3.5 |" in text
    assert "bench diarize talk.wav --run runs/real/mini-pyannote-base-seed1" in text
    assert len(text.splitlines()) <= 40
    assert render_summary([make_comparison((), [])], Path()) == "\n"
