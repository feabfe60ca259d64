"""python -m research.conv: a convolution with weights that differ from lane to lane."""

import haiku as hk
import jax
import jax.numpy as jnp

from benchmarks import seconds_per_call
from learned_opt.tasks.problems._layers import Conv3x3

LANES, BATCH = 18, 64


def main() -> None:
    x = jax.random.normal(jax.random.key(0), (LANES, BATCH, 8, 8, 8))
    print(f"{LANES} lanes, {BATCH} x 8 x 8 x 8 -> 16 channels, stride 2, value and gradient")
    rows = {
        "hk.Conv2D": lambda x: hk.Conv2D(16, 3, stride=2)(x),
        "tasks": lambda x: Conv3x3(16, 2)(x.transpose(3, 1, 2, 0)),
    }
    for name, layer in rows.items():
        net = hk.without_apply_rng(hk.transform(layer))
        params = jax.vmap(lambda key, net=net: net.init(key, x[0]))(
            jax.random.split(jax.random.key(1), LANES)
        )

        def loss(p, x, net=net):
            return jnp.sum(net.apply(p, x) ** 2)

        step = jax.jit(jax.vmap(jax.value_and_grad(loss, argnums=(0, 1))))
        print(f"{name:>10} {1e3 * seconds_per_call(step, params, x, rounds=10):8.1f} ms")


if __name__ == "__main__":
    main()
