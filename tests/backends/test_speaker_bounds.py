"""How many speakers a pipeline is told that there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diarbench.backends.base import BoundsSpeakers, Inference, SpeakerBounds
from diarbench.backends.nemo.decoding import SortformerDecoder
from diarbench.datasets.dataset import Recording
from diarbench.datasets.io.errors import UserError


def test_the_options_and_their_words() -> None:
    assert SpeakerBounds.of(None, None, None) == SpeakerBounds(1, None) and SpeakerBounds().text == ""
    assert SpeakerBounds.of(2, None, None).text == "exactly 2 speakers"
    assert SpeakerBounds.of(None, 2, None).text == "at least 2 speakers"
    assert SpeakerBounds.of(None, None, 4).text == "1 to 4 speakers"
    with pytest.raises(UserError, match="at least 3 and at most 2 speakers: these exclude each other"):
        SpeakerBounds.of(None, 3, 2)
    with pytest.raises(UserError, match="--num-speakers: leave out --min-speakers"):
        SpeakerBounds.of(2, 1, None)


def test_an_end_to_end_network_keeps_its_most_active_outputs() -> None:
    """Outputs 0 to 3 speak for 1, 3, 0 and 2 of ten frames."""
    activity = np.zeros((10, 4), np.float32)
    for speaker, frames in enumerate((1, 3, 0, 2)):
        activity[:frames, speaker] = 0.9
    decoder = SortformerDecoder()
    decoder.frame_s, decoder.outputs = 0.5, 4
    assert isinstance(decoder, BoundsSpeakers)
    recording = Recording("r", "test", Path("r.wav"), Path("r.rttm"), Path("r.uem"))
    recording.__dict__["duration_s"] = 5.0

    def speakers(bounds: SpeakerBounds) -> list[str]:
        bounded = decoder.with_speakers(bounds)
        return sorted(bounded.decode(recording, Inference(activity=activity), decoder.defaults).labels())

    assert speakers(SpeakerBounds()) == ["speaker_0", "speaker_1", "speaker_3"]
    assert speakers(SpeakerBounds(1, 2)) == speakers(SpeakerBounds(2, 2)) == ["speaker_1", "speaker_3"]
    assert speakers(SpeakerBounds(1, 1)) == ["speaker_1"]
    with pytest.raises(UserError, match="at least 2 speakers: an end-to-end network"):
        decoder.with_speakers(SpeakerBounds(2, None))
    with pytest.raises(UserError, match="exactly 5 speakers: this network separates at most 4"):
        decoder.with_speakers(SpeakerBounds(5, 5))
