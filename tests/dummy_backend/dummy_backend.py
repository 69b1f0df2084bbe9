"""A third-party backend that takes loudness as speech. Some values of ``--init`` make it fail on purpose.

Where torch is not installed its network is of NumPy: it is tuned and scored, and cannot be trained.
"""

from __future__ import annotations

import os
import signal
import time

from diarbench.backends.base import Inference, InitialWeights
from diarbench.backends.packages import importable
from diarbench.datasets.dataset import to_annotation
from diarbench.datasets.io.errors import UserError
from diarbench.datasets.io.rttm import Turn
from diarbench.reports.results.run import Weights

FRAME_S = 0.1
HOP = 1600


class DummyBackend:
    name = "dummy"

    def resolve_init(self, init):
        if init == "complain":
            raise UserError("the dummy has no such weights")
        if init == "crash":
            raise ZeroDivisionError("the dummy divided by zero")
        if init == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if init == "hang":
            time.sleep(600)
        return InitialWeights(Weights(origin=init, pretrained=init == "pretrained"), None)

    def network(self, initial, objective):
        return make_network(is_large=initial.weights.origin == "large")

    def restore(self, checkpoint):
        network = make_network(is_large="ballast" in checkpoint["weights"])
        network.load_state_dict(checkpoint["weights"])
        return network

    def diarizer(self, network, device):
        return DummyDiarizer(network)

    def export(self, network, hyperparameters, folder):
        folder.mkdir()
        (folder / "threshold.txt").write_text(str(hyperparameters["threshold"]))
        return f'open("{folder}/threshold.txt")\n'


def make_network(is_large=False):
    return make_torch_network(is_large) if importable("torch") else ArrayNetwork()


class ArrayNetwork:
    """The network without torch: the loudness of each frame, for two speakers."""

    def __init__(self):
        import numpy as np

        self.weights = {"weight": np.array([[1.0], [0.5]]), "bias": np.array([3.0, 1.0])}

    def state_dict(self):
        return self.weights

    def load_state_dict(self, weights):
        self.weights = weights

    def architecture(self):
        return {}

    def activity_of(self, samples):
        import numpy as np

        frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
        loudness = np.log10(np.square(frames).mean(-1, keepdims=True) + 1e-8)
        return 1 / (1 + np.exp(-(loudness @ self.weights["weight"].T + self.weights["bias"])))


def make_torch_network(is_large):
    import torch

    from diarbench.backends.base import Losses

    class DummyNetwork(torch.nn.Module):
        frame_s = FRAME_S
        first_frame_s = FRAME_S / 2
        max_speakers = 2
        loss_description = "binary cross entropy"

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 2)
            if is_large:  # for tests whose checkpoints take a while to write
                self.register_buffer("ballast", torch.zeros(10_000_000))

        def num_frames(self, samples):
            return samples // HOP

        def activity(self, waveforms):
            frames = waveforms[:, : waveforms.shape[1] // HOP * HOP].unflatten(1, (-1, HOP))
            return torch.sigmoid(self.layer(torch.log10(frames.square().mean(-1, keepdim=True) + 1e-8)))

        def activity_of(self, samples):
            with torch.no_grad():
                return self.activity(torch.from_numpy(samples)[None])[0].numpy()

        def loss(self, waveforms, targets):
            loss = torch.nn.functional.binary_cross_entropy(self.activity(waveforms), targets)
            return Losses(loss, loss.detach(), loss)

        def measure(self, waveforms, targets):
            return self.loss(waveforms, targets), self.activity(waveforms)

        def architecture(self):
            return {}

    return DummyNetwork()


class DummyDiarizer:
    notes = ()

    def __init__(self, network):
        from optuna.distributions import FloatDistribution

        self.network = network
        self.defaults = {"threshold": 0.5}
        self.search_space = {"threshold": FloatDistribution(0.0, 1.0)}
        self.upstream = None

    def with_frozen(self, hyperparameters):
        return self

    def infer(self, recording):
        import soundfile

        audio, _ = soundfile.read(recording.audio, dtype="float32")
        return Inference(activity=self.network.activity_of(audio))

    def decode(self, recording, inference, hyperparameters):
        return to_annotation(
            recording.uri,
            [
                Turn(frame * FRAME_S, (frame + 1) * FRAME_S, f"s{speaker}")
                for frame, row in enumerate(inference["activity"])
                for speaker, probability in enumerate(row)
                if probability > hyperparameters["threshold"]
            ],
        )

    def oracles(self, recording, inference, hyperparameters):
        return {}
