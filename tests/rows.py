"""For which optimizers a contract is tested at each change; `make test-all` tests it for all."""

import pytest

from learned_opt import OPTIMIZERS

FEW = {"gated_adam", "celo_adam", "momentum_mlp"}
"""Of averages alone, of a network that reads the loss, of one that moves in each element."""


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
