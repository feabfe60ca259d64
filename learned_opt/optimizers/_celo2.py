"""Celo2: a network of 347 numbers gives the direction of a matrix; its size is the user's.

Moudgil, Knyazev, Belilovsky 2026, "Celo2: Towards Learned Optimization Free Lunch". Its
Newton-Schulz iteration: Jordan et al. 2024, "Muon: An optimizer for hidden layers".
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.lax import rsqrt

from .._axes import untyped
from .._base import Theta, check_num_steps
from .._checks import MOMENTA, STEP, WIDTH, check_fields, one_line, shown
from .._guard import skip_nonfinite
from ..parts._adam import Moments, corrected, init_moments, update_moments
from ..parts._leaves import Groups, group_leaves
from ..parts._orthogonal import newton_schulz
from ..parts._per_param import Decays, PerParamFeatures, TensorState
from ..parts._published import OUTPUTS, clip_gradient, init_mlp
from ..parts._stacks import is_across, step_across

LEARNED, ADAM = "celo2", "adam"
"""The two labels."""

EPS, NORM_EPS = 1e-8, 1e-9
FEATURES = PerParamFeatures(velo=True, eps=EPS, norm_eps=NORM_EPS)
DECAYS = np.array([0.9, 0.99, 0.999], np.float32)
SECOND_DECAY = np.float32(0.95)
B1, B2 = 0.9, 0.95
GROUPS = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)
"""Features in each of the first-layer blocks of the published weights, in order."""

FACTORED_FROM = sum(GROUPS[:9])
"""The first feature that only matrices have."""


class Celo2State(NamedTuple):
    """`steps`: taken so far (int32 scalar); `tensors`: what is kept of every group of leaves.

    That is `Moments` for a leaf under Adam; else a `TensorState` for the leaves that `group_leaves`
    puts together, of tensors of rank above 2 with their leading axes in front of every array.
    """

    steps: jax.Array
    tensors: tuple[TensorState | Moments, ...]


@dataclasses.dataclass(frozen=True)
class Celo2:
    """Celo2, 347 meta-parameters: a learned direction of root mean square 1 for every matrix.

    At step t = 0, 1, ... for a matrix p, with a direction d from 30 features of every element::

        d = MLP(features / sqrt(1e-9 + mean features^2))
        d <- NewtonSchulz(d)                                if orthogonalise
        p <- p - a(t) d / sqrt(1e-9 + mean d^2)

    The features are those of `PerParamFeatures` (the 30 of VeLO, decay .95 of v, e = 1e-8) of the
    gradient clipped to +-1000; the network is 30-8-8-3 with ReLU, and only its first output is
    used. Newton-Schulz: X = d / (|d| + 1e-8), then five times X <- a X + (b A + c A A) X with
    A = X X^T and (a, b, c) = (3.4445, -4.7750, 2.0315). A tensor of rank above 2 is a stack of
    matrices, its last two axes, each updated as if it were alone.

    Scalars, vectors and embeddings take Adam (.9, .95) at `adam_ratio` a(t). Which leaf takes what
    can be said with `labels`, see `transform`.

    The size of the step is not learned: a(t) = learning_rate (1 + cos(pi min(1, t / T))) / 2 for a
    run of T = `num_steps`, constant without. Tune it, at best to half a decade: `learning_rate`
    here, or that of `learned_opt.learned`, which also has the weight decay.

    Args:
      hidden: width of the two hidden layers; 8 is what was published.
      learning_rate: root mean square of a matrix's first step.
      orthogonalise: whether with Newton-Schulz. Celo2 has it; Celo2-base has not, and takes the
        learned rule for all tensors.
      adam_ratio: step size of Adam over that of the matrices.
      embeddings: regular expression; a tensor is an embedding if it is found in its path, such as
        "decoder/embedding/w". "" for none.
      momenta: dtype of the first two momenta of matrices, see `PerParamFeatures`.
      as_published: take R and C of a tensor of rank above 2 over its two largest axes, as the
        published code does, under which its weights were found. That mixes the matrices of a
        stack where these are not the last two axes, as rarely in convolutions; else it is equal.

    Raises:
      ValueError: an argument is out of range.

    Example:
      >>> import jax, learned_opt
      >>> optimizer = learned_opt.Celo2(learning_rate=3e-3)
      >>> theta = optimizer.init(jax.random.key(0))
      >>> sum(x.size for x in jax.tree.leaves(theta))
      347
      >>> tx = optimizer.transform(theta, num_steps=1000)
    """

    name: ClassVar[str] = "celo2"
    use: ClassVar[str] = (
        "With published weights, your own learning rate and schedule; matrices first."
    )
    hidden: int = 8
    learning_rate: float = 1e-3
    orthogonalise: bool = True
    adam_ratio: float = 20.0
    embeddings: str = "(?i)embed"
    momenta: str = "float32"
    as_published: bool = False

    def __post_init__(self):
        check_fields(
            self, hidden=WIDTH, learning_rate=STEP, adam_ratio=STEP, embeddings=None,
            momenta=MOMENTA,
        )  # fmt: skip
        try:
            re.compile(self.embeddings)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(
                f"embeddings must be a regular expression, got {shown(self.embeddings)} "
                f"({one_line(error)}); pass the name of the embedding, or '' for none"
            ) from error

    def init(self, key: jax.Array) -> Theta:
        """Truncated normal weights over sqrt(fan-in), zero biases: it need not descend."""
        return {"mlp": init_mlp(key, self.hidden)}

    @classmethod
    def from_published(cls, arrays: Mapping[str, np.ndarray]) -> Theta:
        """Meta-parameters from the authors' arrays, for a rule of the published width.

        Args:
          arrays: by name, its parts joined by "/" or ".": `ff_mod_stack/~/` and `w0__0` ...
            `w0__13` (features of a group, 8), `w1` (8, 8), `w2` (8, 3), `b0`, `b1`, `b2`.

        Raises:
          ValueError: an array is missing, unknown or of another shape.
        """
        hidden = cls.hidden
        blocks = [f"w0__{i}" for i in range(len(GROUPS))]
        shapes = {name: (size, hidden) for name, size in zip(blocks, GROUPS, strict=True)}
        shapes |= {"b0": (hidden,), "w1": (hidden, hidden), "b1": (hidden,)}
        shapes |= {"w2": (hidden, OUTPUTS), "b2": (OUTPUTS,)}
        shapes = {f"ff_mod_stack/~/{name}": shape for name, shape in shapes.items()}
        found = {key.replace(".", "/"): np.asarray(x) for key, x in arrays.items()}
        if found.keys() != shapes.keys():
            missing, extra = sorted(shapes.keys() - found.keys()), sorted(found.keys() - shapes)
            raise ValueError(
                f"the weights of Celo2 are {len(shapes)} arrays, {len(missing)} of them missing "
                f"(such as {_first(missing)}) and {len(extra)} unknown (such as {_first(extra)}); "
                "pass the arrays of the published checkpoint"
            )
        for name, shape in shapes.items():
            if found[name].shape != shape:
                raise ValueError(
                    f"{name} must have shape {shape}, got {found[name].shape}; "
                    "pass the arrays of the published checkpoint"
                )
        layers = {name.rpartition("/")[2]: x.astype(np.float32) for name, x in found.items()}
        net = {"w1": jnp.asarray(np.concatenate([layers[name] for name in blocks]))}
        for ours, theirs in (("b1", "b0"), ("w2", "w1"), ("b2", "b1"), ("w3", "w2"), ("b3", "b2")):
            net[ours] = jnp.asarray(layers[theirs])
        return {"mlp": net}

    def schedule(self, theta: Theta, *, num_steps: Any = None) -> optax.Schedule:
        """a(t) above: cosine to zero over `num_steps`, or constant if that is None."""
        del theta
        if num_steps is None:
            return lambda count: jnp.asarray(self.learning_rate, jnp.float32)
        total = check_num_steps(num_steps)

        def step_size(count: Any) -> jax.Array:
            elapsed = jnp.minimum(1.0, jnp.asarray(count, jnp.float32) / total)
            return self.learning_rate * (0.5 + 0.5 * jnp.cos(np.float32(np.pi) * elapsed))

        return step_size

    def transform(
        self,
        theta: Theta,
        *,
        num_steps: Any = None,
        labels: Any | Callable[[optax.Params], Any] | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above.

        Args:
          theta: from `init`, `from_published` or an artifact.
          num_steps: updates of the whole run (may be traced), or None for a constant step size.
          labels: "celo2" or "adam" for every leaf, a tree like the parameters or a prefix of it,
            or a function that gives one for parameters; by rank and name if None.

        Raises:
          ValueError: `num_steps` is neither None, a positive integer nor traced, or, at `init`,
            there is another label.

        Example:
          Celo2-base, where vectors too take the learned rule:

          >>> import jax, learned_opt
          >>> optimizer = learned_opt.Celo2(orthogonalise=False)
          >>> theta = optimizer.init(jax.random.key(0))
          >>> tx = optimizer.transform(theta, labels=lambda p: jax.tree.map(lambda _: "celo2", p))
        """
        step_size = self.schedule(theta, num_steps=num_steps)

        def init(params: optax.Params) -> Celo2State:
            rules = self._rules(labels, params)
            leaves = zip(rules, jax.tree.leaves(params), strict=True)
            tensors = [_init_tensor(self, rule, p) for rule, p in leaves]
            tensors = tuple(_group(rules, params).stack(tensors))
            return Celo2State(jnp.zeros((), jnp.int32), tensors)

        def update(
            updates: optax.Updates,
            state: optax.OptState,
            params: optax.Params | None = None,
            *,
            accepted: Any = True,
            **extra_args,
        ) -> tuple[optax.Updates, Celo2State]:
            del extra_args
            assert isinstance(state, Celo2State)
            size, t = step_size(state.steps), state.steps.astype(jnp.float32) + 1
            update_tensor = functools.partial(_update_tensor, self, theta, size, t, accepted)
            groups = _group(self._rules(labels, params), params)
            steps, tensors = groups.update(update_tensor, updates, params, state.tensors)
            return steps, Celo2State(state.steps + jnp.where(accepted, 1, 0), tensors)

        guarded = optax.GradientTransformationExtraArgs(init, update)
        return skip_nonfinite(guarded, keeps_state=True)

    def _rules(self, labels: Any, params: Any) -> list[str]:
        """The label of every leaf; ValueError where there is a third one."""
        if labels is None:
            # Callable, too, where the parameters are a module of Equinox.
            found = _by_rank_and_name(self.embeddings, params)
        elif callable(labels):
            found = labels(params)
        else:
            found = labels
        rules = jax.tree.leaves(jax.tree.broadcast(found, params))
        for rule in rules:
            if rule not in (LEARNED, ADAM):
                raise ValueError(
                    f"labels must be {LEARNED!r} or {ADAM!r}, got {rule!r}; "
                    "for other rules use optax.partition around this one"
                )
        return rules


def _first(names: list[str]) -> str:
    return names[0] if names else "none"


def _by_rank_and_name(embeddings: str, params: optax.Params) -> Any:
    def label(path: Any, p: Any) -> str:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        embedding = embeddings and re.search(embeddings, name)
        return ADAM if jnp.ndim(p) < 2 or embedding else LEARNED

    return jax.tree.map_with_path(label, params)


def _group(rules: list[str], params: Any) -> Groups:
    # Adam compiles to one loop a tensor anyway.
    return group_leaves(params, [None if rule == ADAM else rule for rule in rules])


def _init_tensor(optimizer: Celo2, rule: str, p: Any) -> TensorState | Moments:
    if rule == ADAM:
        return init_moments(p)
    across = optimizer.as_published and is_across(jnp.shape(p))
    stacked = 0 if across else max(0, jnp.ndim(p) - 2)
    return FEATURES.init(p, stacked=stacked, dtype=optimizer.momenta)


# Compiled by itself only where the caller compiles nothing: then one call instead of hundreds.
@functools.partial(jax.jit, static_argnums=0, inline=True)
def _update_tensor(
    optimizer: Celo2,
    theta: Theta,
    size: jax.Array,
    t: jax.Array,
    accepted: Any,
    grad: jax.Array,
    p: jax.Array,
    old: TensorState | Moments,
) -> tuple[jax.Array, TensorState | Moments]:
    if isinstance(old, Moments):
        new = update_moments(old, grad.astype(jnp.float32), B1, B2, accepted)
        first, second = corrected(new, B1, B2, t)
        direction = first / (jnp.sqrt(second) + EPS)
        return (optimizer.adam_ratio * size * direction).astype(grad.dtype), new
    net = theta["mlp"]
    if grad.ndim < 2:
        # The published network has no factored features there.
        net = {**net, "w1": net["w1"].at[FACTORED_FROM:].set(0.0)}
    decays = Decays(jnp.asarray(DECAYS), jnp.asarray(SECOND_DECAY), jnp.asarray(DECAYS))

    def combine(outputs: list[jax.Array], p: jax.Array) -> jax.Array:
        del p
        direction = outputs[0]
        if optimizer.orthogonalise and direction.ndim == 2:
            direction = untyped(newton_schulz, direction)
        return size * direction * rsqrt(NORM_EPS + jnp.mean(direction * direction))

    grad = clip_gradient(grad)
    if optimizer.as_published and is_across(grad.shape):
        return step_across(FEATURES, net, decays, accepted, grad, p, old, combine)

    def step(g: jax.Array, p: jax.Array, old: TensorState) -> tuple[jax.Array, TensorState]:
        return FEATURES.step(net, net["b1"], decays, accepted, g, p, old, combine)

    for _ in range(grad.ndim - 2):
        step = jax.vmap(step)
    return step(grad, p, old)
