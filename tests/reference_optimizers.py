"""Learned update rules once more: plain NumPy in float64, from the formulas, features last."""

import jax
import numpy as np

TAUS = np.array([1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5])
MOMENTA = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
DECAYS = np.array([0.9, 0.99, 0.999])


def time_features(t):
    return np.tanh(t / TAUS - 1)


def momentum_mlp(theta, params, grads):
    """Parameters after each step of the small predecessor, at its default scales."""
    net = jax.tree.map(lambda x: np.asarray(x, np.float64), theta["net"])
    p, decays = {k: np.asarray(x, np.float64) for k, x in params.items()}, np.array(MOMENTA)
    m, path, layers = dict.fromkeys(p, 0.0), [], len(net) // 2
    for t, grad in enumerate(grads):
        for name in p:
            g = np.asarray(grad[name], np.float64)[..., None]
            m[name] = decays * m[name] + (1 - decays) * g
            h = np.concatenate([g, p[name][..., None], m[name]], -1)
            h = h / np.sqrt(1e-5 + np.mean(h**2, axis=tuple(range(h.ndim - 1))))
            h = np.concatenate([h, np.broadcast_to(time_features(t), (*h.shape[:-1], 11))], -1)
            for i in range(1, layers):
                h = np.maximum(0, h @ net[f"w{i}"] + net[f"b{i}"])
            out = h @ net[f"w{layers}"] + net[f"b{layers}"]
            p[name] = p[name] - 0.001 * out[..., 0] * np.exp(0.001 * out[..., 1])
        path.append(dict(p))
    return path


def per_param_mlp(theta, params, grads, bits=np.float64):
    """Parameters after each step of the per-parameter MLP at its default scales.

    The first two momenta are rounded to `bits` after each.
    """
    theta = jax.tree.map(lambda x: np.asarray(x, np.float64), theta)
    p = {k: np.asarray(x, np.float64) for k, x in params.items()}
    memory = dict.fromkeys(p, (0.0, 0.0, 0.0, 0.0))
    path = []
    for t, grad in enumerate(grads):
        for name in p:
            g = np.asarray(grad[name], np.float64)
            features, memory[name] = per_param_features(theta, g, p[name], memory[name], bits)
            rms = np.sqrt(1e-5 + np.mean(features**2, axis=tuple(range(g.ndim))))
            times = np.broadcast_to(time_features(t), (*g.shape, 11))
            h, net = np.concatenate([features / rms, times], -1), theta["net"]
            for i in range(1, len(net) // 2):
                h = np.maximum(0, h @ net[f"w{i}"] + net[f"b{i}"])
            i = len(net) // 2
            out = h @ net[f"w{i}"] + net[f"b{i}"]
            p[name] = p[name] - 0.001 * out[..., 0] * np.exp(0.001 * out[..., 1])
        path.append(dict(p))
    return path


def per_param_features(theta, g, p, memory, bits=np.float64):
    """The 28 features of every element, (*shape, 28), and (m, v, R, C) after this gradient."""

    def rs(x):
        return 1 / np.sqrt(np.maximum(x, 1e-9))

    def shifted(decay, shift):
        return np.clip(1 - (1 - decay) * np.exp(10 * shift), 0, 1)

    def ema(decay, old, new):
        return decay * old + (1 - decay) * new

    shift = {k: theta[f"{k}_decays"] for k in ("momentum", "factored")}
    fast = shifted(DECAYS, shift["factored"])
    m, v, row, col = memory
    g, p = g[..., None], p[..., None]
    m = ema(shifted(DECAYS, shift["momentum"]), m, g)
    m = np.concatenate([m[..., :2].astype(bits).astype(np.float64), m[..., 2:]], -1)
    v = ema(shifted(0.999, theta["second_decay"]), v, g**2)
    square, one = g**2 + 1e-30, np.ones_like(g)
    if g.ndim >= 3:
        order = np.argsort(g.shape[:-1], kind="stable")
        largest, second = int(order[-1]), int(order[-2])
        row = ema(fast, row, np.mean(square, largest, keepdims=True))
        col = ema(fast, col, np.mean(square, second, keepdims=True))
        factor = rs(row / (np.mean(row, second, keepdims=True) + 1e-9)) * rs(col)
        factored = [g * factor, m * factor]
    else:
        row = col = ema(fast, row, square)
        factored = [g * rs(row + 1e-9), m / np.sqrt(row + 1e-6)]
    groups = [
        g, p, m, v, m / np.sqrt(v + 1e-6), 1 / np.sqrt(v + 1e-6), factored[0], row * one, col * one,
        one / np.sqrt(row + 1e-8), one / np.sqrt(col + 1e-8), factored[1],
    ]  # fmt: skip
    return np.concatenate(groups, -1), (m, v, row, col)
