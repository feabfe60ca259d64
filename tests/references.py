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
from reference_layers import (
    ACTIVATION,
    activation,
    affine,
    dense,
    sigmoid,
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


def tanh_cut(layers):
    def cut(params, n, problem):
        net, rows = [], None
        for i in range(layers):
            net.append(dense(params, f"dense_{i}" if i else "dense", rows, n["width"]))
            rows = n["width"]
        return [*net, dense(params, f"dense_{layers}", rows)]

    return cut


def jet(net, x, direction):
    """u, du and d2u along a direction: Taylor coefficients pushed through the layers by hand."""
    a, da, dda = x, np.broadcast_to(direction, x.shape), np.zeros_like(x)
    for i, (w, b) in enumerate(net):
        a, da, dda = a @ w + b, da @ w, dda @ w
        if i < len(net) - 1:
            a = np.tanh(a)
            slope = 1 - a**2
            a, da, dda = a, slope * da, slope * dda - 2 * a * slope * da**2
    return a[:, 0], da[:, 0], dda[:, 0]


def equation_loss(net, x, left, side, start, residual):
    """Of u(t, x) on [0, 1] x [left, 1]; residual: of u, u_t, u_x and u_xx."""
    t, place = x[:, 0], left + (1 - left) * x[:, 1]

    def u(t, place, direction=(0.0, 0.0)):
        return jet(net, np.stack([t, place], axis=1), np.array(direction))

    value, u_x, u_xx = u(t, place, (0.0, 1.0))
    _, u_t, _ = u(t, place, (1.0, 0.0))
    errors = [residual(value, u_t, u_x, u_xx), u(0 * t, place)[0] - start(place)]
    errors += [u(t, np.full_like(t, edge))[0] - side for edge in (left, 1.0)]
    return sum(np.mean(error**2) for error in errors)


def pinn_loss(net, n, x, y, draws, problem):
    def burgers(u, u_t, u_x, u_xx):
        return u_t + u * u_x - n["viscosity"] * u_xx

    return equation_loss(net, x, -1.0, 0.0, lambda x: -np.sin(math.pi * x), burgers)


def heat_loss(net, n, x, y, draws, problem):
    def heat(u, u_t, u_x, u_xx):
        return u_t - n["diffusivity"] * u_xx

    return equation_loss(net, x, 0.0, 0.0, lambda x: np.sin(math.pi * n["modes"] * x), heat)


def allen_cahn_loss(net, n, x, y, draws, problem):
    def allen_cahn(u, u_t, u_x, u_xx):
        return u_t - n["diffusivity"] * u_xx + 5 * u**3 - 5 * u

    return equation_loss(net, x, -1.0, -1.0, lambda x: x**2 * np.cos(math.pi * x), allen_cahn)


def vibration_loss(net, n, x, y, draws, problem):
    def u(t, place, direction=(0.0, 0.0)):
        return jet(net, np.stack([t, place], axis=1), np.array(direction))

    t, place = x.T
    _, _, u_tt = u(t, place, (1.0, 0.0))
    _, _, u_xx = u(t, place, (0.0, 1.0))
    value, u_t, _ = u(0 * t, place, (1.0, 0.0))
    errors = [u_tt - n["speed"] ** 2 * u_xx, u_t, value - np.sin(math.pi * n["modes"] * place)]
    errors += [u(t, np.full_like(t, edge))[0] for edge in (0.0, 1.0)]
    return sum(np.mean(error**2) for error in errors)


def episodes(net, n, x, draws, problem):
    """(states, pushes to the right, costs) of each step: the cart of Barto et al., force 10 N."""
    m, half, total = n["mass"], n["length"], 1.0 + n["mass"]
    at, v, angle, w = ((2 * x - 1) * [1.0, 1.0, 0.3, 1.0]).T
    path = []
    for draw in draws:
        seen = np.stack([at, v, angle, w], axis=1)
        right = draw < sigmoid(two_layers(net, np.tanh, seen)[:, 0])
        force = 20.0 * right - 10.0
        s, c = np.sin(angle), np.cos(angle)
        turn = 9.8 * s + c * (-force - m * half * w**2 * s) / total
        turn = turn / (half * (4 / 3 - m * c**2 / total))
        push = (force + m * half * (w**2 * s - turn * c)) / total
        v, w = np.clip(v + 0.04 * push, -10, 10), np.clip(w + 0.04 * turn, -10, 10)
        at, angle = at + 0.04 * v, angle + 0.04 * w
        path.append((seen, right, 1 - np.exp(-((angle / 0.3) ** 2) / 2 - (at / 2) ** 2 / 2)))
    return path


def policy_gradient_loss(net, n, x, y, draws, problem):
    return np.mean([cost for _, _, cost in episodes(net, n, x, draws, problem)])


def reinforce_gradient(params, n, x, draws, problem):
    """Of REINFORCE, pushed back through the two layers by hand, over what is on."""
    width = n["width"]
    net = policy_gradient.cut(params, n, problem)
    path, size = episodes(net, n, x, draws, problem), len(x)
    grads = jax.tree.map(np.zeros_like, params)
    first, second = policy_gradient.cut(grads, n, problem)
    for t, (seen, right, _) in enumerate(path):
        for i in range(size):
            ahead = np.sum([cost for _, _, cost in path[t:]], axis=0) / problem.steps
            better = ahead[i] - np.delete(ahead, i).mean()
            hidden = np.tanh(affine(net[0], seen[i]))
            # Of log pi of the push that was made, with respect to the logit.
            slope = better / size * (right[i] - sigmoid(affine(net[1], hidden)[0]))
            second[0][:, 0] += slope * hidden
            second[1][0] += slope
            back = slope * net[1][0][:, 0] * (1 - hidden**2)
            first[0][...] += seen[i][:, None] * back
            first[1][...] += back
    assert first[0].shape == (4, width)
    return grads


def pushes(task, key, batch):
    return jax.random.uniform(key, (task.problem.steps, batch))


def control_loss(net, n, x, y, draws, problem):
    """Gym's Pendulum-v1: g = 10, 50 ms a step, torque at most 2, speed at most 8."""
    angle, speed, costs = 2 * math.pi * x[:, 0] - math.pi, 2 * x[:, 1] - 1, []
    length, mass = n["length"], n["mass"]
    for _ in range(problem.steps):
        seen = np.stack([np.cos(angle), np.sin(angle), speed], axis=1)
        torque = 2 * np.tanh(two_layers(net, np.tanh, seen)[:, 0])
        wrapped = (angle + math.pi) % (2 * math.pi) - math.pi
        costs.append(np.mean(wrapped**2 + speed**2 / 10 + torque**2 / 1000))
        pull = 3 * 10 / (2 * length) * np.sin(angle) + 3 / (mass * length**2) * torque
        speed = np.clip(speed + 0.05 * pull, -8, 8)
        angle = angle + 0.05 * speed
    return np.mean(costs) / (math.pi**2 + 0.1 * 8**2 + 0.001 * 2**2)


def strategy_gradient(params, n, x, draws, problem):
    leaves, treedef = jax.tree.flatten(params)
    edges = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def cost(leaves):
        net = control.cut(jax.tree.unflatten(treedef, leaves), n, problem)
        return control_loss(net, n, x, None, None, problem)

    total = [np.zeros_like(leaf) for leaf in leaves]
    for row in problem.sigma * draws:
        noise = [
            part.reshape(leaf.shape)
            for part, leaf in zip(np.split(row, edges), leaves, strict=True)
        ]
        up = cost([p + e for p, e in zip(leaves, noise, strict=True)])
        down = cost([p - e for p, e in zip(leaves, noise, strict=True)])
        for sum_, e in zip(total, noise, strict=True):
            sum_ += e * (up - down) / (2 * problem.sigma**2) / len(draws)
    return jax.tree.unflatten(treedef, total)


def strategy_noise(task, key, batch):
    # In the order of the flattened parameters, before the factor sigma.
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(jax.eval_shape(task.init, key)))
    noise = np.asarray(jax.random.normal(key, (task.problem.pairs, size)), np.float64)
    # Only parameters of units that are on are moved.
    on = np.arange(task.problem.max_width) < int(task.numbers["width"])
    first = np.concatenate([on, np.tile(on, 3)])
    return noise * np.concatenate([first, [True], on])


def learned_optimizer_loss(net, n, x, y, draws, problem):
    dimension = x.shape[1]
    curvature = n["condition"] ** (-np.arange(dimension) / (dimension - 1))

    def f(q):
        return np.mean(curvature * q**2, axis=1) / 2

    q = 2 * x - 1
    m, first, losses = np.zeros_like(q), f(q) + 1e-6, []
    for _ in range(problem.steps):
        g = curvature * q
        m = 0.9 * m + 0.1 * g
        rms = np.sqrt(np.mean(g**2, axis=1, keepdims=True) + 1e-8)
        features = np.stack([g / rms, m / rms, 0.1 * np.log(rms) + 0 * g], axis=-1)
        q = q - n["rate"] * two_layers(net, ACTIVATION["silu"], features)[..., 0]
        losses.append(np.mean(10 * np.tanh(f(q) / first / 10)))
    return np.mean(losses)


policy_gradient = Reference(tanh_cut(1), policy_gradient_loss, pushes, reinforce_gradient)
control = Reference(tanh_cut(1), control_loss, strategy_noise, strategy_gradient)
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
    "control": control,
    "policy_gradient": policy_gradient,
    "learned_optimizer": Reference(tanh_cut(1), learned_optimizer_loss),
}
"""By the problem's name."""
