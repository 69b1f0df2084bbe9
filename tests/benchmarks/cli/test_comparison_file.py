"""A comparison file has the options of ``bench run``, read as on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from places import ROOT
from run_helpers import Bench

from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks.cli.__main__ import app
from diarbench.benchmarks.cli.comparison_file import BY_BACKEND, NAMES_OR_PATHS, SAME_IN_PLURAL, key_of
from diarbench.datasets.dataset import Dataset

RUN: Any = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]

FILE = """\
backends: [dummy]
datasets: {dataset}
seeds: [1, 2]
inits: {{dummy: pretrained}}
recipes: ./mine.yaml
tune: false
out: ../out
"""


@pytest.fixture
def file(dummy: None, ami_mini: Dataset, tmp_path: Path) -> Path:
    """A comparison file in a folder of its own, with a recipe beside it."""
    path = tmp_path / "plans" / "comparison.yaml"
    path.parent.mkdir()
    path.write_text(FILE.format(dataset=ami_mini.root))
    path.with_name("mine.yaml").write_text(recipes.text("quick").replace("epochs: 5", "epochs: 3"))
    return path


def test_every_option_has_a_key_but_save() -> None:
    keys = {key_of(option) for option in RUN.params}
    assert len(keys) == len(RUN.params)
    assert keys >= {"backends", "datasets", "recipes", "seeds", "folds", "inits", "envs", "also_score", "train", "out"}
    names = {option.name for option in RUN.params}
    assert names >= NAMES_OR_PATHS | SAME_IN_PLURAL | BY_BACKEND


def test_paths_are_relative_to_the_file_and_the_command_line_wins(
    file: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code, shown, _ = bench("run", "plans/comparison.yaml", "--dry-run")
    assert code == 0
    assert shown.splitlines()[:3] == [
        "2 runs into plans/../out:",
        *(f"  ami-mini-dummy-mine-seed{seed}: 3 epochs, auto, from pretrained" for seed in (1, 2)),
    ]
    code, shown, _ = bench("run", "plans/comparison.yaml", "--seed", 7, "--init", "scratch", "--out", "o", "--dry-run")
    assert shown.splitlines()[:2] == ["1 run into o:", "  ami-mini-dummy-mine-seed7: 3 epochs, auto, from scratch"]


def test_a_saved_file_plans_the_same_runs_from_any_folder(
    file: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(file.parent)
    command = ("run", "--backend", "dummy", "--recipe", "mine.yaml", "--init", "scratch", "--no-tune")
    again = Path("../other/saved.yaml")
    _, planned, _ = bench(*command, "--dry-run", "--save", again)
    assert planned.startswith("1 run into runs/ami-mini-")
    assert again.read_text() == ("backends:\n- dummy\nrecipes:\n- ../plans/mine.yaml\ninits:\n- scratch\ntune: false\n")
    (tmp_path / "third").mkdir()
    monkeypatch.chdir(tmp_path / "third")
    assert bench("run", again, "--dry-run", "--save", again) == (0, planned, "")
    code, _, error = bench("run", again, "--seed", 5, "--dry-run", "--save", again)
    assert (code, error) == (
        1,
        f"bench: --save {again}: exists, with other content; remove it or choose another file\n",
    )


def test_where_a_file_cannot_lead(file: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that was handed over names no cluster, and no folder elsewhere; saving says what it leaves out."""
    monkeypatch.chdir(file.parent)
    (file.parent / "link").symlink_to(tmp_path)
    for out in ("../out", str(tmp_path / "elsewhere"), "~/out", "link/out"):
        file.write_text(f"backends: dummy\nout: {out}\n")
        code, shown, error = bench("run", file, "--dry-run")
        assert (code, shown) == (1, "")
        assert error.startswith(f"bench: {file}:2: out: {out}: outside the folder of this file"), error
    file.write_text("backends: dummy\nray_address: 10.0.0.1:6379\n")
    assert bench("run", file, "--dry-run")[2].startswith(f"bench: {file}:2: ray_address: a file cannot name a cluster")
    command = ("run", "--backend", "dummy", "--executor", "ray", "--ray-address", "h:1", "--out", tmp_path / "o")
    _, shown, _ = bench(*command, "--dry-run", "--save", "saved.yaml")
    assert f"--save saved.yaml: without --ray-address h:1 and --out {tmp_path / 'o'}, which a file cannot" in shown
    assert Path("saved.yaml").read_text() == "backends:\n- dummy\nexecutor: ray\n"


def test_the_comparison_records_the_whole_command(file: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from diarbench.benchmarks import api

    commands: list[str] = []

    def stop(*_: object, command: str, **__: object) -> None:
        commands.append(command)
        raise typer.Exit

    monkeypatch.setattr(api, "run", stop)
    monkeypatch.chdir(file.parent)
    file.write_text(file.read_text().replace("out: ../out", "out: out"))
    assert bench("run", "comparison.yaml", "--seed", 4) == (0, "", "")
    (command,) = commands
    for part in (
        "bench run --backend dummy",
        "--seed 4 ",
        "--recipe mine.yaml",
        "--init dummy=pretrained",
        "--no-tune",
    ):
        assert part in command
    assert "comparison.yaml" not in command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bakends: [nemo]", "1: bakends: unknown key (did you mean backends?)"),
        ("backends: nemo\nsave: c.yaml", "2: save: unknown key; one of backends, "),
        ("backends: nemo\n[a]: 1", "2: ?: unknown key"),
        ("backends: nemo\nbackends: nemo", "2: backends: is given twice"),
        ("backends:\n- nemo\n- nmo", "3: no backend 'nmo' (did you mean nemo?)"),
        ("backends: nemo\ninits: {nmo: auto}", "2: no backend 'nmo'"),
        ("backends: nemo\nrecipes:\n- quick\n- quik", "4: no recipe 'quik'"),
        ("backends: nemo\nrecipes: mine.yaml", "2: {folder}/mine.yaml: cannot be read"),
        ("backends: nemo\ndevice: cude", "2: --device cude: no such device"),
        ("backends: nemo\ninits: [auto, nemo=x.nemo]", "2: --init x.nemo: no such file"),
        ("backends: nemo\nfolds: 2.5", "2: folds: 2.5: "),
        ("backends: nemo\nseeds: [1, -4]", "2: seeds: -4: "),
        ("backends: nemo\nworkers: 1000000", "2: workers: 1000000: "),
        ("backends: nemo\ndevices: 1000000", "2: devices: 1000000: "),
        ("backends: nemo\nsearch_recipe: 100000000", "2: search_recipe: 100000000: "),
        ("backends: nemo\ninits: hub:a/b@../../x", "2: hub:a/b@../../x: not a revision"),
        ("backends: nemo\ntune: 3", "2: tune: 3: expected true or false"),
        ("backends: nemo\ndevice: no", "2: device: no: expected another value than true or false"),
        ("backends: nemo\ntrials:", "2: trials: has no value"),
        ("backends: nemo\nseeds: {a: 1}", "2: seeds: expected one value or a list"),
        ("backends: nemo\nfolds: [3]", "2: folds: expected one value"),
        ("backends: nemo\ninits: {nemo: [1]}", "2: inits: expected one value for each backend"),
        ("backends: []", "1: backends: is empty"),
        ("a: b: c", "1: not YAML of plain values"),
        ("[nemo]", " not a comparison"),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str, bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "comparison.yaml"
    path.write_text(text)
    code, shown, error = bench("run", path, "--dry-run")
    assert (code, shown, error.count("\n")) == (1, "", 1)
    assert error.startswith(f"bench: {path}:{message.format(folder=tmp_path)}"), error


def test_the_example_of_the_docs_is_planned(bench: Bench, ami_mini: Dataset, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "environments.md").read_text(), re.M | re.S)
    path = tmp_path / "comparison.yaml"
    path.write_text(example)
    code, shown, error = bench("run", path, "--dry-run")
    assert (code, error) == (0, "") and shown.startswith("4 runs into ")
