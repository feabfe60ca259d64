"""What is judged in tests: a module of a user's, a task, artifacts."""

import jax

from learned_opt import Artifact
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP

SOURCE = r"""
import jax
import optax

def sgd(num_steps):
    return optax.sgd(0.1)

def number(num_steps):
    return 3

def cosine(num_steps):
    return optax.sgd(optax.cosine_decay_schedule(0.1, num_steps))

def warm_up_and_cosine(num_steps):
    return optax.adam(optax.warmup_cosine_decay_schedule(0, 3e-3, num_steps // 10, num_steps))

def one_cycle(num_steps):
    return optax.adam(optax.cosine_onecycle_schedule(num_steps, 3e-3))

def linear(num_steps):
    return optax.adam(optax.linear_schedule(3e-3, 0, num_steps))

def piecewise(num_steps):
    return optax.adam(optax.piecewise_constant_schedule(3e-3, {num_steps // 2: 0.1}))

def tenth(num_steps):
    return optax.adam(optax.warmup_constant_schedule(0, 3e-3, int(0.1 * num_steps)))

def unused(num_steps):
    assert int(num_steps) > 0
    return optax.sgd(0.1)

def raises(num_steps):
    raise RuntimeError("no luck\nand more of it")

def nothing():
    return optax.sgd(0.1)

def long_only(num_steps):
    return optax.sgd(1 / max(0, num_steps - 50))

def single(num_steps):
    return optax.stateless(lambda updates, params: updates)._replace(update=lambda u, s, p: (u,))

def narrow(num_steps):
    return optax.stateless(lambda updates, params: updates["w"])

def restless(num_steps):
    update = lambda u, s, p: (u, s + 0.5)
    return optax.GradientTransformation(lambda params: jax.numpy.zeros((), int), update)

def stops(num_steps):
    return optax.sgd(lambda count: jax.numpy.where(count < num_steps, 0.1, 0.0))

def warm(num_steps):
    rate = lambda count: 0.1 * jax.numpy.minimum(1.0, (count + 1) / (0.05 * num_steps))
    return optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(rate))

def adam(num_steps):
    return optax.adam(lambda count: 0.1 / (1 + count))

def picky(num_steps):
    def init(params):
        return params["linear"]
    return optax.GradientTransformation(init, lambda updates, state, params: (updates, state))
"""
NETWORK = MLP(max_width=8, max_depth=1, widths=(8, 8), depths=(1, 1))
TASK = EvalTask("tiny", FamilySpec(NETWORK, "digits"), (("activation", 0),), 40)


def artifact(optimizer, **card):
    return Artifact(optimizer, optimizer.init(jax.random.key(0)), card)
