"""Rooms, noise and bands for training windows: what the recipe asks for, and the same sound whoever listens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diarbench.backends import recipes, registry
from diarbench.backends.augmentation import Augmenter
from diarbench.backends.recipes import Augmentation, Band, Noise, Recipe, Sounds
from diarbench.backends.windows import Window, read
from diarbench.datasets.layout import SAMPLE_RATE, Dataset
from diarbench.reports.records import UserError

RATE = 44_100


@pytest.fixture
def window(ami_mini: Dataset) -> np.ndarray:
    return read(Window(ami_mini.subset("train")[0], 0), 10 * SAMPLE_RATE)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder with noise, which is a tone of 1 kHz at another rate, and one with an echo after 10 ms, on a channel."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    echo = np.zeros((RATE // 10, 2))
    echo[0, 0], echo[RATE // 100, 0] = 1.0, 0.5
    for name, sound in (("noise/deep/tone.wav", tone), ("rooms/echo.flac", echo)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, sound, RATE)
    return tmp_path


def with_folders(base: Path, **augmentation: object) -> Augmentation:
    return Augmentation.model_validate(augmentation).found_from(base)


def snr_db(window: np.ndarray, augmented: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(window**2) / np.mean((augmented - window) ** 2)))


def test_noise_of_a_folder_at_the_ratio_asked_for(window: np.ndarray, folders: Path) -> None:
    asked = with_folders(folders, noise={"probability": 1, "snr_db": (10, 10), "folder": "noise"})
    augmented = Augmenter(asked, seed=1)(window, index=0, epoch=1)
    assert snr_db(window, augmented) == pytest.approx(10, abs=0.3), "but for the window's samples of nothing at all"
    spectrum = np.abs(np.fft.rfft(augmented - window))
    assert abs(spectrum.argmax() / 10 - 1000) < 1, "the tone is at its own pitch, resampled from 44.1 kHz"


def test_a_room_of_a_folder_leaves_the_direct_sound_in_place(window: np.ndarray, folders: Path) -> None:
    asked = with_folders(folders, rooms={"probability": 1, "folder": "rooms"})
    augmented = Augmenter(asked, seed=1)(window, index=0, epoch=1)
    echoed = window.copy()
    echoed[160:] += 0.5 * window[:-160]
    assert np.corrcoef(augmented, echoed)[0, 1] > 0.999


def test_made_up_noise_and_rooms(window: np.ndarray) -> None:
    asked = Augmentation(noise=Noise(probability=1, snr_db=(0, 10)), rooms=Sounds(probability=1))
    augmented = Augmenter(asked, seed=1)(window, index=0, epoch=1)
    assert augmented.dtype == np.float32 and augmented.shape == window.shape
    only_noise = Augmenter(Augmentation(noise=asked.noise), seed=1)
    ratios = [snr_db(window, only_noise(window, index=index, epoch=1)) for index in range(20)]
    assert -0.3 <= min(ratios) < 3 and 7 < max(ratios) <= 10.3


def test_nothing_is_left_outside_a_band(window: np.ndarray) -> None:
    asked = Augmentation(band=Band(probability=1, low_hz=(300, 300), high_hz=(3400, 3400)))
    augmented = Augmenter(asked, seed=1)(window, index=0, epoch=1)
    before, after = np.abs(np.fft.rfft(window)), np.abs(np.fft.rfft(augmented))
    inside = slice(300 * 10 - 1, 3400 * 10 + 2)
    np.testing.assert_allclose(after[inside][2:-2], before[inside][2:-2], atol=1e-3)
    assert np.delete(after, inside).max() < 1e-3 < np.delete(before, inside).max()
    drawn = Augmenter(Augmentation(band=Band(probability=1)), seed=1)
    spectra = [np.abs(np.fft.rfft(drawn(window, index=index, epoch=1))) for index in range(20)]
    edges = [np.flatnonzero(spectrum > 1e-3)[-1] / 10 for spectrum in spectra]
    assert min(edges) < 4000 and 6000 < max(edges) <= 8000, "each window's band is drawn"


def test_the_probability_is_kept(window: np.ndarray) -> None:
    augmenter = Augmenter(Augmentation(noise=Noise(probability=0.3)), seed=1)
    touched = [not np.array_equal(augmenter(window[:800], index=k, epoch=1), window[:800]) for k in range(1000)]
    assert 0.25 < np.mean(touched) < 0.35


def test_draws_follow_from_seed_epoch_and_place_in_whatever_order(window: np.ndarray) -> None:
    asked = Augmentation(noise=Noise(), rooms=Sounds(), band=Band())
    places = [(index, epoch) for index in range(3) for epoch in (1, 2)]
    one, other = Augmenter(asked, seed=1), Augmenter(asked, seed=1)
    forward = {place: one(window, *place) for place in places}
    backward = {place: other(window, *place) for place in reversed(places)}
    for place in places:
        np.testing.assert_array_equal(forward[place], backward[place])
    assert len({sound.tobytes() for sound in forward.values()}) > 3
    assert not np.array_equal(forward[0, 1], Augmenter(asked, seed=2)(window, 0, 1))


def test_a_recipe_names_folders_from_its_own(folders: Path) -> None:
    path = folders / "mine.yaml"
    path.write_text(recipes.text("quick") + "augmentation: {noise: {folder: noise}, rooms: {folder: ./rooms}}\n")
    recipe = recipes.load(str(path))
    assert recipe.augmentation.noise is not None and recipe.augmentation.noise.folder == str(folders / "noise")
    Augmenter(recipe.augmentation, seed=1)
    (folders / "noise" / "more.wav").write_bytes((folders / "noise" / "deep" / "tone.wav").read_bytes())
    assert recipes.load(str(path)) != recipe, "what is in the folder is part of what was asked"
    with pytest.raises(UserError, match=r"noise: changed since this run was asked for; choose another --out"):
        Augmenter(recipe.augmentation, seed=1)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("{noise: {folder: absent}}", "augmentation.noise.folder: "),
        ("{noise: {folder: empty}}", "empty: no audio in it"),
        ("{noise: {snr_db: [20, 5]}}", "augmentation.noise.snr_db: expected the least ratio, then the largest"),
        ("{noise: {snr: [5, 20]}}", "augmentation.noise.snr: no such key (did you mean snr_db?)"),
        ("{rooms: {probability: 2}}", "augmentation.rooms.probability: Input should be less than or equal to 1"),
        ("{band: {low_hz: [300, 20]}}", "augmentation.band: expected low_hz, then high_hz"),
        ("{room: {}}", "augmentation.room: no such key (did you mean rooms?)"),
    ],
)
def test_what_cannot_be_is_refused_by_key(lines: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine.yaml").write_text(f"{recipes.text('quick')}augmentation: {lines}\n")
    with pytest.raises(UserError) as refused:
        recipes.load(str(tmp_path / "mine.yaml"))
    assert told in str(refused.value) and "mine.yaml" in str(refused.value)


@pytest.mark.slow
def test_both_toolkits_hear_the_same_and_dev_stays_as_it_is(ami_mini: Dataset, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from lightning.fabric import Fabric

    from diarbench.backends.training import Trainer

    recipe = Recipe(
        **recipes.load("quick").model_dump(exclude={"augmentation"}),
        augmentation=Augmentation(noise=Noise(), rooms=Sounds(), band=Band()),
    )
    heard = {}
    for name in ("pyannote", "nemo"):
        if command := registry.missing(name):
            pytest.skip(command)
        backend = registry.load(name)
        network = backend.network(backend.locate("auto"), recipe.objective)
        trainer = Trainer(network, name, ami_mini, recipe, 1, Fabric(accelerator="cpu", devices=1), tmp_path / name)
        windows = trainer._draw(epoch=2)
        heard[name] = torch.cat([batch.waveforms for batch in trainer._batches(windows, epoch=2)])
        plain = torch.from_numpy(np.stack([read(window, 10 * SAMPLE_RATE) for window in windows]))
        assert 5 < (heard[name] != plain).any(dim=1).sum() < len(windows)
        dev = torch.cat([batch.waveforms for batch in trainer._batches(trainer.dev)])
        assert torch.equal(dev, torch.from_numpy(np.stack([read(w, 10 * SAMPLE_RATE) for w in trainer.dev])))
    assert torch.equal(heard["pyannote"], heard["nemo"])
