"""A small transformer in Haiku that models bytes: a learned optimizer beside AdamW, neither tuned.

The text is Python's own language reference: nothing to download.

python docs/examples/haiku_language_model.py [STEPS]
"""

import pydoc_data.topics
import sys

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

import learned_opt

LENGTH, BATCH, SIZE, HEADS, BLOCKS = 32, 16, 64, 4, 2


def network(tokens: jax.Array) -> jax.Array:
    """Logits (batch, length, 128) of the next byte."""
    x = hk.Embed(128, SIZE)(tokens)
    x += hk.get_parameter("places", (LENGTH, SIZE), init=hk.initializers.RandomNormal(0.02))
    mask = jnp.tril(jnp.ones((1, 1, LENGTH, LENGTH)))
    for _ in range(BLOCKS):
        h = hk.LayerNorm(-1, True, True)(x)
        w_init = hk.initializers.VarianceScaling()
        x += hk.MultiHeadAttention(HEADS, SIZE // HEADS, w_init=w_init)(h, h, h, mask)
        h = hk.LayerNorm(-1, True, True)(x)
        x += hk.nets.MLP([4 * SIZE, SIZE], activation=jax.nn.gelu)(h)
    return hk.Linear(128)(hk.LayerNorm(-1, True, True)(x))


NET = hk.without_apply_rng(hk.transform(network))


def loss(params: hk.Params, windows: jax.Array) -> jax.Array:
    """Mean cross-entropy of each byte given those before it, in nats."""
    logits = NET.apply(params, windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


def text() -> np.ndarray:
    """Python's language reference as bytes."""
    everything = "\n".join(pydoc_data.topics.topics.values())
    return np.frombuffer(everything.encode("ascii", "ignore"), np.uint8).astype(np.int32)


def train(tx: optax.GradientTransformationExtraArgs, steps: int) -> tuple[float, list[float]]:
    """Loss on the last tenth of the text, and the loss of every step."""
    data = text()
    cut = len(data) * 9 // 10
    rng = np.random.default_rng(0)

    def windows(low: int, high: int, count: int) -> np.ndarray:
        starts = rng.integers(low, high - LENGTH - 1, count)
        return data[starts[:, None] + np.arange(LENGTH + 1)]

    @jax.jit
    def step(params, state, batch):
        value, grads = jax.value_and_grad(loss)(params, batch)
        updates, state = tx.update(grads, state, params, value=value)
        return optax.apply_updates(params, updates), state, value

    params = NET.init(jax.random.key(0), jnp.zeros((1, LENGTH), jnp.int32))
    state, losses = tx.init(params), []
    for _ in range(steps):
        params, state, value = step(params, state, windows(0, cut, BATCH))
        losses.append(float(value))
    return float(loss(params, jnp.asarray(windows(cut, len(data), 512)))), losses


def main(steps: int = 600) -> dict[str, tuple[float, list[float]]]:
    """Print the held-out losses; return what `train` found."""
    cosine = optax.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 20, steps)
    found = {}
    for name, tx in {
        "learned": learned_opt.learned(num_steps=steps),
        "AdamW, 3e-3, cosine": optax.with_extra_args_support(optax.adamw(cosine)),
    }.items():
        found[name] = train(tx, steps)
        print(f"{name:<20} held-out loss {found[name][0]:.3f} nats a byte")
    return found


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
