"""Augmentation of training windows: as the recipe says, and the same for every toolkit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diarbench.backends import registry
from diarbench.backends.recipes import load as recipes
from diarbench.backends.recipes.schema import Augmentation, Band, Noise, Recipe, Sounds
from diarbench.backends.training.augmentation import Augmenter
from diarbench.backends.training.windows import Window, read
from diarbench.datasets.dataset import Dataset
from diarbench.datasets.io.audio import SAMPLE_RATE
from diarbench.datasets.io.errors import UserError

RATE = 44_100


@pytest.fixture
def window(ami_mini: Dataset) -> np.ndarray:
    return read(Window(ami_mini.subset("train")[0], 0), 10 * SAMPLE_RATE)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Noise, a tone of 1 kHz, and a room, an echo after 10 ms in one of two channels; both at 44.1 kHz."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    echo = np.zeros((RATE // 10, 2))
    echo[0, 0], echo[RATE // 100, 0] = 1.0, 0.5
    for name, sound in (("noise/deep/tone.wav", tone), ("rooms/echo.flac", echo)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, sound, RATE)
    return tmp_path


def with_folders(base: Path, **augmentation: object) -> Augmentation:
    return Augmentation.model_validate(augmentation).resolved_from(base)


def snr_db(window: np.ndarray, augmented: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(window**2) / np.mean((augmented - window) ** 2)))


def test_noise_of_a_folder_at_the_recipe_s_ratio(window: np.ndarray, folders: Path) -> None:
    augmentation = with_folders(folders, noise={"probability": 1, "snr_db": (10, 10), "folder": "noise"})
    augmented = Augmenter(augmentation, seed=1)(window, index=0, epoch=1)
    assert snr_db(window, augmented) == pytest.approx(10, abs=0.3), "apart from the window's zero samples"
    spectrum = np.abs(np.fft.rfft(augmented - window))
    assert abs(spectrum.argmax() / 10 - 1000) < 1, "the tone keeps its pitch when resampled from 44.1 kHz"


def test_a_room_of_a_folder_does_not_delay_the_direct_sound(window: np.ndarray, folders: Path) -> None:
    augmentation = with_folders(folders, rooms={"probability": 1, "folder": "rooms"})
    augmented = Augmenter(augmentation, seed=1)(window, index=0, epoch=1)
    echoed = window.copy()
    echoed[160:] += 0.5 * window[:-160]
    assert np.corrcoef(augmented, echoed)[0, 1] > 0.999


def test_synthetic_noise_and_rooms(window: np.ndarray) -> None:
    augmentation = Augmentation(noise=Noise(probability=1, snr_db=(0, 10)), rooms=Sounds(probability=1))
    augmented = Augmenter(augmentation, seed=1)(window, index=0, epoch=1)
    assert augmented.dtype == np.float32 and augmented.shape == window.shape
    only_noise = Augmenter(Augmentation(noise=augmentation.noise), seed=1)
    ratios = [snr_db(window, only_noise(window, index=index, epoch=1)) for index in range(20)]
    assert -0.3 <= min(ratios) < 3 and 7 < max(ratios) <= 10.3


def test_nothing_remains_outside_the_band(window: np.ndarray) -> None:
    augmentation = Augmentation(band=Band(probability=1, low_hz=(300, 300), high_hz=(3400, 3400)))
    augmented = Augmenter(augmentation, seed=1)(window, index=0, epoch=1)
    before, after = np.abs(np.fft.rfft(window)), np.abs(np.fft.rfft(augmented))
    inside = slice(300 * 10 - 1, 3400 * 10 + 2)
    np.testing.assert_allclose(after[inside][2:-2], before[inside][2:-2], atol=1e-3)
    assert np.delete(after, inside).max() < 1e-3 < np.delete(before, inside).max()
    drawn = Augmenter(Augmentation(band=Band(probability=1)), seed=1)
    spectra = [np.abs(np.fft.rfft(drawn(window, index=index, epoch=1))) for index in range(20)]
    edges = [np.flatnonzero(spectrum > 1e-3)[-1] / 10 for spectrum in spectra]
    assert min(edges) < 4000 and 6000 < max(edges) <= 8000, "each window has its own band"


def test_probability_is_the_share_of_augmented_windows(window: np.ndarray) -> None:
    augmenter = Augmenter(Augmentation(noise=Noise(probability=0.3)), seed=1)
    augmented = [not np.array_equal(augmenter(window[:800], index=k, epoch=1), window[:800]) for k in range(1000)]
    assert 0.25 < np.mean(augmented) < 0.35


def test_draws_depend_on_seed_epoch_and_index_not_on_order(window: np.ndarray) -> None:
    augmentation = Augmentation(noise=Noise(), rooms=Sounds(), band=Band())
    positions = [(index, epoch) for index in range(3) for epoch in (1, 2)]
    one, other = Augmenter(augmentation, seed=1), Augmenter(augmentation, seed=1)
    forward = {position: one(window, *position) for position in positions}
    backward = {position: other(window, *position) for position in reversed(positions)}
    for position in positions:
        np.testing.assert_array_equal(forward[position], backward[position])
    assert len({sound.tobytes() for sound in forward.values()}) > 3
    assert not np.array_equal(forward[0, 1], Augmenter(augmentation, seed=2)(window, 0, 1))


def test_folders_are_relative_to_the_recipe(folders: Path) -> None:
    path = folders / "mine.yaml"
    path.write_text(recipes.text("guide-1-adam") + "augmentation: {noise: {folder: noise}, rooms: {folder: ./rooms}}\n")
    recipe = recipes.load(str(path))
    assert recipe.augmentation.noise is not None and recipe.augmentation.noise.folder == str(folders / "noise")
    Augmenter(recipe.augmentation, seed=1)
    (folders / "noise" / "more.wav").write_bytes((folders / "noise" / "deep" / "tone.wav").read_bytes())
    assert recipes.load(str(path)) != recipe, "the folder's content is part of the recipe"
    with pytest.raises(UserError, match=r"noise: changed since this run was planned; choose another --out"):
        Augmenter(recipe.augmentation, seed=1)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{noise: {folder: absent}}", "augmentation.noise.folder: "),
        ("{noise: {folder: empty}}", "empty: contains no audio files"),
        ("{noise: {snr_db: [20, 5]}}", "augmentation.noise.snr_db: expected the lowest ratio, then the highest"),
        ("{noise: {snr: [5, 20]}}", "augmentation.noise.snr: unknown key (did you mean snr_db?)"),
        ("{rooms: {probability: 2}}", "augmentation.rooms.probability: Input should be less than or equal to 1"),
        ("{band: {low_hz: [300, 20]}}", "augmentation.band: expected low_hz below high_hz"),
        ("{band: {low: [20, 300]}}", "augmentation.band.low: unknown key (did you mean low_hz?)"),
        ("{room: {}}", "augmentation.room: unknown key (did you mean rooms?)"),
    ],
)
def test_invalid_settings_are_rejected_with_their_key(lines: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine.yaml").write_text(f"{recipes.text('guide-1-adam')}augmentation: {lines}\n")
    with pytest.raises(UserError) as error:
        recipes.load(str(tmp_path / "mine.yaml"))
    assert message in str(error.value) and "mine.yaml" in str(error.value)


@pytest.mark.slow
def test_both_toolkits_get_the_same_windows_and_dev_is_not_augmented(ami_mini: Dataset, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from lightning.fabric import Fabric

    from diarbench.backends.training.trainer import Trainer

    recipe = Recipe(
        **recipes.load("quick").model_dump(exclude={"augmentation", "cache_features"}),
        augmentation=Augmentation(noise=Noise(), rooms=Sounds(), band=Band()),
    )
    waveforms = {}
    for name in ("pyannote", "nemo"):
        if command := registry.missing(name):
            pytest.skip(command)
        backend = registry.load(name)
        network = backend.network(backend.resolve_init("auto"), recipe.objective)
        trainer = Trainer(network, name, ami_mini, recipe, 1, Fabric(accelerator="cpu", devices=1), tmp_path / name)
        loader = trainer.loader
        windows = loader.train_windows(epoch=2)
        waveforms[name] = torch.cat([batch.waveforms for batch in loader.train_batches(epoch=2)])
        original = torch.from_numpy(np.stack([read(window, 10 * SAMPLE_RATE) for window in windows]))
        assert 5 < (waveforms[name] != original).any(dim=1).sum() < len(windows)
        dev = torch.cat([batch.waveforms for batch in loader.dev_batches()])
        assert torch.equal(dev, torch.from_numpy(np.stack([read(w, 10 * SAMPLE_RATE) for w in loader.dev_windows])))
    assert torch.equal(waveforms["pyannote"], waveforms["nemo"])
