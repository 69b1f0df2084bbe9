"""debian-voices: finding speakers and speech in unpacked packages, and conversion of built packages."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diarbench.datasets.corpora import catalog
from diarbench.datasets.corpora import debian_voices as source
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError


def utterance(path: Path, length_s: float, rate: int = 22_050, volume: float = 0.1) -> None:
    """Noise of ``length_s`` seconds between half seconds of silence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    silence = np.zeros(rate // 2)
    noise = volume * np.random.default_rng(0).standard_normal(round(length_s * rate))
    soundfile.write(str(path), np.concatenate([silence, noise, silence]), rate)


def unpacked(root: Path) -> Path:
    """Two speakers in one package, a language in another, a character in a ZIP file, and files to be left out."""
    fillets = root / "fillets-ng-data-cs" / "usr/share/games/fillets-ng/sound"
    for level in ("start", "share/jokes"):
        for actor in "mv":
            utterance(fillets / level / "cs" / f"x-{actor}-hello.ogg", 17.0, volume=0.02 if actor == "m" else 0.2)
        utterance(fillets / level / "cs" / "x-hs-statue.ogg", 40.0)
    stamps = root / "tuxpaint-stamps-default" / "usr/share/tuxpaint/stamps/birds"
    utterance(stamps / "owl_desc_el.ogg", 31.0)
    utterance(stamps / "owl.ogg", 31.0)  # the sound of an owl
    utterance(stamps / "owl_desc_nl.ogg", 8.0)  # too short
    utterance(stamps / "owl_desc_fr.ogg", 60.0, rate=8_000)  # telephone speech
    game = root / "nexuiz-data" / "usr/share/games/nexuiz/data"
    utterance(game / "attack.ogg", 15.0, rate=11_025)
    with zipfile.ZipFile(game / "data.pk3", "w") as archive:
        archive.write(game / "attack.ogg", "sound/player/marine/coms/attack.ogg")
        archive.write(game / "attack.ogg", "sound/player/marine/player/death.ogg")  # no words
        archive.writestr("sound/player/marine/coms.txt", "")
    return root


def test_speakers_and_their_speech(tmp_path: Path) -> None:
    recordings = list(source.corpus(unpacked(tmp_path / "packages"), tmp_path / "work").recordings)
    assert [r.uri for r in recordings] == ["fillets-cs-m", "fillets-cs-v", "tuxpaint-el", "nexuiz-marine"]
    assert {r.subset for r in recordings} == {"train"}
    for recording in recordings:
        audio, rate = soundfile.read(str(recording.clips[0].audio))
        assert rate == SAMPLE_RATE
        assert all(turn.speaker == recording.uri for turn in recording.turns)
        for turn in recording.turns:
            speech = audio[round(turn.start_s * rate) : round(turn.end_s * rate)]
            assert 20 * np.log10(np.std(speech)) == pytest.approx(source.LEVEL_DB, abs=0.2)
    lengths = [turn.end_s - turn.start_s for recording in recordings for turn in recording.turns]
    assert lengths == pytest.approx([17.0] * 4 + [31.0, 15.0], abs=3 * source.FRAME_S)
    assert recordings[0].turns[0].start_s == pytest.approx(0.5, abs=3 * source.FRAME_S)
    assert recordings[0].turns[1].start_s == pytest.approx(18.5, abs=3 * source.FRAME_S)


def test_a_pause_separates_two_turns() -> None:
    second = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    for pause_s, turns in ((0.2, 1), (0.4, 2)):
        audio = np.concatenate([second, np.zeros(round(pause_s * SAMPLE_RATE)), second])
        assert len(source.detect_speech(audio)) == turns
    assert source.detect_speech(np.zeros(SAMPLE_RATE)) == []


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no Debian")
def test_from_packages_to_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path / "cache"))
    downloads = tmp_path / "cache" / "downloads" / "debian-voices"
    downloads.mkdir(parents=True)
    tree = unpacked(tmp_path / "packages")
    for package in source.VOICES:
        control = tree / package / "DEBIAN" / "control"
        control.parent.mkdir(parents=True)
        control.write_text(
            f"Package: {package}\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: voices\n"
        )
        command = ["dpkg-deb", "--build", "-Znone", str(tree / package), str(downloads / f"{package}_1.0_all.deb")]
        subprocess.run(command, check=True, capture_output=True)
    dataset = catalog.open_dataset("debian-voices")
    assert dataset.info.subsets["train"].speakers == 4
    assert "fillets-ng-data-cs_1.0" in dataset.info.source
    assert "GPL-2" in dataset.info.licence


def test_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARBENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="debian-voices needs apt-get; use a machine or container with Debian"):
        catalog.open_dataset("debian-voices")
    assert not list((tmp_path / "datasets").iterdir())
