"""VeLO, Celo and Celo-Adam once more: plain NumPy in float64, from the formulas, features last."""

import jax
import numpy as np

DECAYS = np.array([0.9, 0.99, 0.999])
TIMES = np.array([0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1])


def float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def loss_features(losses, num_steps, published=False):
    """The nine features after each of `losses`; None is a loss not given."""
    decays = np.exp(-1 / np.logspace(1, np.log10(num_steps), 10))
    means, minima, seen, rows = np.zeros(10), np.full(10, np.inf), 0, []
    for loss in losses:
        if loss is None:
            rows.append(np.zeros(9))
            continue
        if seen > 0:
            held = 1 - decays ** (seen + 1 if published else seen)
            loss = min(loss, 2 * abs(np.max(means / held)))
        seen += 1
        means = decays * means + (1 - decays) * loss
        c = means / (1 - decays**seen)
        minima = np.minimum(minima, c)
        f = [
            np.clip((c[i] - minima[i]) / max(1e-8, c[i + 1] - minima[i]) - 1, -1, 1)
            for i in range(9)
        ]
        rows.append(np.array(f) if seen > 2 else np.zeros(9))
    return np.array(rows)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(net, rows, hidden, cell):
    """New hidden and cell states of every row, (rows, size) each."""
    size = hidden.shape[1]
    pooled = np.zeros(size)  # relu: never below zero
    for x in rows:
        pooled = np.maximum(pooled, x @ net["pool"]["w"] + net["pool"]["b"])
    new_hidden, new_cell = np.zeros_like(hidden), np.zeros_like(cell)
    for j, x in enumerate(rows):
        x = x @ net["own"]["w"] + net["own"]["b"] + pooled
        gates = np.concatenate([x, hidden[j]]) @ net["gates"]["w"] + net["gates"]["b"]
        i, g, f, o = (gates[k * size : (k + 1) * size] for k in range(4))
        new_cell[j] = sigmoid(f + 1) * cell[j] + sigmoid(i) * np.tanh(g)
        new_hidden[j] = sigmoid(o) * np.tanh(new_cell[j])
    return new_hidden, new_cell


class Averages:
    """EMAs for one tensor, on a last axis of three where there are three decays."""

    def __init__(self, shape):
        self.m, self.v, self.row, self.col = np.zeros((*shape, 3)), np.zeros((*shape, 1)), 0, 0

    def update(self, g):
        """The 30 features of every element but p, which comes third: (*shape, 29)."""
        axes = np.argsort(g.shape, kind="stable")
        g = g[..., None]
        square = g**2 + 1e-30
        self.m = DECAYS * self.m + (1 - DECAYS) * g
        self.v = 0.999 * self.v + 0.001 * g**2
        m, v, one = self.m, self.v, np.ones((*g.shape[:-1], 3))
        if len(axes) < 2:
            self.row = self.col = DECAYS * self.row + (1 - DECAYS) * square
            of_g, of_m = 1 / np.sqrt(self.row + 1e-9), 1 / np.sqrt(self.row)
        else:
            largest, second = int(axes[-1]), int(axes[-2])
            mean_row = square.mean(largest, keepdims=True)
            mean_col = square.mean(second, keepdims=True)
            self.row = DECAYS * self.row + (1 - DECAYS) * mean_row
            self.col = DECAYS * self.col + (1 - DECAYS) * mean_col
            ratio = self.row / (self.row.mean(second, keepdims=True) + 1e-9)
            of_g = of_m = 1 / np.sqrt(np.maximum(ratio, 1e-9) * np.maximum(self.col, 1e-9))
        root = 1 / np.sqrt(v + 1e-6)
        row, col = self.row * one, self.col * one
        groups = [g, np.clip(g, -0.1, 0.1), m, v, m * root, root, g * of_g, g * root]
        groups += [row, col, 1 / np.sqrt(row + 1e-8), 1 / np.sqrt(col + 1e-8), m * of_m]
        return np.concatenate(groups, -1)


def mlp(net, averages, g, p):
    """First and second output for every element."""
    x = averages.update(g)
    x = np.concatenate([x[..., :2], p[..., None], x[..., 2:]], -1)
    x = x / np.sqrt(1e-5 + np.mean(x**2, tuple(range(p.ndim))))
    for i in (1, 2):
        x = np.maximum(0, x @ net[f"w{i}"] + net[f"b{i}"])
    x = x @ net["w3"] + net["b3"]
    return x[..., 0], x[..., 1]


def scale_of(p, published):
    rms = np.sqrt(np.mean(p**2) + 1e-9)
    return rms if published else max(0.01, rms)


def tensor_features(p, averages, published):
    """What Hypernet's LSTM sees of a tensor after time and loss, (12,)."""
    size = max(1e-9 if published else 1e-4, np.mean(p**2))

    def squashed(x):
        return 0.5 * np.clip(np.log(1e-8 + abs(10 * x)), -5, 5)

    rank = np.zeros(5)
    rank[sum(n > 1 for n in p.shape)] = 1
    v = averages.v[..., 0]
    m = [averages.m[..., k] for k in range(3)]
    return np.array(
        [squashed(v.mean() / np.sqrt(size)), *rank]
        + [squashed(np.mean((x - x.mean()) ** 2) / size) for x in m]
        + [squashed(np.mean((v - (x if published else v).mean()) ** 2) / size) for x in m]
    )


def hypernet(theta, params, grads, losses, num_steps, published=False):
    """Parameters after each step."""
    theta, p = float64(theta), float64(params)
    averages = {k: Averages(x.shape) for k, x in p.items()}
    names = sorted(p)
    hidden, cell = (np.tile(theta["lstm"][k], (len(p), 1)) for k in ("hidden", "cell"))
    features, path = loss_features(losses, num_steps, published), []
    for t, grad in enumerate(grads):
        common = [*np.tanh(10 * (t / num_steps - TIMES)), *features[t]]
        rows = [np.r_[common, tensor_features(p[k], averages[k], published)] for k in names]
        hidden, cell = lstm(theta["lstm"], rows, hidden, cell)
        for j, name in enumerate(names):
            c = hidden[j] @ theta["mixture"]["w"] + theta["mixture"]["b"]
            a = (hidden[j] @ theta["step_size"]["w"] + theta["step_size"]["b"])[0]
            bank = theta["bank"].items()
            net = {
                k: 100 * np.mean([ci * w for ci, w in zip(c, ws, strict=True)], 0) for k, ws in bank
            }
            g = np.clip(np.asarray(grad[name], np.float64), -1000, 1000)
            d, mu = mlp(net, averages[name], g, p[name])
            step = 0.001 * a * d * np.exp(0.001 * mu)
            p[name] = p[name] - step * scale_of(p[name], published)
        path.append(dict(p))
    return path


def step_sizes(net, losses, num_steps, published=False):
    """Celo's eta at each step."""
    hidden, cell, etas = net["hidden"][None], net["cell"][None], []
    for t, features in enumerate(loss_features(losses, num_steps, published)):
        x = np.r_[np.tanh(10 * (t / num_steps - TIMES)), features]
        hidden, cell = lstm(net, [x], hidden, cell)
        etas.append(0.1 * np.exp(hidden[0] @ net["step_size"]["w"] + net["step_size"]["b"])[0])
    return etas


def celo(theta, params, grads, losses, num_steps, published=False):
    """Parameters after each step."""
    theta, p = float64(theta), float64(params)
    averages, path = {k: Averages(x.shape) for k, x in p.items()}, []
    etas = step_sizes(theta["scheduler"], losses, num_steps, published)
    for eta, grad in zip(etas, grads, strict=True):
        for name in p:
            g = np.clip(np.asarray(grad[name], np.float64), -1000, 1000)
            d, mu = mlp(theta["mlp"], averages[name], g, p[name])
            step = 0.001 * eta * d * np.exp(0.001 * mu)
            p[name] = p[name] - step * scale_of(p[name], published)
        path.append(dict(p))
    return path


def celo_adam(theta, params, grads, losses, num_steps, published=False):
    """Parameters after each step."""
    theta, p = float64(theta), float64(params)
    m, v, path = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0), []
    etas = step_sizes(theta["scheduler"], losses, num_steps, published)
    for t, (eta, grad) in enumerate(zip(etas, grads, strict=True), 1):
        for name in p:
            g = np.clip(np.asarray(grad[name], np.float64), -1000, 1000)
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            root = 1e-8 + np.sqrt(v[name] / (1 - 0.999**t) + 1e-10)
            p[name] = p[name] - 0.001 * eta * m[name] / (1 - 0.9**t) / root
        path.append(dict(p))
    return path
