"""Losses and gradients of every family against independent NumPy references in float64."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_layers import conv
from references import REFERENCES, influence_matrix

from learned_opt.tasks import EXAMPLES, FamilySpec
from learned_opt.tasks.problems import ACTIVATIONS, MLP, Contrastive, Mixer, ResNet, ViT
from learned_opt.tasks.problems._layers import _by_patches, _by_xla

ALL = range(len(ACTIVATIONS))
NUMBERS = {
    "quadratic": [{}, {"noise": 1.0}],
    "rosenbrock": [{}, {"steepness": 100.0}],
    "saddle": [{}],
    "influence_balancing": [{}],
    "linear": [{}],
    "mlp": [
        *({"width": 5 + i, "depth": 1, "activation": i} for i in ALL),
        {"width": 11, "depth": 2, "activation": 2},
        {"width": 32, "depth": 2, "activation": 0},
    ],
    "norm_mlp": [*({"depth": 1, "activation": i} for i in ALL), {"depth": 2, "activation": 2}],
    "conv": [*({"width": 4 + i, "activation": i} for i in ALL), {"width": 8, "activation": 1}],
    "norm_conv": [{"activation": i} for i in ALL],
    "resnet": [*({"depth": 1, "activation": i} for i in ALL), {"depth": 2, "activation": 2}],
    "autoencoder": [
        *({"hidden": 9 + i, "code": 3 + i, "activation": i} for i in ALL),
        {"hidden": 32, "code": 8, "activation": 2},
    ],
    "denoiser": [
        *({"width": 5 + i, "depth": 1, "activation": i} for i in ALL),
        {"width": 64, "depth": 2, "activation": 1},
    ],
    "contrastive": [
        *({"width": 5 + i, "depth": 1, "activation": i} for i in ALL),
        {"width": 32, "depth": 2, "activation": 1},
    ],
    "gru": [{"width": 7}, {"width": 32}],
    "lstm": [{"width": 7}, {"width": 32}],
    "lru": [{"width": 7}, {"width": 32}],
    "factorisation": [{"rank": 3, "noise": 0.3}, {"rank": 8}],
    "waves": [
        *({"width": 5 + i, "depth": 1, "activation": i} for i in ALL),
        {"width": 11, "depth": 2, "activation": 2, "frequency": 1.5},
        {"width": 32, "depth": 3, "activation": 1},
    ],
    "pinn": [{"width": 13, "viscosity": 0.01}, {"width": 24}],
    "heat": [
        {"width": 13, "depth": 1, "modes": 3},
        {"depth": 2, "modes": 2},
        {"width": 24, "depth": 3},
    ],
    "allen_cahn": [{"width": 13, "diffusivity": 0.03}, {"width": 24}],
    "vibration": [{"width": 13, "speed": 0.4}, {"width": 24, "modes": 2}],
    "deep_sets": [*({"width": 5 + i, "activation": i} for i in ALL), {"width": 32}],
    "policy_gradient": [{"width": 5, "length": 0.7}, {"width": 16, "mass": 0.15}],
    "control": [{"width": 5, "length": 0.8, "mass": 1.3}, {"width": 8}],
    "learned_optimizer": [{"width": 5}, {"width": 8, "condition": 30.0}],
}
"""Members of each family: some smaller than its arrays, one as large."""
NUMBERS["vae"] = NUMBERS["autoencoder"]
NUMBERS["skip_init"] = NUMBERS["resnet"]
NUMBERS["vit"] = NUMBERS["mixer"] = NUMBERS["transformer"] = [
    *({"depth": 1, "hidden": 9 + i, "activation": i} for i in ALL),
    {"depth": 2, "hidden": 32, "activation": 2},
]

NUMBERS["tied_transformer"] = NUMBERS["transformer"][-2:]

CASES = [(row.spec, n) for row in EXAMPLES for n in NUMBERS.get(row.spec.problem.name, [{}])]
# A layer that acts between one before and one that does not; patches that do not fill an image;
# channels that are no multiple of 4; fewer candidates than a batch has images, and more.
CASES += [
    (
        FamilySpec(MLP(max_width=12, max_depth=3, widths=(4, 12)), "wine"),
        {"width": 5, "depth": 2, "activation": 1},
    ),
    (
        FamilySpec(Mixer(patch=3, max_depth=3), "letters/8"),
        {"depth": 2, "hidden": 9, "activation": 1},
    ),
    (FamilySpec(ViT(patch=3), "letters/8"), {"depth": 1, "hidden": 9, "activation": 1}),
    (
        FamilySpec(ResNet(channels=(3, 6), max_depth=1, depths=(1, 1)), "letters/8"),
        {"depth": 1, "activation": 1},
    ),
    *(
        (FamilySpec(Contrastive(candidates=12), "wine", size), {"width": 9, "depth": 1})
        for size in (32, 8)
    ),
]


def case_id(value):
    if isinstance(value, FamilySpec):
        return f"{value.problem.name}-{value.data}"
    return ",".join(f"{name}={number}" for name, number in value.items()) or "drawn"


@functools.cache
def compiled(spec):
    """Loss and gradient: all members of a family share the program."""

    def value_and_grad(task, params, batch, key):
        return jax.value_and_grad(lambda p: task.loss(p, batch, key)[0])(params)

    return jax.jit(value_and_grad)


def wide(tree):
    """float32 as float64; integers stay."""

    def widen(leaf):
        leaf = np.asarray(leaf)
        return leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf

    return jax.tree.map(widen, tree)


class Case:
    """A member at random parameters: what JAX says of it, and its reference in float64."""

    def __init__(self, spec, numbers, rng):
        family, self.reference = spec.build(), REFERENCES[spec.problem.name]
        self.task = family.member(**numbers)
        self.data, self.key = family.batch(self.task, jax.random.key(2), "train"), jax.random.key(3)
        self.value_and_grad = compiled(spec)
        n = wide(self.task.numbers)
        self.numbers = {k: v if v.ndim else v.item() for k, v in n.items()}
        self.x, self.y = wide((self.data.x, self.data.y))
        self.draws = wide(self.reference.draws(self.task, self.key, len(self.x)))

        def draw(p):
            fan_in = p.size / p.shape[-1] if p.shape else 1.0
            return rng.standard_normal(p.shape).astype(np.float32) / np.float32(fan_in**0.5)

        # Every entry is random, so that no term is 0 and entries that are off hold garbage; divided
        # by the root of the fan-in, which keeps networks tame.
        params = jax.tree.map(draw, jax.eval_shape(self.task.init, self.key))
        self.params = wide(params)
        self.value, self.gradient = wide(self.jax(params))

    def jax(self, params):
        """Loss and gradient, float32."""
        return self.value_and_grad(self.task, params, self.data, self.key)

    def cut(self, params):
        return self.reference.cut(params, self.numbers, self.task.problem)

    def loss(self, params):
        args = self.numbers, self.x, self.y, self.draws, self.task.problem
        return self.reference.loss(self.cut(params), *args)

    def slope(self, way, step=1e-6):
        """The derivative of the loss along `way`, or what the problem gives in its place."""
        if self.reference.gradient is not None:
            args = self.numbers, self.x, self.draws, self.task.problem
            return dot(self.reference.gradient(self.params, *args), way)
        up = self.loss(jax.tree.map(lambda p, w: p + step * w, self.params, way))
        down = self.loss(jax.tree.map(lambda p, w: p - step * w, self.params, way))
        return (up - down) / (2 * step)

    def on(self):
        """Where each parameter array belongs to the small network."""
        masks = jax.tree.map(lambda p: np.zeros(p.shape, bool), self.params)
        for view in jax.tree.leaves(self.cut(masks)):
            view[...] = True
        return masks


def dot(a, b):
    return sum(np.vdot(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def norm(tree):
    return np.sqrt(dot(tree, tree))


def unit(tree):
    length = norm(tree)
    return jax.tree.map(lambda x: x / length, tree)


def test_every_problem_has_a_reference():
    names = {row.spec.problem.name for row in EXAMPLES}
    assert names == set(REFERENCES)
    assert names == set(NUMBERS)


@pytest.mark.parametrize(("spec", "numbers"), CASES, ids=case_id)
def test_float64(spec, numbers):
    rng = np.random.default_rng(zlib.crc32(f"{spec} {numbers}".encode()))
    case = Case(spec, numbers, rng)
    np.testing.assert_allclose(case.value, case.loss(case.params), rtol=3e-6)

    size = norm(case.gradient)
    for _ in range(2):
        way = unit(jax.tree.map(lambda p: rng.standard_normal(p.shape), case.params))
        slope, exact = dot(case.gradient, way), case.slope(way)
        # A random way meets little of the gradient, and float32 rounds with all of it.
        np.testing.assert_allclose(slope, exact, rtol=1e-5, atol=1e-6 * size)

    on = case.on()
    garbage = jax.tree.map(
        lambda p, on: np.where(on, p, 3.0 * rng.standard_normal(p.shape)).astype(np.float32),
        case.params,
        on,
    )
    assert case.jax(garbage)[0] == case.value
    jax.tree.map(lambda g, on: np.testing.assert_array_equal(g[~on], 0.0), case.gradient, on)


@pytest.mark.parametrize("convolve", [_by_patches, _by_xla])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 4)])
def test_both_convolutions(convolve, stride, size):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, *size, 3)), rng.standard_normal((3, 3, 3, 4))
    chwn = jnp.asarray(x.transpose(3, 1, 2, 0), jnp.float32)
    out = convolve(chwn, jnp.asarray(w, jnp.float32), stride)
    exact = conv((w, np.zeros(4)), x, stride)
    np.testing.assert_allclose(out.transpose(3, 1, 2, 0), exact, rtol=1e-5, atol=1e-5)


def test_influence_is_balanced_the_wrong_way_round():
    """Tallec & Ollivier's point: what a meta-parameter does at first is not what it does."""
    size, positive = 23, 10
    A, s = influence_matrix(size), np.where(np.arange(size) < positive, 1.0, -1.0)

    def effect(p, steps):
        """Of u on the loss after some steps, at u = 0."""

        def loss(u):
            q = p
            for _ in range(steps):
                q = A @ q + u * s
            return 0.5 * (q[0] - 1.0) ** 2

        return (loss(1e-5) - loss(-1e-5)) / 2e-5

    ones, settled = np.ones(size), np.zeros(size)
    # From the start, where the system is settled at u = 0, five steps see only the units next to
    # the first...
    np.testing.assert_allclose(effect(settled, 5), -5.0, rtol=1e-6)
    # ...and in the long run all units count: d p_1 / du = 2 (10 - 13).
    np.testing.assert_allclose(effect(settled, 300), 6.0, rtol=1e-6)
    np.testing.assert_allclose(effect(ones, 300), 6.0, rtol=1e-6)
    # Started at ones it would teach nothing for a while: p_1 is 1, where the loss is flat, and
    # stays so until the last unit is felt.
    np.testing.assert_allclose([effect(ones, k) for k in (1, 5, 22)], 0.0, atol=1e-9)
