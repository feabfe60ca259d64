"""learned-opt list, show, import: what they print is what is so."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import learned_opt
from learned_opt import OPTIMIZERS, Celo2, __main__, _listing
from learned_opt.artifacts import _artifact

SIZES = (1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 3, 3, 3, 3)


@pytest.fixture
def run(capsys):
    """Exit status, standard output and standard error of a call."""

    def run(*argv):
        status = __main__.main(argv)
        out, err = capsys.readouterr()
        assert all(len(line) <= 100 or "written to" in line for line in out.splitlines())
        return status, out, err

    return run


@pytest.fixture
def weights(tmp_path):
    shapes = {f"w0__{i}": (size, 8) for i, size in enumerate(SIZES)}
    shapes |= {"b0": (8,), "w1": (8, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)}
    rng = np.random.default_rng(0)
    arrays = {f"ff_mod_stack.~.{k}": rng.normal(size=s) for k, s in shapes.items()}
    np.savez(tmp_path / "celo2.npz", **arrays)
    return tmp_path / "celo2.npz"


def test_list_has_every_optimizer_with_what_it_measures(run):
    status, out, _ = run("list")
    assert status == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    params = {"w": jnp.zeros((256, 256)), "b": jnp.zeros(256)}
    for cls in OPTIMIZERS:
        optimizer = cls()
        theta = jax.eval_shape(optimizer.init, jax.random.key(0))
        init = lambda theta: cls().transform(theta, num_steps=100).init(params)  # noqa: E731, B023
        state = jax.eval_shape(init, theta)
        floats = [x.size for x in jax.tree.leaves(state) if x.dtype == jnp.float32]
        name, numbers, each, operations, *words = rows[cls.name].split()
        assert name == cls.name
        assert int(numbers.replace(",", "")) == sum(x.size for x in jax.tree.leaves(theta))
        assert float(each) == pytest.approx(sum(floats) / 65_792, abs=0.005)
        assert cls.__doc__.strip().startswith(" ".join(words))
        assert f"Use: {cls.use}" in " ".join(out.split())
        # Adam does about 15 operations a parameter, and none of them less.
        assert 12 <= float(operations) < 10_000


def test_list_cites_every_source(run):
    _, out, _ = run("list")
    text = " ".join(out.split())
    assert 'Metz et al. 2022, "VeLO".' in text
    assert '2022, "Practical tradeoffs between memory, compute, and performance in' in text
    assert "source: not given" not in text
    assert "around any: learned_opt.scale_by_mup, learned_opt.with_fallback" in text


def test_list_is_made_of_the_classes(run, monkeypatch):
    monkeypatch.setattr(_listing, "OPTIMIZERS", (Celo2,))
    _, out, _ = run("list")
    assert "\ngated_adam" not in out
    row = next(line.split() for line in out.splitlines() if line.startswith("celo2"))
    # Three momenta and v, and three row and column sums of the matrix; two moments of the bias.
    each = (4 * 65_536 + 2 * 3 * 256 + 2 * 256) / 65_792
    assert row[1:3] == ["347", f"{each:.2f}"]
    assert "Moudgil, Knyazev, Belilovsky 2026" in out


def test_list_has_the_artifacts(run):
    _, out, _ = run("list")
    text = " ".join(out.split())
    for name in learned_opt.available():
        artifact = learned_opt.load(name)
        count = sum(x.size for x in jax.tree.leaves(artifact.theta))
        optimizer = artifact.optimizer.name
        assert f"{name} {optimizer} of {count:,} numbers, {artifact.sha256[:12]}" in text
        assert f"command: {artifact.card['command']}" in text


def test_show_prints_the_whole_card(run):
    artifact = learned_opt.load("quickstart")
    status, out, _ = run("show", "quickstart")
    assert status == 0
    text = " ".join(out.split())
    assert artifact.sha256 in out
    assert str(artifact.optimizer) in text

    def leaves(value):
        if isinstance(value, dict):
            return [leaf for v in value.values() for leaf in leaves(v)]
        return [value if isinstance(value, str) else json.dumps(value)]

    found = leaves(artifact.card)
    assert len(found) > 20
    assert all(leaf in text for leaf in found)


def test_import_writes_an_artifact_that_show_shows(run, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(_artifact, "OPTIMIZERS", (Celo2,))
    out_path = str(tmp_path / "mine.safetensors")
    status, out, _ = run("import", "celo2", str(weights), "--out", out_path)
    assert status == 0
    again = learned_opt.load(out_path)
    assert (
        f"published-celo2: celo2 of 347 numbers, {again.sha256[:12]}\nwritten to {out_path}\n"
        == out
    )
    with np.load(weights) as file:
        want = Celo2.from_published(dict(file))
    jax.tree.map(np.testing.assert_array_equal, again.theta, want)
    _, out, _ = run("show", out_path)
    assert f"sha256: {hashlib.sha256(weights.read_bytes()).hexdigest()}" in out
    assert "Celo2: Towards Learned Optimization Free Lunch" in " ".join(out.split())


def test_mistakes_are_one_sentence_and_status_2(run, weights, tmp_path):
    target = str(tmp_path / "x.safetensors")
    nowhere = str(tmp_path / "none" / "x.safetensors")
    for argv, message in (
        (["show", "quickstrt"], "did you mean 'quickstart'?"),
        (["show", nowhere], "there is no such file"),
        (["import", "celo3", str(weights), "--out", target], "kind must be one of celo, "),
        (["import", "celo2", nowhere, "--out", target], f"cannot read {nowhere}: No such file"),
        (["import", "celo2", str(weights), "--out", "x.npz"], "of a .safetensors file, got 'x.npz"),
        (["import", "celo2", str(weights), "--out", nowhere], "No such file or directory"),
        (["import", "open", str(weights), "--out", target], "it must hold one vector, got 19"),
    ):
        status, out, err = run(*argv)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert message in err
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize("argv", [[], ["lost"], ["import", "celo2", "x.npz"], ["show"]])
def test_the_wrong_words_show_the_usage(argv, capsys):
    with pytest.raises(SystemExit) as error:
        __main__.main(argv)
    assert error.value.code == 2
    assert "usage: learned-opt" in capsys.readouterr().err
