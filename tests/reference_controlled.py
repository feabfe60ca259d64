"""`GatedAdam`, `Spectral`, `SpectralGRU` in float64 NumPy, from the equations of their docstrings.

Tensor by tensor; what they share is here once, as it is there.
"""

import jax
import jax.numpy as jnp
import numpy as np

from learned_opt import GatedAdam, SpectralGRU


def equalised(x):
    """Three polynomials of the singular values alone, at a root mean square of about .2."""
    u, s, v = np.linalg.svd(x.reshape(-1, x.shape[-1]), full_matrices=False)
    s = s / np.sum(s**8) ** (1 / 8)
    for a, b, c in [(8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365),
                    (2.6613, -1.9772, 0.4526)]:  # fmt: skip
        s = a * s + b * s**3 + c * s**5
    return (0.2 * np.sqrt(max(u.shape[0], v.shape[1])) * (u * s) @ v).reshape(x.shape)


def rms(x):
    return np.sqrt(np.mean(x**2))


def reference(config, theta, params, grads, total, losses=None, epochs=None):
    """Parameters after each step."""
    spectral, gru = not isinstance(config, GatedAdam), isinstance(config, SpectralGRU)
    progress = loss_progress(losses or [None] * len(grads), 1e4 if config.horizon_free else total)
    theta = jax.tree.map(lambda x: np.asarray(x, np.float64), theta)
    p = {k: np.asarray(x, np.float64) for k, x in params.items()}
    m = {k: [np.zeros(x.shape)] * 3 for k, x in p.items()}
    v = {k: np.zeros(x.shape) for k, x in p.items()}
    row, col = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    felt, level = {k: np.zeros(3) for k in p}, dict.fromkeys(p, 0.0)
    last = dict.fromkeys(p, 0.0)
    hidden = {k: np.zeros(config.hidden if gru else 0) for k in p}
    is_matrix = {k: x.ndim == 2 or np.sum(np.array(x.shape) > 1) >= 2 for k, x in p.items()}
    bits = jnp.bfloat16 if config.momenta == "bfloat16" else np.float64
    decays, path = (0.5, 0.9, 0.99), []
    for t, grad in enumerate(grads):
        s = t / total
        peak = a = config.learning_rate * np.exp(3 * theta["log_lr"])
        power = np.exp(theta["log_power"])
        if config.horizon_free:
            a *= min(1.0, (t + 1) / 50) * (1 + t / 100) ** (-power / 2)
            times = np.array([np.log10(t + 1) - 2, np.exp(-t / 100), np.exp(-t / 1000)])
        else:
            a *= min(1.0, (t + 1) / max(1.0, config.warmup * total)) * (1 - s) ** power
            times = np.array([s, np.exp(-10 * s), np.log10(total) - 2.5])
        common = np.mean([felt[k][:2] for k in p], 0)
        h_before = dict(hidden)
        for name in p:
            g, w = np.asarray(grad[name], np.float64), p[name]
            before = m[name][1]
            m[name] = [
                (b * x + (1 - b) * g).astype(bits).astype(np.float64)
                for b, x in zip(decays, m[name], strict=True)
            ]
            v[name] = 0.999 * v[name] + 0.001 * g**2
            hats = [x / (1 - b ** (t + 1)) for b, x in zip(decays, m[name], strict=True)]
            correction = 1 - 0.999 ** (t + 1)
            root = np.sqrt(v[name] / correction)
            factored = root
            if g.ndim >= 2:
                order = np.argsort(g.shape, kind="stable")
                big, second = int(order[-1]), int(order[-2])
                row[name] = 0.999 * row[name] + 0.001 * np.mean(g**2, big, keepdims=True)
                col[name] = 0.999 * col[name] + 0.001 * np.mean(g**2, second, keepdims=True)
                r, c = row[name] / correction, col[name] / correction
                factored = np.sqrt(r * c / np.mean(r, second, keepdims=True))
                if config.factored:
                    root = factored
            # Of rank above 2 with one side above 1: a vector, shaped for what it multiplies.
            matrix = is_matrix[name]
            fan_in, fan_out = (g.size // g.shape[-1], g.shape[-1]) if matrix else (1, g.size)
            stats = np.array(
                [
                    np.log(fan_in) / 2 - 2, np.log(fan_out) / 2 - 2, float(matrix),
                    np.log(rms(w) + 1e-4) / 2 + 1, np.log(rms(g) / rms(root) + 1e-4),
                    np.log(rms(hats[0]) / rms(root) + 1e-4),
                    np.log(rms(hats[1]) / rms(root) + 1e-4) + 1,
                    np.log(rms(hats[2]) / rms(root) + 1e-4) + 2,
                    4 * np.mean(hats[1] * w) / (rms(hats[1]) * rms(w)), *times,
                ]
            )  # fmt: skip
            net = theta["controller"]
            decay = config.weight_decay * np.exp(3 * theta["log_decay"])
            if not spectral:
                control = stats @ net["skip"] + np.tanh(stats @ net["w1"] + net["b1"]) @ net["w2"]
                control = np.clip(control, -5, 5)
                direction = gated(theta["gate"], g, w, hats, root, factored, times)
            else:
                # At least as long as a hundredth of the gradient: zero before the first step.
                length = max(np.linalg.norm(before), 0.01 * np.linalg.norm(g))
                cosine = np.sum(before * g) / (length * np.linalg.norm(g))
                fast, slow, shift = felt[name]
                fast, slow = 0.8 * fast + 0.2 * cosine, 0.98 * slow + 0.02 * cosine
                stats = np.append(stats, [*(3 * np.array([fast, slow, *common])), shift])
                control = stats @ net["skip"][: len(stats)]
                if gru:
                    ratio = last[name] / (last[name] + rms(w))
                    told = [0, 0] if epochs is None else [1, np.log(1 + epochs) / 2 - 1]
                    stats = [*stats, np.log(ratio + 1e-4) / 2 + 2, *progress[t], *told]
                    alike = [k for k in p if is_matrix[k] == matrix]
                    means = [np.mean([h_before[k] for k in ks], 0) for ks in (p, alike)]
                    hidden[name] = gru_step(net, np.concatenate([stats, *means]), hidden[name])
                    control = stats @ net["skip"] + hidden[name] @ net["head"]["w"]
                    control += net["head"]["b"]
                control = np.clip(control, -5, 5)
                q, share = (np.tanh(control[3]), max(0, np.tanh(control[4]))) if gru else (0, 0)
                m_q = q * (q - 1) / 2 * hats[0] + (1 - q**2) * hats[1] + q * (q + 1) / 2 * hats[2]
                direction = m_q / root
                if matrix:
                    equal = equalised(0.1 * g + 0.9 * m_q)
                    direction = (1 - share) * equal + share * direction
                shift = np.clip(shift + control[2] / (t + 10), -5, 5)
                felt[name] = np.array([fast, slow, shift])
                learned = {k: np.exp(3 * x) for k, x in theta["damping"].items()}
                level[name] += 2 / (t + 2) * (np.mean(g**2) - level[name])
                ratio = rms(g) / np.sqrt(level[name]) + 1e-4
                damped = learned["log_power"] * min(0.0, 2.5 * learned["log_start"] + np.log(ratio))
                scale = 2 * np.exp(3 * theta["log_bound"]) * np.log(rms(w) * np.sqrt(fan_in))
                held = np.clip(scale - learned["log_kept"] * damped, -5, 5)
                held -= 5 * np.exp(3 * theta["log_selectivity"]) * abs(slow)
                control = control[:2] + np.array([shift + damped, held])
                decay *= (a / peak) ** np.exp(3 * theta["log_fade"])
            control = np.exp(control)
            last[name] = a * control[0]
            p[name] = w - a * (control[0] * direction + decay * control[1] * w)
        path.append(dict(p))
    return path


def gru_step(net, x, h):
    """The new state of one tensor."""
    size = len(h)
    a, b = x @ net["inputs"]["w"] + net["inputs"]["b"], h @ net["memory"]["w"]
    r, z = (1 / (1 + np.exp(-(a + b)[k * size : (k + 1) * size])) for k in range(2))
    return (1 - z) * np.tanh(a[2 * size :] + r * b[2 * size :]) + z * h


def loss_progress(losses, total):
    """Five features after each of `losses`, all given or all None; jumps not above the cap."""
    taus, rows, least = [10 ** (1 - k / 3) * total ** (k / 3) for k in range(4)], [], np.inf
    for t in range(len(losses)):
        if losses[0] is None:
            rows.append(np.zeros(5))
            continue
        past = np.asarray(losses[: t + 1], np.float64)
        weights = [np.exp(-np.arange(t + 1)[::-1] / tau) for tau in taus]
        c = [np.sum(w * past) / np.sum(w) for w in weights]
        least = min(least, c[0])
        pairs = [(c[1], c[0]), (c[2], c[1]), (c[3], c[2]), (c[0], least)]
        r = np.array([(x - y) / (abs(x) + abs(y)) for x, y in pairs])
        rows.append(np.array([1, *(r / (abs(r) + 0.05))]))
    return rows


def gated(net, g, w, hats, root, factored, times):
    """The directions of a tensor, each times its gate."""
    squash = lambda x: np.clip(x / 2, -1, 1)  # noqa: E731
    d1, d2, d3 = (x / (root + 1e-8) for x in hats)
    d0, d4, d5 = g / (root + 1e-8), hats[1] / (factored + 1e-8), w / (rms(w) + 1e-12)
    features = np.stack(
        [
            squash(np.abs(d0)), squash(np.abs(d1)), squash(2 * np.abs(d2)),
            squash(4 * np.abs(d3)), squash(4 * d1 * d3), squash(2 * d2 * d5),
            squash(np.abs(d5)), squash(root / (rms(root) + 1e-12)),
        ],
        -1,
    )  # fmt: skip
    h = np.concatenate([features, np.broadcast_to(times, (*g.shape, 3))], -1)
    for i in (1, 2):
        h = np.maximum(0, h @ net[f"w{i}"] + net[f"b{i}"])
    gates = h @ net["w3"] + net["b3"]
    return np.sum(gates * np.stack([d0, d1, d2, d3, d4, d5], -1), -1)
