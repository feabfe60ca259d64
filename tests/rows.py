"""For which optimizers a contract is tested at each change; `make test-all` tests it for all."""

import pytest

from learned_opt import OPTIMIZERS

FEW = {cls.name for cls in OPTIMIZERS} - {
    "spectral", "hyper_adam", "nn_adam", "per_param_mlp", "rnn_mlp", "hypernet", "celo", "celo2",
    "open",
}  # fmt: skip
"""The recommended one's code under a controller that remembers, one of averages alone, one whose
network reads the loss, one that moves in each element; and whatever is new."""


def optimizers(quick=None):
    """Parameters for pytest; with `quick`, those of any other name are slow tests."""
    return [
        pytest.param(
            cls, id=cls.name, marks=[] if quick is None or cls.name in quick else pytest.mark.slow
        )
        for cls in OPTIMIZERS
    ]


every = pytest.mark.parametrize("cls", optimizers())
few = pytest.mark.parametrize("cls", optimizers(FEW))
"""What the shell around every optimizer does, the same for all."""
