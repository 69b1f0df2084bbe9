"""Files from strangers: none runs code, leaves its folder, discloses a file or fills the memory; each is one line."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import pickle
import re
import resource
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from corpora import eaf_text
from report_files import small, write_dataset_json, write_wav
from report_records import make_comparison, make_rows, make_run
from toolkits import load_or_skip

from diarbench.backends import registry
from diarbench.backends.checkpoints import load_checkpoint, load_safetensors, load_tensors
from diarbench.backends.objective import Objective
from diarbench.backends.recipes import load as recipes
from diarbench.benchmarks import api
from diarbench.benchmarks.cli.__main__ import main
from diarbench.benchmarks.runs.executors.watch import read_epochs
from diarbench.benchmarks.runs.search_space import load_space
from diarbench.benchmarks.runs.status import cancel
from diarbench.datasets.checking.check import check
from diarbench.datasets.checking.fix import fix
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.formats import huggingface, pyannote_yaml
from diarbench.datasets.formats.detect import find_corpus
from diarbench.datasets.formats.elan import read_eaf
from diarbench.datasets.io.archives import check_gzip, read_tar_member
from diarbench.datasets.io.audio import Clip, length_s, write_audio
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.files import read_json, sha256_of
from diarbench.datasets.io.lock import holder_of
from diarbench.datasets.io.names import check_name, check_relative_path
from diarbench.datasets.io.records import read_record
from diarbench.datasets.io.rttm import Turn, read_regions, read_rttm
from diarbench.datasets.io.yaml_files import parse_yaml, read_yaml
from diarbench.reports.console import make_console
from diarbench.reports.html import page
from diarbench.reports.html.labels import _own_audio
from diarbench.reports.results.comparison import Comparison
from diarbench.reports.results.job import Job
from diarbench.reports.results.merge import read_comparison
from diarbench.reports.results.run_folder import refuse_links
from diarbench.reports.write import write_reports

torch = pytest.importorskip("torch")

MEMORY_BYTES = 2_000_000_000
GIGABYTES = 3_000_000_000
SPARSE_BYTES = 200_000_000_000
WAV_FORM = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)


@pytest.fixture(autouse=True)
def within_two_gigabytes() -> Iterator[None]:
    """No test may take 2 GB more than the process has when it begins."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path: Path) -> Iterator[Path]:
    """The folder above a test's files, in which nothing may appear."""
    outside = tmp_path / "outside"
    outside.mkdir()
    yield outside
    assert list(outside.iterdir()) == []


def refused(action: Callable[..., Any], *arguments: Any) -> str:
    """The message with which an action is refused, which is one line."""
    with pytest.raises(UserError) as error:
        action(*arguments)
    assert str(error.value) and "\n" not in str(error.value)
    return str(error.value)


class Reduced:
    """Is unpickled by a call."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


def a_comparison() -> Comparison:
    run = make_run("pyannote")
    return make_comparison((run,), make_rows(run, "finetuned", ("a", 10, 1, 1, 1)))


# Names

BAD_NAMES = ("../../x", "..", ".", "", "a/b", "a\\b", "/etc/passwd", "x\x00y", "x\x1b[2Jy", "x\ny", "n" * 300, " . ")
BAD_NAMES += ("x\x9b2Jy", "x\u202ey", "x\ud800y")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_never_leaves_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name"):
        check_name(name)


@pytest.mark.parametrize("name", ("meeting", "IS1009a.Mix-Headset", "회의 1", "..a", "a b", "trñ00"))
def test_ordinary_names_are_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("path", ("../x", "/x", "a/../b", "a//b", "a/./b", ""))
def test_a_relative_path_stays_in_its_folder(path: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name"):
        check_relative_path(path)


@pytest.mark.parametrize("name", ("../../outside/x", "/etc/x", "a/../../outside/x"))
def test_a_dataset_whose_list_leaves_its_folder_is_refused(name: str, ami_mini: Dataset, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "dataset.json").write_bytes((ami_mini.root / "dataset.json").read_bytes())
    (root / "test.txt").write_text(f"{name}\n")
    assert refused(Dataset.open, root).startswith(f"{root / 'test.txt'}:1: ")
    assert any(finding.kind == "unsafe name" for finding in check(root).findings)


def test_a_list_that_is_a_link_to_a_file_elsewhere_is_not_quoted(ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "set")
    (tmp_path / "private.txt").write_text("a/secret\n")
    (tmp_path / "set" / "test.txt").unlink()
    (tmp_path / "set" / "test.txt").symlink_to(tmp_path / "private.txt")
    for read in (Dataset.open, check):
        message = refused(read, tmp_path / "set")
        assert message.startswith(f"{tmp_path / 'set' / 'test.txt'}: a link leads out of ") and "secret" not in message


def test_a_dataset_is_not_fixed_through_a_linked_folder(ami_mini: Dataset, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(ami_mini.root, root)
    others = (root / "test" / "rttm").rename(tmp_path / "others")
    (root / "test" / "rttm").symlink_to(others)
    commented = [root / "train" / "rttm" / "trn00.rttm", others / "tst00.rttm"]
    for rttm in commented:
        rttm.write_text(f"; a comment\n{rttm.read_text()}")
    assert refused(fix, check(root)).startswith(f"{root / 'test' / 'rttm'}: a link leads out of ")
    assert all(rttm.read_text().startswith("; a comment") for rttm in commented), "nothing is half fixed"
    commented[1].write_text(commented[1].read_text().removeprefix("; a comment\n"))
    assert fix(check(root)) == [f"{commented[0]}: rewritten"], "what is not behind the link"


@pytest.mark.parametrize(
    "line", ("SPEAKER ../../x 1 0 1 <NA> <NA> a <NA> <NA>", "SPEAKER /x 1 0 1 <NA> <NA> a <NA> <NA>")
)
def test_an_rttm_names_no_file_elsewhere(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.rttm").write_text(line)
    assert refused(read_rttm, tmp_path / "a.rttm").startswith(f"{tmp_path / 'a.rttm'}:1: ")


CHANGED_NAMES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "run": lambda record: record["runs"][0].update(name="../../outside/run"),
    "run's dataset": lambda record: record["runs"][0].update(dataset="../outside"),
    "recipe": lambda record: record["rows"][0].update(recipe="a/../../outside"),
    "row's run": lambda record: record["rows"][0].update(run="/etc"),
    "stage": lambda record: record["rows"][0].update(stage="x/../../outside"),
    "recording": lambda record: record["rows"][0]["files"][0].update(uri="../../outside/x"),
    "source": lambda record: record.update(source_hashes={"../outside/x": "0"}),
}


@pytest.mark.parametrize("kind", CHANGED_NAMES)
def test_results_with_a_name_that_leaves_its_folder_are_refused(kind: str, tmp_path: Path) -> None:
    record = json.loads(a_comparison().model_dump_json())
    CHANGED_NAMES[kind](record)
    (tmp_path / "results.json").write_text(json.dumps(record))
    assert "cannot be a name" in refused(read_comparison, tmp_path)


def test_results_with_folds_of_other_recordings_are_refused(tmp_path: Path) -> None:
    record = json.loads(a_comparison().model_dump_json())
    record["rows"][0]["folds"] = [1, 2]
    (tmp_path / "results.json").write_text(json.dumps(record))
    assert "rows.0: 2 folds of 1 files" in refused(read_comparison, tmp_path)


@pytest.mark.parametrize("change", ({"dataset": "../outside"}, {"backend": "a/b"}, {"recipe": {"name": "../x"}}))
def test_a_job_with_a_name_that_leaves_its_folder_is_refused(change: dict[str, Any]) -> None:
    job = {"backend": "dummy", "dataset": "d", "dataset_root": "/d", "fingerprint": "f"}
    job |= {
        "recipe": {"name": "quick", "epochs": 1},
        "seed": 1,
        "init": "auto",
        "init_sha256": None,
        "device": "cpu",
        "threads": 1,
    }
    assert Job(**job).name == "d-dummy-quick-seed1"
    with pytest.raises(ValueError, match="cannot be a name"):
        Job(**{**job, **change})


@pytest.mark.parametrize("name", ("log.txt", "checkpoints", "rttm/test"))
def test_a_run_s_folder_with_a_link_is_refused(name: str, tmp_path: Path, nothing_outside: Path) -> None:
    link = tmp_path / "run" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(nothing_outside)
    assert refused(refuse_links, tmp_path / "run").startswith(f"{link}: is a link")


# YAML

YAML = {
    "aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]\n" for k in range(12)),
    "aliases in keys that are merged": "a0: &a0 {x: 1}\n"
    + "".join(f"a{k + 1}: &a{k + 1} {{<<: *a{k}, y: [*a{k}, *a{k}]}}\n" for k in range(30)),
    "an alias of itself": "a: &a [*a]",
    "deep lists": "[" * 5000 + "]" * 5000,
    "deep mappings": "".join(f"{' ' * k}a:\n" for k in range(900)),
    "large": "a: " + "x" * 2_000_000,
    "a tag that runs code": "!!python/object/apply:os.system ['true']",
    "a tag of an unknown class": "!x {a: 1}",
    "many values": "[" + "1," * 200_000 + "1]",
    "not text": "\udcff",
    "a timestamp out of range": "a: 2001-99-99",
    "a tag of another type": "a: !!bool x",
    "an empty number": "a: !!int ''",
    "a number to the base of 60": "a: 1" + ":1" * 50_000,
    "a long number": "a: 0x" + "f" * 5000,
    "comments": "#\n" * 490_000,
}


@pytest.mark.parametrize("kind", YAML)
def test_hostile_yaml_is_refused_by_every_reader(kind: str, tmp_path: Path) -> None:
    content = YAML[kind].encode("utf-8", "surrogateescape")
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    assert refused(parse_yaml, content, "file.yaml").startswith("file.yaml")
    for read in (recipes.load, load_space, pyannote_yaml.find):
        argument = str(path) if read is recipes.load else path
        assert refused(read, argument).startswith(str(path))


# Archives


def tar(path: Path, mode: str, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for entry, content in entries:
            entry.size = entry.size or len(content)
            archive.addfile(entry, io.BytesIO(content) if content else None)
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


def zeros_in_gzip(path: Path, header: bytes, gigabytes: int = 3) -> Path:
    """A gzip file of a few megabytes that unpacks to gigabytes."""
    block = gzip.compress(bytes(10_000_000), 1)
    with path.open("wb") as file:
        file.write(gzip.compress(header))
        for _ in range(gigabytes * 100):
            file.write(block)
    return path


def sparse_header(name: str) -> bytes:
    entry = info(name, tarfile.GNUTYPE_SPARSE, size=512)
    block = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % 8_000_000_000  # the real size
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:512]))
    return bytes(block) + bytes(512 * 3)


def with_size(size: int, name: str = "x", kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header with a size that tarfile would not write, and its checksum."""
    block = bytearray(info(name, kind).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 4 + size.to_bytes(8, "big", signed=True) if size < 0 else b"%011o\0" % size
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def long_names(count: int) -> bytes:
    return (with_size(1, kind=tarfile.GNUTYPE_LONGNAME) + b"x" + bytes(511)) * count


TARS: dict[str, Callable[[Path], Path]] = {
    "gzip of zeros": lambda p: zeros_in_gzip(p, info("w", size=GIGABYTES).tobuf()),
    "gzip of zeros in another member": lambda p: zeros_in_gzip(p, info("other", size=GIGABYTES).tobuf()),
    "gzip of zeros in a long name": lambda p: zeros_in_gzip(
        p, info("x", tarfile.GNUTYPE_LONGNAME, size=GIGABYTES).tobuf()
    ),
    "gzip of zeros in a pax header": lambda p: zeros_in_gzip(p, info("x", tarfile.XHDTYPE, size=GIGABYTES).tobuf()),
    "sparse file": lambda p: (p.write_bytes(sparse_header("w")), p)[1],
    "symbolic link": lambda p: tar(p, "w", (info("w", tarfile.SYMTYPE, linkname="/etc/passwd"), b"")),
    "hard link": lambda p: tar(p, "w", (info("w", tarfile.LNKTYPE, linkname="absent"), b"")),
    "device": lambda p: tar(p, "w", (info("w", tarfile.CHRTYPE, devmajor=1, devminor=5), b"")),
    "truncated": lambda p: (p.write_bytes(tar(p, "w", (info("w"), b"x" * 9000)).read_bytes()[:4000]), p)[1],
    "without the member": lambda p: tar(p, "w", (info("../outside/y"), b"y")),
    "not a tar": lambda p: (p.write_bytes(os.urandom(4000)), p)[1],
    "negative size, leading backwards": lambda p: (p.write_bytes(with_size(-512) + with_size(-512)), p)[1],
    "many members": lambda p: (p.write_bytes(gzip.compress(with_size(0) * 130_000)), p)[1],
    "many headers of headers": lambda p: (p.write_bytes(long_names(2000)), p)[1],
    "negative size": lambda p: (p.write_bytes(bytes(info("w").tobuf()[:124]) + b"\xff" * 12 + bytes(376)), p)[1],
}


@pytest.mark.parametrize("kind", TARS)
def test_a_hostile_tar_is_refused(kind: str, tmp_path: Path) -> None:
    path = TARS[kind](tmp_path / "m.nemo")
    assert path.stat().st_size < 20_000_000
    assert refused(read_tar_member, path, "w").startswith(str(path))


def test_a_gzip_manifest_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = zeros_in_gzip(tmp_path / "recordings.jsonl.gz", b"")
    assert "would unpack to" in refused(check_gzip, path)


def zipped_checkpoint(path: Path, member: str = "data/0", size: int = 300_000_000) -> Path:
    """A checkpoint with a deflated member of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("m/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("m/version", "3")
        with archive.open(f"m/{member}", "w", force_zip64=True) as file:
            for _ in range(size // 10_000_000):
                file.write(bytes(10_000_000))
    return path


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def old_format_before_zip(path: Path) -> Path:
    """torch reads the beginning of a file, and zipfile its end."""
    old = saved(path, Reduced(bytearray, 10**10), _use_new_zipfile_serialization=False).read_bytes()
    path.write_bytes(old + saved(path.with_name("new"), {}).read_bytes())
    return path


def repeated(width: int, depth: int) -> Any:
    """A list that unfolds to ``width ** depth`` values, which a pickle holds in a few hundred bytes."""
    value: Any = "x"
    for _ in range(depth):
        value = [value] * width
    return value


def shared_tuples(depth: int) -> Any:
    """Tuples in tuples, of which each holds another one twice: hashing them takes ``2 ** depth`` steps."""
    value: Any = ()
    for _ in range(depth):
        value = (value, value)
    return value


def with_pickle(path: Path, content: bytes, *names: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("data.pkl",):
            archive.writestr(f"m/{name}", content)
        archive.writestr("m/version", "3")
        archive.writestr("m/byteorder", "little")
    return path


PICKLES: dict[str, Callable[[Path, Path], Path]] = {
    "a call of os": lambda p, out: saved(p, Reduced(os.mkdir, str(out / "x"))),
    "a call of os, in a newer protocol": lambda p, out: with_pickle(p, pickle.dumps(Reduced(os.mkdir, str(out / "x")))),
    "a call of os, in torch's old format": lambda p, out: saved(
        p, Reduced(os.mkdir, str(out / "x")), _use_new_zipfile_serialization=False
    ),
    "a bare pickle": lambda p, out: (p.write_bytes(pickle.dumps(Reduced(os.mkdir, str(out / "x")))), p)[1],
    "a large bytearray": lambda p, out: saved(p, Reduced(bytearray, 8_000_000_000)),
    "a large storage": lambda p, out: saved(p, Reduced(torch.zeros, 2_000_000_000)),
    "a file written by a codec": lambda p, out: saved(p, Reduced(Path.write_text, out / "x", "x")),
    "a pickle under another case": lambda p, out: with_pickle(
        p, pickle.dumps(Reduced(bytearray, 10**10), 2), "DATA.PKL"
    ),
    "two pickles": lambda p, out: with_pickle(p, b"\x80\x02}.", "data.pkl", "x.pkl"),
    "an old format before a ZIP file": lambda p, out: old_format_before_zip(p),
    "a long pickle": lambda p, out: with_pickle(p, b"\x80\x02" + b"}" * 5_000_000 + b"."),
    "many nested tuples": lambda p, out: with_pickle(p, b"\x80\x02})" + b"\x85" * 300_000 + b"K\x00s."),
    "lists of lists": lambda p, out: saved(p, repeated(100, 7)),
    "a key of tuples that share their parts": lambda p, out: with_pickle(
        p, b"\x80\x02}" + pickle.dumps(shared_tuples(60), 2)[2:-1] + b"K\x00s."
    ),
    "a long key, many times": lambda p, out: with_pickle(
        p, b"\x80\x02}(" + b"K\x01" * 9000 + b"tq\x00K\x00s" + b"h\x00K\x00s" * 100_000 + b"."
    ),
    "an import": lambda p, out: with_pickle(p, b"\x80\x02cthis\nno\n."),
    "a deflated tensor": lambda p, out: zipped_checkpoint(p),
    "a deflated member of another name": lambda p, out: zipped_checkpoint(p, "other"),
    "a truncated file": lambda p, out: (p.write_bytes(saved(p, {"a": torch.zeros(9)}).read_bytes()[:300]), p)[1],
}


@pytest.mark.parametrize("kind", PICKLES)
def test_a_hostile_checkpoint_is_refused(kind: str, tmp_path: Path, nothing_outside: Path) -> None:
    path = PICKLES[kind](tmp_path / "c.ckpt", nothing_outside)
    assert refused(load_tensors, path).startswith(str(path))


def test_values_that_a_checkpoint_repeats_are_read(tmp_path: Path) -> None:
    betas = (0.9, 0.999)
    content = {"groups": [{"betas": betas, "size": torch.Size(betas_of)} for betas_of in ((2, 3), (4,))] * 50}
    content |= {shared_tuples(10): betas, "weights": [torch.zeros(2)] * 9}
    assert str(load_tensors(saved(tmp_path / "c.ckpt", content))) == str(content)


# Configurations of networks

TOKENIZER = "transformers.AutoTokenizer"


def at(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set a dotted key of a configuration."""

    def change(config: dict[str, Any]) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


CONFIGURATIONS: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "cls with params": (
        at("preprocessor", {"cls": TOKENIZER, "params": {"trust_remote_code": True}}),
        "preprocessor.cls",
    ),
    "cls beside the options": (at("encoder.cls", TOKENIZER), "encoder.cls"),
    "cls that writes a file": (
        at("loss", {"cls": "pathlib.Path.write_text", "params": {"self": "x", "data": "x"}}),
        "loss.cls",
    ),
    "a function as target": (at("loss._target_", "os.system"), "loss._target_"),
    "another class of NeMo": (
        at("loss._target_", "nemo.collections.common.tokenizers.AutoTokenizer"),
        "loss._target_",
    ),
    "a class of the same name": (at("encoder._target_", "evil.ConformerEncoder"), "encoder._target_"),
    "a target in an option": (at("encoder.dropout", {"_target_": "os.system"}), "encoder.dropout._target_"),
    "a target in a list": (at("encoder.att_context_size", [[{"_target_": "x"}]]), "encoder.att_context_size[0][0]"),
    "a target in a tuple": (at("encoder.att_context_size", ({"_target_": "x"},)), "encoder.att_context_size"),
    "a target in an unknown section": (at("decoder", {"a": {"_target_": "x"}}), "decoder.a._target_"),
    "params in an unknown section": (at("augmentor", {"params": {}}), "augmentor.params"),
    "cls of the model": (at("cls", TOKENIZER), "cls"),
    "another model": (at("target", TOKENIZER), "target"),
    "arguments of hydra": (at("encoder._args_", [1]), "encoder._args_"),
    "an option of no class": (at("encoder.trust_remote_code", True), "encoder.trust_remote_code"),
    "an interpolation": (at("encoder.dropout", "${oc.env:HOME}"), "encoder.dropout"),
    "an interpolation in a setting": (at("nemo_version", "${a}"), "nemo_version"),
    "an object": (at("encoder.dropout", object()), "encoder.dropout"),
    "a set": (at("model_defaults", {"a": {1}}), "model_defaults.a"),
    "a subclass of dict": (at("encoder", Counter(a=1)), "encoder"),
    "a key that is no text": (at("model_defaults", {1: 1}), "model_defaults"),
    "many speakers": (at("max_num_of_spks", 40), "max_num_of_spks"),
    "lists of lists": (at("model_defaults", repeated(100, 5)), "more than 10,000 values"),
    "many layers": (at("encoder.n_layers", 10**9), "encoder.n_layers"),
    "spliced frames": (at("preprocessor.frame_splicing", 10_000), "preprocessor.frame_splicing"),
    "wide local attention": (at("encoder.att_context_size", [10_000, 10_000]), "encoder.att_context_size[0]"),
    "a choice of wide attentions": (at("encoder.att_context_size", [[9000, 1]]), "encoder.att_context_size[0][0]"),
    "many heads": (at("encoder.n_heads", 1000), "encoder.n_heads"),
    "many masks": (at("spec_augment", {"freq_masks": 10_000}), "spec_augment.freq_masks"),
    "a long speaker cache": (at("sortformer_modules.spkcache_len", 10_000), "sortformer_modules.spkcache_len"),
    "a chunk of nothing": (at("sortformer_modules.chunk_len", 0), "sortformer_modules.chunk_len"),
    "features a sample apart": (at("preprocessor.window_stride", 1e-5), "preprocessor.window_stride"),
    "features of a low rate": (at("preprocessor.sample_rate", 200), "preprocessor.sample_rate"),
    "wide feed-forward layers": (at("encoder.ff_expansion_factor", 40), "encoder"),
    "many bands": (at("encoder.feat_in", 30_000), "encoder"),
    "a long window": (at("preprocessor.window_size", 1e9), "preprocessor.window_size"),
    "not a number": (at("encoder.dropout", float("nan")), "encoder.dropout"),
    "wide layers": (at("encoder.d_model", 9000), "encoder"),
    "no encoder": (lambda config: config.pop("encoder"), "encoder"),
    "deep nesting": (at("model_defaults", json.loads("[" * 50 + "]" * 50)), "model_defaults"),
}


@pytest.mark.slow
class TestNemo:
    @pytest.fixture(scope="class")
    def network(self) -> Any:
        backend = load_or_skip("nemo")
        return backend.network(backend.resolve_init("scratch"), Objective())

    @pytest.mark.parametrize("kind", CONFIGURATIONS)
    def test_a_hostile_configuration_is_refused_by_its_key(self, kind: str, network: Any) -> None:
        change, key = CONFIGURATIONS[kind]
        checkpoint = {"architecture": network.architecture(), "weights": network.state_dict()}
        registry.load("nemo").restore(checkpoint)
        change(checkpoint["architecture"])
        assert key in refused(registry.load("nemo").restore, checkpoint)

    def test_every_file_with_a_configuration_is_refused(self, network: Any, tmp_path: Path) -> None:
        from omegaconf import OmegaConf

        backend, hostile = registry.load("nemo"), {"encoder": {"a": ({"_target_": "os.system"},)}}
        network.model.save_to(str(tmp_path / "m.nemo"))
        with tarfile.open(tmp_path / "m.nemo") as archive:
            files = {each.name: archive.extractfile(each).read() for each in archive if each.isreg()}  # type: ignore[union-attr]
        config = files["./model_config.yaml"] if "./model_config.yaml" in files else files["model_config.yaml"]
        hostile_yaml = config.replace(b"_target_: nemo", b"cls: os.system\n  _target_: nemo", 1)
        entries = [(info(n), hostile_yaml if n.endswith("yaml") else content) for n, content in files.items()]
        tar(tmp_path / "m.nemo", "w", *entries)
        architecture = {**network.architecture(), **hostile}
        saved(tmp_path / "ours.ckpt", {"format": 1, "backend": "nemo", "architecture": architecture, "weights": {}})
        cfg = OmegaConf.create(network.architecture())
        cfg.encoder._set_value({"_target_": "os.system"})
        weights = network.model.state_dict()
        saved(tmp_path / "lightning.ckpt", {"state_dict": weights, "hyper_parameters": {"cfg": cfg}})
        for name in ("m.nemo", "ours.ckpt", "lightning.ckpt"):
            initial = backend.resolve_init(str(tmp_path / name))
            assert "refused: its configuration: " in refused(backend.network, initial, Objective())


ARCHITECTURES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "an unknown option": (at("hyperparameters.lstm.device", "cuda"), "lstm.device"),
    "an object": (at("hyperparameters.lstm.dropout", object()), "lstm.dropout"),
    "a tuple": (at("hyperparameters", ({},)), "hyperparameters"),
    "many layers": (at("hyperparameters.lstm.num_layers", 10**9), "lstm.num_layers"),
    "wide layers": (at("hyperparameters.linear.hidden_size", 10**9), "linear.hidden_size"),
    "many speakers": (at("speakers", 10**6), "speakers"),
    "many sets of speakers": (lambda settings: settings.update(speakers=20, simultaneous=20), "1,048,576 sets of 20"),
    "text for a number": (at("duration_s", "10"), "duration_s"),
    "an unknown head": (at("head", "os.system"), "head"),
    "an unknown key": (at("_target_", "os.system"), "_target_"),
}


@pytest.mark.slow
class TestPyannote:
    @pytest.fixture(scope="class")
    def network(self) -> Any:
        backend = load_or_skip("pyannote")
        return backend.network(backend.resolve_init("auto"), Objective())

    @pytest.mark.parametrize("kind", ARCHITECTURES)
    def test_a_hostile_architecture_is_refused_by_its_key(self, kind: str, network: Any) -> None:
        change, key = ARCHITECTURES[kind]
        checkpoint = {"architecture": json.loads(json.dumps(network.architecture())), "weights": network.state_dict()}
        registry.load("pyannote").restore(checkpoint)
        change(checkpoint["architecture"])
        assert key in refused(registry.load("pyannote").restore, checkpoint)

    def test_weights_that_claim_a_huge_shape_are_refused(self, network: Any, tmp_path: Path) -> None:
        weights = {name.removeprefix("model."): tensor for name, tensor in network.state_dict().items()}
        for name in ("linear.0.weight", "lstm.weight_hh_l0", "classifier.weight"):
            shape = [60_000, *weights[name].shape[1:]] if name != "lstm.weight_hh_l0" else [240_000, 60_000]
            path = saved(tmp_path / "m.bin", {**weights, name: torch.zeros(1).expand(shape)})
            refused(registry.load("pyannote").network, registry.load("pyannote").resolve_init(str(path)), Objective())

    def test_weights_that_repeat_one_number_are_refused(self, network: Any) -> None:
        """Their shapes are those of a network of 2 GB."""
        from diarbench.backends.pyannote.checkpoints import SCRATCH
        from diarbench.backends.pyannote.network import _build_model

        architecture = {**SCRATCH, "hyperparameters": {"lstm": {"hidden_size": 4000, "num_layers": 3}}}
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in _build_model(architecture).state_dict().items()}
        weights = {f"model.{name}": torch.zeros(1).expand(shape) for name, shape in shapes.items()}
        message = refused(registry.load("pyannote").restore, {"architecture": architecture, "weights": weights})
        assert "claim more numbers than the file has" in message

    def test_a_checkpoint_of_pyannote_with_other_objects_is_refused(self, network: Any, tmp_path: Path) -> None:
        backend = registry.load("pyannote")
        for change in (
            {"hyper_parameters": {"lstm": {"num_layers": 10**9}}},
            {"hyper_parameters": {"lstm": {"hidden_size": ({"_target_": "os.system"},)}}},
            {"hyper_parameters": Reduced(os.mkdir, str(tmp_path / "outside" / "x"))},
        ):
            checkpoint: dict[str, Any] = {"state_dict": network.model.state_dict()}
            checkpoint["hyper_parameters"] = dict(network.model.hparams)
            network.model.on_save_checkpoint(checkpoint)
            path = saved(tmp_path / "m.ckpt", {**checkpoint, **change})
            refused(backend.network, backend.resolve_init(str(path)), Objective())


def test_a_damaged_plda_and_one_of_zeros_are_refused(tmp_path: Path) -> None:
    if command := registry.missing("pyannote"):
        pytest.skip(command)
    import numpy as np

    from diarbench.backends.pyannote.plda import FILES, load_plda

    objects = np.array([Reduced(os.mkdir, str(tmp_path / "outside" / "x"))], dtype=object)
    for written in (
        lambda path: np.savez(path, mean1=objects, mean2=objects, lda=objects, mu=objects, tr=objects, psi=objects),
        lambda path: np.savez_compressed(path, mean1=np.zeros(30_000_000)),
        lambda path: path.write_bytes(b"PK"),
    ):
        for name in FILES:
            written(tmp_path / name)
        refused(load_plda, tmp_path, 192)


READERS: dict[str, Callable[[Path], object]] = {
    "rttm": read_rttm,
    "uem": read_regions,
    "hash": sha256_of,
    "json": read_json,
    "yaml": read_yaml,
    "record": lambda path: read_record(path, Job),
    "epochs": read_epochs,
    "lock": lambda path: holder_of(path.rename(path.with_name(".lock.1")).parent),
    "tar": lambda path: read_tar_member(path, "w"),
    "gzip": check_gzip,
    "checkpoint": lambda path: load_checkpoint(path, "dummy"),
    "safetensors": load_safetensors,
    "audio": lambda path: length_s(Clip(path)),
    "audio in a container": lambda path: length_s(Clip(path.rename(path.with_suffix(".mp4")))),
    "corpus": lambda path: find_corpus(str(path.rename(path.with_suffix(".yaml")))),
}


@pytest.mark.parametrize("kind", READERS)
def test_no_reader_waits_for_a_pipe(kind: str, tmp_path: Path) -> None:
    """A pipe without a writer would be waited for without end, and so would the end of a device."""
    os.mkfifo(tmp_path / "x")
    with contextlib.suppress(UserError, OSError):
        assert READERS[kind](tmp_path / "x") in ([], None)


def test_a_file_of_any_size_takes_no_memory(tmp_path: Path) -> None:
    """A sparse file, which takes no room in an archive of it."""
    for name in ("epochs.csv", "a.rttm"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(10**12)
    assert "a.rttm: cannot be read (larger than 500,000,000 bytes)" in refused(read_rttm, tmp_path / "a.rttm")
    assert read_epochs(tmp_path / "epochs.csv") == []


SPARSE: dict[str, bytes] = {
    "no-data.wav": b"RIFF\0\0\0\0WAVE" + WAV_FORM,
    "empty-data.wav": b"RIFF\0\0\0\0WAVE" + WAV_FORM + b"data\0\0\0\0",
    "a.aiff": b"FORM\0\0\0\0AIFF",
    "a.caf": b"caff\0\1\0\0",
    "a.w64": b"riff" + bytes(36),
    "a.avi": b"RIFF\0\0\0\0AVI ",
    "a.ogg": b"OggS",
    "a.flac": b"fLaC",
    "a.mp4": b"\0\0\0\x18ftypmp42",
}


@pytest.mark.parametrize("name", SPARSE)
def test_the_zeros_of_a_sparse_recording_are_not_counted(name: str, tmp_path: Path) -> None:
    """200 GB that take no room on disk; each eight zeros would be an empty chunk."""
    (tmp_path / name).write_bytes(SPARSE[name])
    os.truncate(tmp_path / name, SPARSE_BYTES)
    assert refused(length_s, Clip(tmp_path / name)).startswith(f"{tmp_path / name}: ")


def test_a_recording_of_many_more_bytes_than_its_header_declares(ami_mini: Dataset, tmp_path: Path) -> None:
    """It is neither linked nor hashed, which would take minutes; what the header declares is converted."""
    shutil.copytree(ami_mini.root, tmp_path / "set")
    recording = Dataset.open(tmp_path / "set").subset("test")[0]
    recording.audio.write_bytes(recording.audio.read_bytes())  # no hard link to the dataset's
    frames, _ = write_audio((Clip(recording.audio),), tmp_path / "linked.wav")
    os.truncate(recording.audio, SPARSE_BYTES)
    assert write_audio((Clip(recording.audio),), tmp_path / "out.wav")[0] == frames
    assert (tmp_path / "out.wav").stat().st_size < 10_000_000
    texts = [finding.text for finding in check(tmp_path / "set").findings if finding.kind == "unreadable audio"]
    assert len(texts) == 1 and texts[0].startswith("200,000,000,000 bytes, of which the header declares")


@pytest.mark.parametrize(("backend", "suffix"), [("nemo", "nemo"), ("nemo", "ckpt"), ("pyannote", "safetensors")])
def test_sparse_weights_are_not_hashed(
    backend: str, suffix: str, ami_mini: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / f"x.{suffix}"
    weights.touch()
    os.truncate(weights, SPARSE_BYTES)
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["bench", "run", "--backend", backend, "--init", str(weights), "--dry-run"])
        main()
    assert capsys.readouterr().err == f"bench: {weights}: larger than 10,000,000,000 bytes\n"


def test_too_little_memory_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "a.rttm").open("wb") as file:
        file.truncate(450_000_000)
    monkeypatch.setattr("sys.argv", ["bench", "score", str(tmp_path / "a.rttm"), str(tmp_path / "a.rttm")])
    api.score(*[write_rttm_of(tmp_path / f"{name}.rttm") for name in "bc"])  # imports what scoring needs
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000, before[1]))
    with pytest.raises(SystemExit) as stopped:
        main()
    resource.setrlimit(resource.RLIMIT_AS, before)
    error = capsys.readouterr().err
    assert stopped.value.code == 1 and error.startswith("bench: out of memory") and error.count("\n") == 1


def write_rttm_of(path: Path) -> Path:
    path.write_text("SPEAKER a 1 0 1 <NA> <NA> a <NA> <NA>\n")
    return path


def parquet_of(path: Path, turns: int, name: str = "x", rows: int = 1, audio: bytes = b"RIFF") -> Path:
    """A small parquet file whose last row has so many turns, all of them the same."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    import numpy as np

    names = pyarrow.DictionaryArray.from_arrays(pyarrow.array(np.zeros(turns, np.int32)), [name])
    offsets = pyarrow.array([0] * rows + [turns], pyarrow.int32())
    columns = {
        "audio": pyarrow.array([audio] * rows),
        "timestamps_start": pyarrow.ListArray.from_arrays(offsets, pyarrow.array(np.zeros(turns))),
        "timestamps_end": pyarrow.ListArray.from_arrays(offsets, pyarrow.array(np.ones(turns))),
        "speakers": pyarrow.ListArray.from_arrays(offsets, names),
    }
    parquet.write_table(pyarrow.table(columns), path, compression="zstd")
    assert path.stat().st_size < 20_000
    return path


PARQUETS: dict[str, Callable[[Path], Path]] = {
    "many turns": lambda p: parquet_of(p, 2_000_000),
    "many turns, and more rows": lambda p: parquet_of(p, 2_000_000, rows=100),
    "a long name, repeated": lambda p: parquet_of(p, 90_000, "n" * 1_000_000),
    "zeros": lambda p: parquet_of(p, 1, audio=bytes(100_000_000)),
}


@pytest.mark.parametrize("kind", PARQUETS)
def test_a_hostile_parquet_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = PARQUETS[kind](tmp_path / "x.parquet")
    assert refused(lambda: list(huggingface.find(path).recordings)).startswith(str(path))


def test_a_long_chain_of_references_in_elan(tmp_path: Path) -> None:
    links = "".join(
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="r{k}" ANNOTATION_REF="r{k + 1}"/></ANNOTATION>'
        for k in range(20_000)
    )
    below = f'<TIER TIER_ID="chain" PARENT_REF="bob">{links}</TIER>'
    text = eaf_text([Turn(0.5, 1.0, "bob")], below).replace('"a0"', '"r20000"')
    (tmp_path / "x.eaf").write_text(text)
    assert read_eaf(tmp_path / "x.eaf", Counter(), "chain") == [Turn(0.5, 1.0, "chain")] * 20_000


@pytest.mark.parametrize("name", ("../../x", "/etc", "a/../b", ".", "a/b/c"))
def test_a_dataset_on_the_hub_is_no_folder(name: str) -> None:
    """Hugging Face datasets would read it."""
    assert "not a dataset's name" in refused(huggingface.hub, name)


def test_many_tiers_are_not_speakers(tmp_path: Path) -> None:
    text = eaf_text([Turn(k, k + 0.5, f"t{k}") for k in range(400)])
    (tmp_path / "x.eaf").write_text(text)
    assert "400 tiers, more than the 300" in refused(read_eaf, tmp_path / "x.eaf", Counter())
    assert len(read_eaf(tmp_path / "x.eaf", Counter(), "tier of t1*")) == 111


@pytest.mark.parametrize(("speakers", "length_s"), ((800, 1.0), (30_000, 0.001)))
def test_more_speakers_than_can_be_mapped_are_refused(speakers: int, length_s: float, tmp_path: Path) -> None:
    lines = "".join(f"SPEAKER a 1 {k * 0.001:.3f} {length_s} <NA> <NA> {k} <NA> <NA>\n" for k in range(speakers))
    (tmp_path / "a.rttm").write_text(lines)
    message = refused(api.score, tmp_path / "a.rttm", tmp_path / "a.rttm")
    assert message.startswith("a: ") and "too many to" in message


@pytest.mark.parametrize("name", ("job.json", "run.json", "results.json"))
def test_a_record_that_is_a_device_or_a_pipe_is_not_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    assert "not a regular file" in refused(read_record, tmp_path / name, Job)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    assert "not a regular file" in refused(read_record, tmp_path / name, Job)


def test_many_safetensors_and_a_damaged_shape_are_refused(tmp_path: Path) -> None:
    for tensors in (
        {f"t{k}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for k in range(30_000)},
        {"t": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}},
    ):
        header = json.dumps(tensors).encode()
        (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        assert "not a readable .safetensors file" in refused(load_safetensors, tmp_path / "m.safetensors")


def test_the_name_of_a_lhotse_manifest_is_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lhotse gives a path that begins with "pipe:" to a shell."""
    pytest.importorskip("lhotse")
    from diarbench.datasets.formats import lhotse_sets

    monkeypatch.chdir(tmp_path)
    for kind in ("recordings", "supervisions"):
        Path(f"pipe:touch EXECUTED #{kind}.jsonl").write_text("")
    lhotse_sets.find(Path())
    assert not Path("EXECUTED").exists()


def test_a_device_is_not_read_as_text() -> None:
    assert "/dev/zero: cannot be read (not a regular file)" in refused(read_rttm, Path("/dev/zero"))


def test_audio_of_a_few_samples_per_second_is_refused(tmp_path: Path) -> None:
    """200 kB at 1 Hz would become 6.4 GB at 16 kHz."""
    import soundfile

    soundfile.write(tmp_path / "slow.wav", [0.1] * 1000, 1)
    assert "1 samples per second" in refused(write_audio, (Clip(tmp_path / "slow.wav"),), tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


def test_a_time_of_no_recording_and_a_clip_beyond_a_day_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rttm").write_text("SPEAKER a 1 0 1e300 <NA> <NA> a <NA> <NA>")
    assert "later than three years; give seconds from the start of the recording" in refused(
        read_rttm, tmp_path / "a.rttm"
    )
    write_wav(tmp_path / "a.wav", 1.0)
    for at_s in (1e6, 1e300):
        clips = (Clip(tmp_path / "a.wav", at_s=at_s),)
        assert "beyond the 24 hours" in refused(write_audio, clips, tmp_path / "b.wav")


def wav_of(path: Path, rate: int, channels: int, samples: int) -> Path:
    """A WAV file of 8 bits a sample, whose samples take no room on disk."""
    size = samples * channels
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels, channels, 8)
    path.write_bytes(b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + form + b"data" + struct.pack("<I", size))
    os.truncate(path, 44 + size)
    return path


@pytest.mark.parametrize(
    ("rate", "channels", "samples", "message"),
    (
        (4000, 1, 4000 * 3600 * 25, "lasts 25 hours or more"),
        (2**31 - 1, 1, 1000, "2147483647 samples per second"),
        (16_000, 1000, 16_000, "1000 channels"),
    ),
)
def test_audio_that_would_unfold_is_refused(
    rate: int, channels: int, samples: int, message: str, tmp_path: Path
) -> None:
    audio = wav_of(tmp_path / "a.wav", rate, channels, samples)
    assert message in refused(write_audio, (Clip(audio),), tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


# Disclosure


def test_audio_is_embedded_from_inside_its_dataset_only(tmp_path: Path) -> None:
    comparison, audio = small(tmp_path), tmp_path / "data" / "test" / "wav" / "one.wav"
    secret, root = tmp_path / "secret.wav", tmp_path / "data"

    def embedded() -> int:
        return page.render(comparison, tmp_path).count('"wav": "')

    assert embedded() == 2
    audio.rename(secret)
    audio.symlink_to(secret)
    assert embedded() == 1, "a link leaves the dataset"
    audio.unlink()
    audio.write_bytes(Path("/etc/passwd").read_bytes())
    assert embedded() == 1, "not audio"
    audio.unlink()
    secret.rename(audio)
    assert embedded() == 2
    write_dataset_json(root, "0" * 64)
    assert embedded() == 0, "another dataset"
    (root / "dataset.json").unlink()
    assert embedded() == 0, "no dataset"


def test_a_recording_of_more_turns_than_can_be_drawn_is_left_out(tmp_path: Path) -> None:
    comparison, relative = small(tmp_path), "reference/mini/test/one.rttm"
    text = "".join(f"SPEAKER one 1 {k / 10_000:.4f} 1 <NA> <NA> a <NA> <NA>\n" for k in range(30_001))
    (tmp_path / relative).write_text(text)
    hashes = {**comparison.source_hashes, relative: sha256_of(tmp_path / relative)}
    shown = page.render(comparison.model_copy(update={"source_hashes": hashes}), tmp_path)
    packed = dict(re.findall(r'"name": "(one|two)", "packed": "([^"]+)"', shown))
    missing = {uri: json.loads(zlib.decompress(base64.b64decode(text)))["missing"] for uri, text in packed.items()}
    assert missing == {"one": ["the reference"], "two": []}


def test_reports_are_not_written_through_a_link(tmp_path: Path, nothing_outside: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "plots").symlink_to(nothing_outside)
    assert "is a link" in refused(
        write_reports,
        [a_comparison()],
        out,
    )


# The terminal


def test_no_control_character_of_a_name_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.table import Table

    output = io.StringIO()
    table = Table("name")
    table.add_row("x\x1b[31mred\x07\u202e")
    make_console(file=output, force_terminal=True, color_system=None).print(table, "y\x1b]0;title\x07", "z\x9b2J")
    assert not {"\x07", "\x9b", "\u202e"} & set(output.getvalue())
    assert "\x1b[31m" not in output.getvalue() and "\x1b]0" not in output.getvalue()
    monkeypatch.setattr("sys.argv", ["bench", "data", "check", str(tmp_path / "a\x1b[2Jb")])
    with pytest.raises(SystemExit) as stopped:
        main()
    captured = capsys.readouterr()
    assert stopped.value.code and "\x1b[2J" not in captured.err + captured.out


def test_nothing_is_written_through_a_link_in_a_folder_of_results(ami_mini: Dataset, tmp_path: Path) -> None:
    """A reference that is a link to a file outside, which the comparison would overwrite."""
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    link = tmp_path / "out" / "reference" / "ami-mini" / "test" / "tst00.rttm"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    plans = api.plan(["nemo"], train=False, tune=False, device="cpu")
    for write in (lambda: api.run(plans, tmp_path / "out"), lambda: cancel(tmp_path / "out")):
        assert refused(write).startswith(f"{link}: is a link")
    assert outside.read_text() == "mine" and not list((tmp_path / "out").glob("*/run.json"))


def test_a_page_of_labels_embeds_no_audio_from_outside_the_dataset(ami_mini: Dataset, tmp_path: Path) -> None:
    shutil.copytree(ami_mini.root, tmp_path / "set")
    recording = Dataset.open(tmp_path / "set").subset("test")[0]
    assert _own_audio(recording) == recording.audio
    private = recording.audio.rename(tmp_path / "private.wav")
    recording.audio.symlink_to(private)
    assert _own_audio(recording) is None
