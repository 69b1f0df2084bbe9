"""Subsets that are read from names: clear names are taken and told, others are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpora import write_wav

from diarbench.datasets.conversion.convert import convert
from diarbench.datasets.conversion.split import Split
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.io.errors import UserError


def converted(folder: Path, *names: str, redraw: bool = False) -> Dataset:
    """Convert recordings by their paths; ``lists/test: a, b`` is a RTTM file that describes several."""
    for name in names:
        path, _, described = name.partition(": ")
        uris = described.split(", ") if described else [Path(path).name]
        for uri in uris:
            write_wav(folder / "in" / f"{Path(path).parent / uri}.wav", 0.2)
        text = "".join(f"SPEAKER {uri} 1 0 0.1 <NA> <NA> x <NA> <NA>\n" for uri in uris)
        (folder / "in" / f"{path}.rttm").write_text(text, encoding="utf-8")
    split = Split(shares=(1, 0, 0))
    return convert(find_corpus(str(folder / "in")), folder / "out", split=split, redraw=redraw)


@pytest.mark.parametrize(
    ("names", "subsets", "rule"),
    [
        (("Test_1/a",), {"a": "test"}, "'Test_1' was read as test"),
        (("test: a, b",), {"a": "test", "b": "test"}, "'test' was read as test"),
        (("Train_Ali/a", "Eval_Ali/b"), {"a": "train", "b": "test"}, "'Eval_Ali' was read as test"),
        (("trn00", "dev01"), {"trn00": "train", "dev01": "dev"}, "'dev01' was read as dev, 'trn00' was read as train"),
    ],
)
def test_clear_names(names: tuple[str, ...], subsets: dict[str, str], rule: str, tmp_path: Path) -> None:
    dataset = converted(tmp_path, *names)
    assert {r.uri: subset for subset, listed in dataset.recordings.items() for r in listed} == subsets
    assert dataset.info.split_rule.startswith("the corpus's own, ") and rule in dataset.info.split_rule


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("eval-tools/a", "eval-tools/b"), r"'eval-tools' was read as test: this may be the name of a subset, or not"),
        (("test",), r"'test' was read as test: this may be the name of a subset, or not; .* --split"),
        (("a", "test"), r"a: in no subset, although others are \('test' was read as test\); .* with --split"),
        (("a", "eval-tools/b"), r"a: in no subset, although others are \('eval-tools' was read as test\)"),
    ],
)
def test_names_of_several_readings_are_refused(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        converted(tmp_path, *names)
    assert len(converted(tmp_path, *names, redraw=True).subset("train")) == len(names)
