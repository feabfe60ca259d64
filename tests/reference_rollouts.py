"""Losses of many steps in a row, and their gradients, in NumPy and float64: see `references`."""

import math

import jax
import numpy as np
from reference_layers import ACTIVATION, affine, sigmoid, tanh_cut, two_layers

one_layer = tanh_cut(1)


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
    net = one_layer(params, n, problem)
    path, size = episodes(net, n, x, draws, problem), len(x)
    grads = jax.tree.map(np.zeros_like, params)
    first, second = one_layer(grads, n, problem)
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
        net = one_layer(jax.tree.unflatten(treedef, leaves), n, problem)
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
