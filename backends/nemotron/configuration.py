"""The architecture of a Nemotron-3-Diarization network: plain numbers, checked before anything is built from them.

A snapshot's ``config.json`` may name code of its own (``auto_map``), other attention kernels and any size. Only the
keys below are read, so a snapshot chooses numbers and nothing that is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diarbench.datasets.io.errors import UserError, did_you_mean
from diarbench.datasets.io.files import read_json
from diarbench.datasets.io.records import first_problem, read_record

MODEL_TYPE = "nemotron3_diarization"

CONFIG, WEIGHTS, PICKLE = "config.json", "model.safetensors", "pytorch_model.bin"
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
"""The file of a snapshot that holds the feature settings; either name."""


class Chunk(NamedTuple):
    """Encoder frames (80 ms) that a stream processes per step, and the look-ahead frames that it waits for."""

    length: int
    right_context: int


STREAMING_MODES = {
    "low_latency": Chunk(9, 4),
    "very_low_latency": Chunk(6, 2),
    "ultra_low_latency": Chunk(3, 1),
}
"""The streaming modes of the published model, as transformers names them: 1.04, 0.64 and 0.32 s of latency."""


class Settings(BaseModel):
    """Frozen settings from a file. Keys that are not read are left out, whatever they contain."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


def count(default: int, most: int = 10_000, least: int = 1) -> Any:
    """A whole number of at least ``least`` and at most ``most``.

    What sizes memory or work beside the weights, which the file must have, is at most some ten times the published.
    """
    return Field(default=default, ge=least, le=most)


class Rope(Settings):
    """Rotary position embedding."""

    rope_type: Literal["default"] = "default"
    rope_theta: float = Field(default=10_000.0, gt=0, le=1e9)
    partial_rotary_factor: float = Field(default=1.0, gt=0, le=1)


class Encoder(Settings):
    """``audio_config``: the transformer over stacked mel frames."""

    hidden_size: int = count(512)
    intermediate_size: int = count(2048)
    num_hidden_layers: int = count(31, most=200)
    num_attention_heads: int = count(8, most=128)
    num_key_value_heads: int | None = Field(default=None, ge=1, le=128)
    hidden_act: Literal["gelu", "gelu_new", "relu", "silu"] = "gelu"
    max_position_embeddings: int = count(5000, most=10**6)
    initializer_range: float = Field(default=0.02, gt=0, le=1)
    rope_parameters: Rope = Rope()
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    num_mel_bins: int = count(128, most=512)
    subsampling_factor: int = count(8, most=64)

    @model_validator(mode="after")
    def _check_heads(self) -> Encoder:
        heads, groups = self.num_attention_heads, self.num_key_value_heads or self.num_attention_heads
        if self.hidden_size % (2 * heads) or heads % groups:
            raise ValueError(f"a width of {self.hidden_size} does not divide into {heads} heads, {groups} of keys")
        return self


class Head(Settings):
    """``head_config``: from encoder frames back to mel frames, and to one output per speaker."""

    hidden_size: int = count(192)
    num_speakers: int = count(8, most=64)
    audio_hidden_size: int = count(512)
    subsampling_factor: int = count(8, most=64)


class SpeakerCache(Settings):
    """``streaming_config``: which frames of the past a chunk attends to."""

    fifo_length: int = count(264, most=3000)
    speaker_cache_update_period: int = count(222, most=3000)
    speaker_cache_length: int = count(264, most=3000)
    speaker_cache_silence_frames_per_speaker: int = count(1, least=0)
    prediction_score_threshold: float = Field(default=0.25, gt=0, lt=1)
    latest_frames_score_boost: float = Field(default=0.05, ge=0, le=100)
    strong_boost_rate: float = Field(default=0.75, ge=0, le=10)
    weak_boost_rate: float = Field(default=1.5, ge=0, le=10)
    min_positive_scores_rate: float = Field(default=0.5, ge=0, le=10)
    num_speakers: int = count(8, most=64)
    subsampling_factor: int = count(8, most=64)

    @model_validator(mode="after")
    def _check_boosts(self) -> SpeakerCache:
        budget = self.speaker_cache_length // self.num_speakers - self.speaker_cache_silence_frames_per_speaker
        if budget * max(self.strong_boost_rate, self.weak_boost_rate) > self.speaker_cache_length:
            raise ValueError("strong_boost_rate or weak_boost_rate asks for more frames than the speaker cache has")
        return self


class Model(Settings):
    """``config.json``: the network, and the chunks of its offline form."""

    audio_config: Encoder = Encoder()
    head_config: Head = Head()
    streaming_config: SpeakerCache = SpeakerCache()
    chunk_length: int = count(340, most=4000)
    chunk_right_context: int = count(40, most=1000, least=0)
    chunk_left_context: int = count(0, most=1000, least=0)
    fifo_length: int = count(40, most=3000)
    speaker_cache_update_period: int = count(300, most=3000)
    initializer_range: float = Field(default=0.02, gt=0, le=1)


class Features(Settings):
    """``feature_extractor`` of ``processor_config.json``: the log mel spectrogram."""

    feature_size: int = count(128, most=512)
    hop_length: int = count(160, most=1600, least=16)
    n_fft: int = count(512, most=8192)
    win_length: int = count(400, most=8192)
    preemphasis: float = Field(default=0.97, ge=0, le=1)
    mel_filters_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    sampling_rate: Literal[16000] = 16000


class Processor(Settings):
    """``processor_config.json``."""

    feature_extractor: Features


class Architecture(Settings):
    """Everything from which, with its weights, a network is rebuilt."""

    model: Model = Model()
    features: Features = Features()
    streaming_mode: Literal["low_latency", "very_low_latency", "ultra_low_latency"] | None = None
    """None: the offline form."""

    @model_validator(mode="after")
    def _check_features(self) -> Architecture:
        features, mels = self.features, self.model.audio_config.num_mel_bins
        if features.feature_size != mels:
            raise ValueError(f"features of {features.feature_size} mels for a network of {mels}")
        if features.win_length > features.n_fft:
            raise ValueError(f"win_length {features.win_length} above n_fft {features.n_fft}")
        return self


COMPACT_WEIGHTS = 192**-0.5
"""Standard deviation of the compact size's random weights: at 0.02, its layers hardly change their input."""

PRESETS = {
    "compact": Architecture(
        model=Model(
            audio_config=Encoder(
                hidden_size=192,
                intermediate_size=768,
                num_hidden_layers=6,
                num_attention_heads=4,
                initializer_range=COMPACT_WEIGHTS,
            ),
            head_config=Head(hidden_size=96, audio_hidden_size=192),
            initializer_range=COMPACT_WEIGHTS,
        )
    ),
    "published": Architecture(),
}
"""The sizes that ``--init scratch:SIZE`` builds: one for two cores, and NVIDIA's own."""


def split_mode(init: str) -> tuple[str, str | None]:
    """An init without its streaming mode, and the mode: ``auto+low_latency``. Raises UserError for an unknown mode."""
    start, plus, mode = init.rpartition("+")
    if mode in STREAMING_MODES and plus:
        return start, mode
    if plus and mode.endswith("latency"):
        raise UserError(
            f"--init {init}: no streaming mode {mode}{did_you_mean(mode, STREAMING_MODES)}; modes: "
            + ", ".join(STREAMING_MODES)
        )
    return init, None


def read_snapshot(folder: Path) -> Architecture:
    """The architecture of a snapshot, a folder that transformers' ``save_pretrained`` wrote.

    Raises UserError where the model or its processor is missing, or is of another kind.
    """
    config = folder / CONFIG
    if not config.is_file():
        raise UserError(f"{folder}: no {CONFIG}; expected a folder that save_pretrained wrote")
    check_model_type(config)
    processor = next((folder / name for name in PROCESSORS if (folder / name).is_file()), None)
    if processor is None:
        raise UserError(f"{folder}: no {PROCESSORS[0]}; save the model's processor there too (save_pretrained)")
    nested = processor.name == PROCESSORS[0]
    features = read_record(processor, Processor).feature_extractor if nested else read_record(processor, Features)
    return architecture_of({"model": read_record(config, Model), "features": features}, folder)


def check_model_type(config: Path) -> None:
    """Raises UserError where a ``config.json`` describes another model."""
    content = read_json(config)
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind != MODEL_TYPE:
        raise UserError(f"{config}: describes a model of type {str(kind)[:80]}, not {MODEL_TYPE}")


def architecture_of(values: Any, source: Path | str) -> Architecture:
    """The architecture of a checkpoint's values. Raises UserError where it is not one."""
    try:
        return Architecture.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: not an architecture of Nemotron-3-Diarization: {first_problem(error)}") from error
