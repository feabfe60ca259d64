"""The rule of `Nominal` in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np


def equalised(x):
    """Three polynomials of the singular values alone, at a root mean square of about .2."""
    u, s, v = np.linalg.svd(x.reshape(-1, x.shape[-1]), full_matrices=False)
    s = s / np.sum(s**8) ** (1 / 8)
    for a, b, c in [(8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365),
                    (2.6613, -1.9772, 0.4526)]:  # fmt: skip
        s = a * s + b * s**3 + c * s**5
    return (0.2 * np.sqrt(max(u.shape[0], v.shape[1])) * (u * s) @ v).reshape(x.shape)


def reference(config, theta, params, grads, total):
    """The rule in float64 NumPy, tensor by tensor, from the equations of the docstrings."""
    theta = jax.tree.map(lambda x: np.asarray(x, np.float64), theta)
    p = {k: np.asarray(x, np.float64) for k, x in params.items()}
    m = {k: [np.zeros(x.shape)] * 3 for k, x in p.items()}
    v = {k: np.zeros(x.shape) for k, x in p.items()}
    row, col = dict.fromkeys(p, 0.0), dict.fromkeys(p, 0.0)
    felt, level = {k: np.zeros(4) for k in p}, dict.fromkeys(p, 0.0)
    bits = jnp.bfloat16 if config.momenta == "bfloat16" else np.float64
    decays, path = (0.5, 0.9, 0.99), []

    def rms(x):
        return np.sqrt(np.mean(x**2))

    def squash(x):
        return np.clip(x / 2, -1, 1)

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
            d1, d2, d3 = (x / (root + 1e-8) for x in hats)
            d4 = hats[1] / (factored + 1e-8)
            d0, d5 = g / (root + 1e-8), w / (rms(w) + 1e-12)
            features = np.stack(
                [
                    squash(np.abs(d0)), squash(np.abs(d1)), squash(2 * np.abs(d2)),
                    squash(4 * np.abs(d3)), squash(4 * d1 * d3), squash(2 * d2 * d5),
                    squash(np.abs(d5)), squash(root / (rms(root) + 1e-12)),
                ],
                -1,
            )  # fmt: skip
            gates = np.eye(6)[2]  # Adam's direction
            if config.hidden:
                net = theta["gate"]
                full = np.concatenate([features, np.broadcast_to(times, (*g.shape, 3))], -1)
                h = np.maximum(0, full @ net["w1"] + net["b1"])
                h = np.maximum(0, h @ net["w2"] + net["b2"])
                gates = h @ net["w3"] + net["b3"]
            mixed = np.sum(gates * np.stack([d0, d1, d2, d3, d4, d5], -1), -1)
            # Of rank above 2 with one side above 1: a vector, shaped for what it multiplies.
            matrix = g.ndim == 2 or np.sum(np.array(g.shape) > 1) >= 2
            if config.orthogonal and matrix:
                mixed = equalised(0.1 * g + 0.9 * hats[1])
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
            if config.feedback:
                # At least as long as a hundredth of the gradient: zero before the first step.
                length = max(np.linalg.norm(before), 0.01 * np.linalg.norm(g))
                cosine = np.sum(before * g) / (length * np.linalg.norm(g))
                fast, slow, shift, squares = felt[name]
                fast, slow = 0.8 * fast + 0.2 * cosine, 0.98 * slow + 0.02 * cosine
                squares = 0.98 * squares + 0.02 * cosine**2
                stats = np.append(stats, [*(3 * np.array([fast, slow, *common])), shift])
            net = theta["controller"]
            control = stats @ net["skip"]
            if config.controller_hidden:
                control = control + np.tanh(stats @ net["w1"] + net["b1"]) @ net["w2"]
            control = np.clip(control, -5, 5)
            if config.feedback:
                shift = np.clip(shift + control[2] / (t + 10), -5, 5)
                felt[name] = np.array([fast, slow, shift, squares])
                control[0] += shift
                if config.selective:
                    control[1] -= 5 * np.exp(3 * theta["log_selectivity"]) * abs(slow)
                if config.paced:
                    slope, knee = (np.exp(3 * theta["pace"][k]) for k in ("log_slope", "log_knee"))
                    agreed = np.sqrt(squares / (1 - 0.98 ** (t + 1)))
                    control[0] += 15 * slope * min(0.0, agreed - 0.4 * knee)
            held = 0.0
            if config.damped:
                learned = {k: np.exp(3 * x) for k, x in theta["damping"].items()}
                start, ratio = 4.0, rms(g) / rms(root)
                if config.bounded:
                    level[name] += 2 / (t + 2) * (np.mean(g**2) - level[name])
                    start, ratio = 2.5, rms(g) / np.sqrt(level[name])
                factor = min(1.0, np.exp(start * learned["log_start"]) * (ratio + 1e-4))
                factor **= learned["log_power"]
                control[0] += np.log(factor)
                held -= learned.get("log_kept", 0.0) * np.log(factor)
            if config.bounded:
                power = 2 * np.exp(3 * theta["log_bound"])
                held += power * np.log(rms(w) * np.sqrt(fan_in))
            control[1] += np.clip(held, -5, 5)
            control = np.exp(control)
            decay = config.weight_decay * np.exp(3 * theta["log_decay"])
            if config.fading:
                decay *= (a / peak) ** np.exp(3 * theta["log_fade"])
            p[name] = w - a * (control[0] * mixed + decay * control[1] * w)
        path.append(dict(p))
    return path
