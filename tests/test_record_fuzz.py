"""Fuzz tests of records and configurations: each damaged file is read, or refused with one line that names it.

By hand, for some minutes: pytest tests/test_record_fuzz.py --hypothesis-profile long
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from places import TESTS
from report_records import make_comparison, make_rows, make_run

from diarbench.backends.pyannote.published import read_configuration
from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.runs.search_space import load_space
from diarbench.benchmarks.runs.timing import Speed
from diarbench.datasets.dataset import DatasetInfo
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.records import read_record
from diarbench.reports.results.merge import read_comparison
from diarbench.reports.results.run import Phase, Tuning
from diarbench.reports.results.run_folder import RunFolder
from diarbench.reports.results.scores import Scores

OLD_RUN = TESTS / "fixtures" / "old-run" / "ami-mini-nemo-quick-seed1"


class Kind(NamedTuple):
    """A file's name, a valid content and its reader."""

    name: str
    content: Any
    read: Callable[[Path], object]


def _kinds() -> Iterator[Kind]:
    for name, read in {
        "job.json": lambda path: (job := RunFolder(path.parent).read_job()).hash + job.former_hash + job.name,
        "run.json": lambda path: RunFolder(path.parent).read_run(),
        "tuning.json": lambda path: read_record(path, Tuning),
    }.items():
        yield Kind(name, json.loads((OLD_RUN / name).read_text()), read)
    run = make_run("pyannote")
    rows = make_rows(run, "finetuned", ("a", 10, 1, 1, 1))
    results = make_comparison((run,), rows).model_dump(mode="json")
    yield Kind("results.json", results, lambda path: read_comparison(path.parent))
    scores = Scores(rows=tuple(rows), largest_difference_s=0.0, source_hashes={"rttm/test/a.rttm": "0" * 64})
    yield Kind("scores.json", scores.model_dump(mode="json"), lambda path: read_record(path, Scores))
    speed = Speed(phases=(Phase(name="training", seconds=1.0, peak_memory_mb=1.0),))
    yield Kind("speed.json", speed.model_dump(mode="json"), lambda path: read_record(path, Speed))
    info = {
        "name": "d",
        "corpus": "AMI",
        "source": "",
        "licence": "",
        "split_rule": "",
        "fingerprint": "0" * 64,
        "subsets": {},
        "changes": {},
    }
    yield Kind("dataset.json", info, lambda path: read_record(path, DatasetInfo))
    recipe = recipes.load("quick").model_dump(mode="json", exclude={"name"})
    yield Kind("recipe.yaml", recipe, lambda path: recipes.load(str(path)))
    space = {"pyannote": {"a": {"low": 0.1, "high": 1}, "b": {"choices": ["x", 2]}}, "nemo": {}}
    yield Kind("space.yaml", space, load_space)
    params = {
        "clustering": "AgglomerativeClustering",
        "embedding": "$model/embedding",
        "embedding_exclude_overlap": True,
        "segmentation": "$model/segmentation",
    }
    values = {
        "clustering": {"method": "centroid", "min_cluster_size": 12, "threshold": 0.7},
        "segmentation": {"min_duration_off": 0.0},
    }
    pipeline = {"name": "pyannote.audio.pipelines.SpeakerDiarization", "params": params}
    yield Kind("config.yaml", {"version": "3.1.0", "pipeline": pipeline, "params": values}, read_configuration)


KINDS = list(_kinds())

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -1, 2**63, "", "../x", "/etc/passwd", "1e999", "a\nb", "\x1b[2J", "\u202e"]),
    st.builds(list),
    st.builds(dict),
    st.builds(lambda: {"": 0}),
    st.floats(),
    st.text(max_size=5),
)
VALUES = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value of nested containers."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*place, key))


@st.composite
def _damaged(draw: st.DrawFn, kind: Kind) -> bytes:
    """A valid file with values replaced, removed or added, and then perhaps with bytes removed or changed."""
    content = copy.deepcopy(kind.content)
    for _ in range(draw(st.integers(0, 3))):
        *parents, key = draw(st.sampled_from([place for place in _places(content) if place] or [(None,)]))
        if key is None:
            break
        inner = content
        for parent in parents:
            inner = inner[parent]
        how = draw(st.sampled_from(["replace", "remove", "add"]))
        if how == "replace":
            inner[key] = draw(VALUES)
        elif how == "remove":
            del inner[key]
        elif isinstance(inner, dict):
            inner[draw(st.text(max_size=5))] = draw(VALUES)
    if kind.name.endswith(".yaml"):
        data = yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass")
    else:
        data = json.dumps(content).encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        begin = draw(st.integers(0, len(data)))
        data = data[:begin] + draw(st.binary(max_size=4)) + data[begin + draw(st.integers(0, 5)) :]
    return data


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_valid_file_is_read(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    path.write_text(yaml.safe_dump(kind.content) if path.suffix == ".yaml" else json.dumps(kind.content))
    kind.read(path)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(st.one_of(_damaged(kind), st.binary(max_size=50)))
    @example(b"")
    @example(b"[" * 100_000)
    @example(b"\xff\xfe")
    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            kind.read(path)
        except UserError as error:
            assert str(path) in str(error) and len(str(error).splitlines()) == 1, str(error)

    check()
