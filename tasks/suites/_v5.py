"""META_VALID_V5: what META_VALID_V1 to V4 have little of: equations, other scales, noisy tables.

Fits to a differential equation, networks of META_VALID_V1 and V2 with weights written in another
scale, tables of a function that nothing learns from, and small batches of photographs.
"""

from .._spec import FamilySpec
from ..augmentations import FewExamples, Reparametrise
from ..problems import GRU, MLP, Autoencoder, Heat, Mixer
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, blocks, mlp


def _scaled(scale: float) -> tuple[Reparametrise]:
    """The same function of weights divided by `scale`: a step moves it that many times as far."""
    return (Reparametrise((scale, scale)),)


META_VALID_V5 = Suite(
    "META_VALID_V5",
    "what chooses beside META_VALID_V1 to V4: equations, other scales, noisy tables",
    (
        EvalTask("heat-wide", FamilySpec(Heat(), "points/2", 128),
                 (("diffusivity", 0.1), ("modes", 2), ("width", 24), ("depth", 2), ("gain", 1.0)),
                 2000),
        EvalTask("heat-deep", FamilySpec(Heat(), "points/2", 64),
                 (("diffusivity", 0.02), ("modes", 3), ("width", 16), ("depth", 3), ("gain", 1.0)),
                 1000),
        EvalTask("friedman-mlp", FamilySpec(MLP(), "friedman", 32), mlp(32, 2, TANH), 300),
        EvalTask("friedman-mlp-table", FamilySpec(MLP(), "friedman", 64, (FewExamples((1, 1)),)),
                 mlp(32, 2, RELU), 500),
        EvalTask("photos-mixer-large", FamilySpec(Mixer(), "photos", 32, _scaled(4.0)),
                 blocks(2, 32, SILU), 500),
        EvalTask("photos-autoencoder-small", FamilySpec(Autoencoder(), "photos", 64, _scaled(0.3)),
                 (("hidden", 32), ("code", 8), ("activation", TANH), ("gain", 1.0)), 1000),
        EvalTask("stdlib-gru-large", FamilySpec(GRU(), "stdlib/16", 16, _scaled(3.0)),
                 (("width", 32), ("gain", 1.0)), 500),
        EvalTask("photos-mlp-batch-8", FamilySpec(MLP(), "photos", 8), mlp(32, 2, SILU), 1000),
    ),
)  # fmt: skip
