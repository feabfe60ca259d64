"""Every problem's loss once more: plain NumPy in float64, from the papers' formulas.

Nothing is masked here. `cut` takes the small network that a task's numbers describe out of the
arrays (as views, so that what it leaves out is known), and `loss` runs just that network.
jax is here only for random draws, which are data to the formulas, and for walking over trees.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import haiku as hk
import jax
import numpy as np
from reference_equations import allen_cahn_loss, heat_loss, pinn_loss, vibration_loss
from reference_layers import (
    activation,
    affine,
    dense,
    tanh_cut,
    two_layers,
)
from reference_networks import (
    conv_cut,
    conv_loss,
    deep_sets_cut,
    deep_sets_loss,
    gru_cut,
    gru_loss,
    linear_cut,
    linear_loss,
    lru_cut,
    lru_loss,
    lstm_cut,
    lstm_loss,
    mixer_cut,
    mixer_loss,
    mlp_cut,
    mlp_loss,
    norm_conv_cut,
    norm_conv_loss,
    norm_mlp_cut,
    norm_mlp_loss,
    resnet_cut,
    resnet_loss,
    skip_init_cut,
    skip_init_loss,
    tied_transformer_cut,
    tied_transformer_loss,
    transformer_cut,
    transformer_loss,
    vit_cut,
    vit_loss,
)
from reference_rollouts import (
    control_loss,
    learned_optimizer_loss,
    policy_gradient_loss,
    pushes,
    reinforce_gradient,
    strategy_gradient,
    strategy_noise,
)


class Reference(NamedTuple):
    """What is needed to check one problem.

    Attributes:
      cut: (params, numbers, problem) to the parameters that act: nested views, in any structure.
      loss: (cut parameters, numbers, x, y, draws, problem) to the loss.
      draws: (task, key, batch size) to what the problem draws at random, here plain data.
      gradient: (params, numbers, x, draws, problem) to the gradient where it is not the loss's.
    """

    cut: Callable[..., Any]
    loss: Callable[..., float]
    draws: Callable[..., Any] = lambda task, key, batch: ()
    gradient: Callable[..., Any] | None = None


# Closed forms.


def everything(params, n, problem):
    return params


def quadratic_loss(net, n, x, y, draws, problem):
    v = n["direction"]
    R = np.eye(len(v)) - 2.0 * np.outer(v, v)
    H = R @ np.diag(n["eigenvalues"]) @ R
    c = n["optimum"] + n["noise"] * math.sqrt(12.0) * (x - 0.5)
    return np.mean([0.5 * (net["p"] - ci) @ H @ (net["p"] - ci) for ci in c])


def rosenbrock_loss(net, n, x, y, draws, problem):
    p = net["p"]
    pairs = [(p[i], p[i + 1]) for i in range(len(p) - 1)]
    return sum(n["steepness"] * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairs)


def saddle_loss(net, n, x, y, draws, problem):
    c, p = n["curvature"], net["p"]
    terms = [
        c[i] * ((p[i] ** 2 - 1) ** 2 / 4 if i % 2 == 0 else p[i] ** 2 / 2) for i in range(len(p))
    ]
    return np.mean(terms)


def influence_matrix(size):
    """The A of Tallec & Ollivier: 1/2 on the diagonal and above it."""
    return 0.5 * np.eye(size) + 0.5 * np.eye(size, k=1)


def influence_loss(net, n, x, y, draws, problem):
    return (net["p"][0] - 1) ** 2 / 2


def influence_gradient(params, n, x, draws, problem):
    return {"p": params["p"] - influence_matrix(len(params["p"])) @ params["p"]}


# Autoencoders.


def autoencoder_cut(params, n, problem):
    hidden, code = n["hidden"], n["code"]
    return {
        "in": dense(params, "dense", None, hidden),
        "mean": dense(params, "dense_1", hidden, code),
        "spread": dense(params, "dense_2", hidden, code) if problem.variational else None,
        "back": dense(params, f"dense_{2 + problem.variational}", code, hidden),
        "out": dense(params, f"dense_{3 + problem.variational}", hidden),
    }


def autoencoder_loss(net, n, x, y, draws, problem):
    x, act = x.reshape(len(x), -1), activation(n)
    h = act(affine(net["in"], x))
    code, cost = affine(net["mean"], h), 0.0
    if problem.variational:
        mean, log_std = code, 3 * np.tanh(affine(net["spread"], h) / 3)  # kept within (-3, 3)
        divergence = (np.exp(2 * log_std) + mean**2 - 1) / 2 - log_std
        code = mean + np.exp(log_std) * draws[:, : n["code"]]
        cost = divergence.sum() / x.size
    return np.mean((two_layers((net["back"], net["out"]), act, code) - x) ** 2) / 2 + cost


def code_noise(task, key, batch):
    # The key that haiku hands out first; one draw for every code unit, on or off.
    key = hk.transform(hk.next_rng_key).apply({}, key)
    return jax.random.normal(key, (batch, task.problem.max_code))


# Images with noise of the loss's own.


def denoiser_loss(net, n, x, y, draws, problem):
    total = 0.0
    for image, t, noise in zip(x.reshape(len(x), -1), *draws, strict=True):
        turn = math.pi * t / 2
        h = [math.cos(turn) * image + math.sin(turn) * noise]
        h += [[f(turn * 2**octave) for octave in range(3)] for f in (math.cos, math.sin)]
        h = np.concatenate(h)
        for layer in net[:-1]:
            h = activation(n)(affine(layer, h))
        total += np.mean((affine(net[-1], h) - noise) ** 2) / 2
    return total / len(x)


def times_and_noise(task, key, batch):
    keys, features = jax.random.split(key), math.prod(task.spec.shape)
    return [jax.random.uniform(keys[0], (batch,)), jax.random.normal(keys[1], (batch, features))]


def contrastive_loss(net, n, x, y, draws, problem):
    views = []
    for noise, kept in zip(*draws, strict=True):
        h = np.where(kept, x.reshape(len(x), -1) + problem.noise * noise, 0.0)
        for layer in net[:-1]:
            h = activation(n)(affine(layer, h))
        h = affine(net[-1], h)
        views.append(h / np.sqrt(np.sum(h**2, axis=1, keepdims=True) + 1e-6))
    size, total = len(x), 0.0
    for ahead, (u, v) in ((1, views), (-1, views[::-1])):
        for i in range(size):
            # The partner comes first, then the images after it, or before it on the way back.
            asked = [(i + ahead * j) % size for j in range(min(size, problem.candidates))]
            scores = v[asked] @ u[i] / problem.temperature
            total += np.log(np.sum(np.exp(scores))) - scores[0]
    return total / (2 * size)


def distortions(task, key, batch):
    keys, shape = jax.random.split(key), (2 * batch, math.prod(task.spec.shape))
    kept = jax.random.bernoulli(keys[1], 1.0 - task.problem.erased, shape)
    pairs = 2, batch, shape[1]
    return [jax.random.normal(keys[0], shape).reshape(pairs), kept.reshape(pairs)]


# The rest.


def factorisation_loss(net, n, x, y, draws, problem):
    a, b, noise = draws
    rank = n["rank"]
    M = a[:, :rank] @ b[:, :rank].T / math.sqrt(rank) + n["noise"] * noise
    errors = []
    for down, right in x:
        i, j = int(down * problem.rows), int(right * problem.columns)
        errors.append(net["u"][i] @ net["v"][j] - M[i, j])
    return np.mean(np.square(errors)) / 2


def factors(task, key, batch):
    # Which normal matrices a seed stands for is the problem's business.
    keys, p = jax.random.split(jax.random.key(task.numbers["seed"]), 3), task.problem
    shapes = (p.rows, p.max_rank), (p.columns, p.max_rank), (p.rows, p.columns)
    return [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]


def waves_loss(net, n, x, y, draws, problem):
    normal, phase = draws
    values = []
    for at in x:
        h = 2 * at - 1
        for layer in net[:-1]:
            h = activation(n)(affine(layer, h))
        waves = np.cos(2 * np.pi * n["frequency"] * at @ normal + phase)
        values.append(affine(net[-1], h)[0] - waves.sum() / 2)
    return np.mean(np.square(values)) / 2


def wave_draws(task, key, batch):
    keys = jax.random.split(jax.random.key(task.numbers["seed"]))
    uniform = jax.random.uniform(keys[1], (8,), maxval=2 * math.pi)
    return [jax.random.normal(keys[0], (2, 8)), uniform]


REFERENCES = {
    "quadratic": Reference(everything, quadratic_loss),
    "rosenbrock": Reference(everything, rosenbrock_loss),
    "saddle": Reference(everything, saddle_loss),
    "influence_balancing": Reference(everything, influence_loss, gradient=influence_gradient),
    "linear": Reference(linear_cut, linear_loss),
    "mlp": Reference(mlp_cut, mlp_loss),
    "norm_mlp": Reference(norm_mlp_cut, norm_mlp_loss),
    "conv": Reference(conv_cut, conv_loss),
    "norm_conv": Reference(norm_conv_cut, norm_conv_loss),
    "resnet": Reference(resnet_cut, resnet_loss),
    "skip_init": Reference(skip_init_cut, skip_init_loss),
    "vit": Reference(vit_cut, vit_loss),
    "mixer": Reference(mixer_cut, mixer_loss),
    "autoencoder": Reference(autoencoder_cut, autoencoder_loss),
    "vae": Reference(autoencoder_cut, autoencoder_loss, code_noise),
    "denoiser": Reference(mlp_cut, denoiser_loss, times_and_noise),
    "contrastive": Reference(mlp_cut, contrastive_loss, distortions),
    "gru": Reference(gru_cut, gru_loss),
    "lstm": Reference(lstm_cut, lstm_loss),
    "lru": Reference(lru_cut, lru_loss),
    "transformer": Reference(transformer_cut, transformer_loss),
    "tied_transformer": Reference(tied_transformer_cut, tied_transformer_loss),
    "deep_sets": Reference(deep_sets_cut, deep_sets_loss),
    "factorisation": Reference(everything, factorisation_loss, factors),
    "waves": Reference(mlp_cut, waves_loss, wave_draws),
    "pinn": Reference(tanh_cut(2), pinn_loss),
    "heat": Reference(mlp_cut, heat_loss),
    "allen_cahn": Reference(tanh_cut(2), allen_cahn_loss),
    "vibration": Reference(tanh_cut(2), vibration_loss),
    "control": Reference(tanh_cut(1), control_loss, strategy_noise, strategy_gradient),
    "policy_gradient": Reference(tanh_cut(1), policy_gradient_loss, pushes, reinforce_gradient),
    "learned_optimizer": Reference(tanh_cut(1), learned_optimizer_loss),
}
"""By the problem's name."""
