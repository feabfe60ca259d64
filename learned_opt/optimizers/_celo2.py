"""Celo2: a network of 347 numbers gives the direction of a matrix; its size is the user's.

Moudgil, Knyazev, Belilovsky 2026, "Celo2: Towards Learned Optimization Free Lunch". Its
Newton-Schulz iteration: Jordan et al. 2024, "Muon: An optimizer for hidden layers".
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.lax import rsqrt

from .._base import Theta, check_num_steps, shaped, zeros_for
from .._checks import one_line, shown
from .._fields import Momenta, Scale, Width
from ..devices._axes import untyped
from ..layouts._layout import Layout, leaf_name
from ..parts._averages import Moments, corrected, update_moments
from ..parts._orthogonal import newton_schulz
from ..parts._per_param import Decays, PerParamFeatures, TensorState, accumulate
from ..parts._published import OUTPUTS, check_published, clip_gradient, init_mlp
from ..transformation._learned_optimizer import LearnedOptimizer
from ..transformation._rule import Change, Now, Tensors
from ._celo2_across import is_across, step_across

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


@dataclasses.dataclass(frozen=True)
class Celo2(LearnedOptimizer):
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
    hidden: Width = 8
    learning_rate: Scale = 1e-3
    orthogonalise: bool = True
    adam_ratio: Scale = 20.0
    embeddings: str = "(?i)embed"
    momenta: Momenta = "float32"
    as_published: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
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
          ValueError: an array is missing, unknown, misshapen or not finite.
        """
        hidden = cls.hidden
        blocks = [f"w0__{i}" for i in range(len(GROUPS))]
        shapes = {name: (size, hidden) for name, size in zip(blocks, GROUPS, strict=True)}
        shapes |= {"b0": (hidden,), "w1": (hidden, hidden), "b1": (hidden,)}
        shapes |= {"w2": (hidden, OUTPUTS), "b2": (OUTPUTS,)}
        shapes = {f"ff_mod_stack/~/{name}": shape for name, shape in shapes.items()}
        found = {key.replace(".", "/"): np.asarray(x) for key, x in arrays.items()}
        check_published("Celo2", shapes, found)
        layers = {name.rpartition("/")[2]: x.astype(np.float32) for name, x in found.items()}
        net = {"w1": jnp.asarray(np.concatenate([layers[name] for name in blocks]))}
        for ours, theirs in (("b1", "b0"), ("w2", "w1"), ("b2", "b1"), ("w3", "w2"), ("b3", "b2")):
            net[ours] = jnp.asarray(layers[theirs])
        return {"mlp": net}

    def _total(self, num_steps: Any) -> jax.Array | None:
        return None if num_steps is None else check_num_steps(num_steps)

    def _peak(self, theta: Theta) -> Any:
        return self.learning_rate

    def _own_schedule(self, theta: Theta, peak: Any, total: jax.Array | None) -> optax.Schedule:
        """a(t) above: cosine to zero over `num_steps`, or constant if that is None."""
        if total is None:
            return shaped(peak)

        def step_size(count: Any) -> jax.Array:
            elapsed = jnp.minimum(1.0, jnp.asarray(count, jnp.float32) / total)
            return peak * (0.5 + 0.5 * jnp.cos(np.float32(np.pi) * elapsed))

        return step_size

    def transform(
        self,
        theta: Theta,
        *,
        labels: Any | Callable[[optax.Params], Any] | None = None,
        **settings: Any,
    ) -> optax.GradientTransformationExtraArgs:
        """The rule above; `num_steps` may be left out, for a constant step size.

        Args:
          theta: from `init`, `from_published` or an artifact.
          labels: "celo2" or "adam" for every leaf, a tree like the parameters or a prefix of it,
            or a function that gives one for parameters; by rank and name if None.
          settings: as other optimizers take them, see `LearnedOptimizer`.

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
        kinds = functools.partial(self._rules, labels)
        return super().transform(theta, kinds=kinds, **settings)

    def _init_tensor(self, zeros: jax.Array, kind: Hashable) -> TensorState:
        if kind == ADAM:
            # Its two averages are among those of the network; the others are not kept.
            none = [jnp.zeros((), jnp.float32) for _ in range(8)]
            return TensorState(
                (zeros_for(zeros), *none[:2]), zeros_for(zeros), tuple(none[2:5]), tuple(none[5:])
            )
        across = self.as_published and is_across(zeros.shape)
        stacked = 0 if across else max(0, zeros.ndim - 2)
        dtype = jnp.dtype(self.momenta)
        return FEATURES.init(zeros, stacked=stacked, dtype=dtype)

    def _accumulate(self, now: Now, kind: Hashable, old: TensorState, g: jax.Array) -> TensorState:
        if kind == ADAM:
            new = update_moments(Moments(old.momenta[0], old.second), g, B1, B2)
            return old._replace(momenta=(new.first, *old.momenta[1:]), second=new.second)
        decays = Decays(jnp.asarray(DECAYS), jnp.asarray(SECOND_DECAY), jnp.asarray(DECAYS))
        see = functools.partial(accumulate, decays)
        if not (self.as_published and is_across(g.shape)):
            for _ in range(g.ndim - 2):
                see = jax.vmap(see)
        return see(old, clip_gradient(g))

    def _update(self, now: Now, stacks: list[Tensors]) -> Change:
        steps = []
        for x in stacks:
            if x.stack.kind == ADAM:
                averages = Moments(x.kept.momenta[0], x.kept.second)
                m, v = corrected(averages, B1, B2, now.t + 1)
                steps.append(self.adam_ratio * now.size * m / (jnp.sqrt(v) + EPS))
            else:
                step = functools.partial(self._step, now.theta["mlp"], now.size)
                steps.append(x.stack.map(step, x.g, x.p, x.kept))
        return Change(steps, None, now.memory)

    def _step(
        self, net: Theta, size: jax.Array, g: jax.Array, p: jax.Array, kept: TensorState
    ) -> jax.Array:
        """Of one tensor by the learned rule."""
        if g.ndim < 2:
            # The published network has no factored features there.
            net = {**net, "w1": net["w1"].at[FACTORED_FROM:].set(0.0)}

        def combine(outputs: list[jax.Array], p: jax.Array) -> jax.Array:
            del p
            direction = outputs[0]
            if self.orthogonalise and direction.ndim == 2:
                direction = untyped(newton_schulz, direction)
            return size * direction * rsqrt(NORM_EPS + jnp.mean(direction * direction))

        g = clip_gradient(g)
        if self.as_published and is_across(g.shape):
            return step_across(FEATURES, net, g, p, kept, combine)

        def step(g: jax.Array, p: jax.Array, kept: TensorState) -> jax.Array:
            return FEATURES.step(net, net["b1"], g, p, kept, combine)

        for _ in range(g.ndim - 2):
            step = jax.vmap(step)
        return step(g, p, kept)

    def _kinds(self, params: Any, tensors: Sequence[Layout]) -> list[Hashable]:
        return self._rules(None, params, tensors)

    def _rules(self, labels: Any, params: Any, tensors: Sequence[Layout]) -> list[Hashable]:
        """The label of every leaf; ValueError where there is a third one."""
        if labels is None:
            # Callable, too, where the parameters are a module of Equinox.
            return _by_rank_and_name(self.embeddings, params, tensors)
        found = labels(params) if callable(labels) else labels
        rules = jax.tree.leaves(jax.tree.broadcast(found, params))
        for rule in rules:
            if rule not in (LEARNED, ADAM):
                raise ValueError(
                    f"labels must be {LEARNED!r} or {ADAM!r}, got {rule!r}; "
                    "for other rules use optax.partition around this one"
                )
        return rules


def _by_rank_and_name(embeddings: str, params: Any, tensors: Sequence[Layout]) -> list[Hashable]:
    found: list[Hashable] = []
    for (path, _), tensor in zip(jax.tree.leaves_with_path(params), tensors, strict=True):
        embedding = embeddings and re.search(embeddings, leaf_name(path))
        found.append(ADAM if len(tensor.tensor) < 2 or embedding else LEARNED)
    return found
