"""The generalisation grid: cells change what they say, and results are what the runs were."""

import collections
import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import learned_opt.eval.tuning._tune
from learned_opt.eval import Hyper, Runner, Trial
from learned_opt.eval.baselines import ADAMW
from learned_opt.eval.grid._cells import BASE, Cell, grid
from learned_opt.eval.grid._outcomes import LEARNED, grid_results
from learned_opt.eval.tuning import TUNE_SEEDS
from learned_opt.tasks import (
    EvalTask,
    FamilySpec,
    full_loss,
    inner_init,
    inner_step,
    parameter_count,
)
from learned_opt.tasks.problems import MLP, PROBLEMS, Conv

CELLS = grid()
SEEDS = range(100, 105)
UNTUNED = Hyper(1.0, 0.0)


def on(axis):
    return {cell.value: cell for cell in CELLS if cell.axis == axis}


def parameters(width, depth):
    """Of a 64-w-...-w-10 network."""
    return 65 * width + (depth - 1) * (width + 1) * width + 10 * (width + 1)


# --- cells -------------------------------------------------------------------------------------


def test_axes_and_values():
    got = collections.defaultdict(list)
    for cell in CELLS:
        got[cell.axis].append(cell.value)
    assert got == {
        "base": [1],
        "horizon": [2, 5, 10],
        "width": [4, 16],
        "depth": [2, 4],
        "batch at equal steps": [32, 256, 2048],
        "batch at equal examples": [32, 256, 2048],
        "activation": ["tanh", "silu"],
        "norm": ["layer"],
        "init": [0.1, 10],
        "loss scale": [1e-3, 1e3],
        "precision": ["bfloat16"],
        "data": ["wine", "breast_cancer", "diabetes", "letters/8"],
        "architecture": ["conv", "lstm", "transformer", "autoencoder"],
        "told horizon": [0.5, 2, 10],
    }
    assert CELLS[0].task == BASE
    assert len({cell.task.name for cell in CELLS}) == len(CELLS)
    assert all(cell.task.variant_of == BASE.name for cell in CELLS[1:])
    assert not {" ", ","} & set("".join(cell.task.name for cell in CELLS))


def changed(task):
    """Names of all facts that differ from the base's."""
    base, facts = BASE, []
    if isinstance(task.spec.problem, MLP):
        of, by = base.spec.problem, task.spec.problem
        facts += [
            f.name for f in dataclasses.fields(of) if getattr(of, f.name) != getattr(by, f.name)
        ]
        facts += [k for k, v in task.numbers if dict(base.numbers)[k] != v]
    else:
        facts += ["problem"]
    facts += [
        name
        for name in ("data", "batch_size", "augmentations")
        if getattr(base.spec, name) != getattr(task.spec, name)
    ]
    facts += ["horizon"] * (base.horizon != task.horizon) + ["tier"] * (base.tier != task.tier)
    return set(facts)


@pytest.mark.parametrize(
    ("axis", "facts"),
    [
        ("base", set()),
        ("horizon", {"horizon"}),
        ("told horizon", set()),
        ("width", {"max_width", "widths", "width"}),
        ("depth", {"max_depth", "depths", "depth"}),
        ("batch at equal steps", {"batch_size"}),
        ("batch at equal examples", {"batch_size", "horizon"}),
        ("activation", {"activation"}),
        ("init", {"gain"}),
        ("loss scale", {"augmentations"}),
        ("precision", {"augmentations"}),
        ("data", {"data"}),
        ("norm", {"problem"}),
    ],
)
def test_a_cell_changes_nothing_but_its_axis(axis, facts):
    for cell in on(axis).values():
        assert changed(cell.task) == facts
        assert cell.told == (cell.value if axis == "told horizon" else 1)


def test_architectures_keep_data_and_batch_but_for_text():
    for cell in on("architecture").values():
        text = cell.value in ("lstm", "transformer")
        assert changed(cell.task) == {"problem"} | ({"data", "batch_size"} if text else set())
        assert cell.task.network == cell.value


def test_sizes_horizons_and_examples_are_the_multiples_they_say():
    assert parameter_count(BASE.member) == parameters(32, 1)
    for by, cell in on("width").items():
        assert parameter_count(cell.task.member) == parameters(32 * by, 1)
    for by, cell in on("depth").items():
        assert parameter_count(cell.task.member) == parameters(32, by)
    for by, cell in on("horizon").items():
        assert cell.task.horizon == by * BASE.horizon
    for size, cell in on("batch at equal steps").items():
        assert (cell.task.spec.batch_size, cell.task.horizon) == (size, BASE.horizon)
    for size, cell in on("batch at equal examples").items():
        assert cell.task.spec.batch_size == size
        assert size * cell.task.horizon == 64 * BASE.horizon


init = jax.jit(lambda task: task.init(jax.random.key(0)))
validation = jax.jit(lambda family, task, params: full_loss(family, task, params, "outer_valid")[0])


@jax.jit
def gradient(family, task):
    batch = family.batch(task, jax.random.key(1), "train")
    params = task.init(jax.random.key(0))
    return jax.grad(lambda p: task.loss(p, batch, jax.random.key(0))[0])(params)


@pytest.mark.parametrize(("axis", "by"), [("width", 16), ("depth", 4)])
def test_all_units_of_wide_and_deep_networks_act(axis, by):
    """No layer passes its input on, no unit is off, but for relus that rest on 64 examples."""
    task = on(axis)[by].task
    for g in jax.tree.leaves(gradient(task.family, task.member)):
        columns = np.abs(g).reshape(-1, g.shape[-1]).max(0)
        assert np.mean(columns > 0) > 0.7


def test_initial_scale_and_loss_scale():
    params = init(BASE.member)
    loss = float(validation(BASE.family, BASE.member, params))
    for by, cell in on("init").items():
        for a, b in zip(*map(jax.tree.leaves, (init(cell.task.member), params)), strict=True):
            np.testing.assert_allclose(a, by * b, rtol=1e-5)
    for by, cell in on("loss scale").items():
        got = float(validation(cell.task.family, cell.task.member, params))
        assert got == pytest.approx(by * loss, rel=1e-5)
    task = on("precision")["bfloat16"].task
    got = float(validation(task.family, task.member, params))
    assert got == pytest.approx(loss, rel=0.02)
    assert got != loss


@jax.jit
def one_step(family, task):
    tx = optax.with_extra_args_support(optax.sgd(1e-3))
    start = inner_init(task, tx, jax.random.key(0))
    state, loss = inner_step(family, tx, start, jax.random.key(1))
    moved = jax.tree.map(lambda a, b: jnp.any(a != b), state.params, start.params)
    finite = jax.tree.map(lambda x: jnp.isfinite(x).all(), (loss, state.params))
    return loss, finite, moved


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.task.name)
def test_every_cell_builds_and_takes_a_finite_step(cell):
    loss, finite, moved = one_step(cell.task.family, cell.task.member)
    assert float(loss) > 0
    assert all(jax.tree.leaves(finite))
    assert all(jax.tree.leaves(moved))
    assert cell.task.network in PROBLEMS


def test_a_grid_of_another_base():
    """The multiples are of its numbers; its own data, batch size and activation are no cells."""
    numbers = (("width", 8), ("depth", 2), ("activation", 1), ("gain", 0.5))
    base = EvalTask("other", FamilySpec(MLP(), "wine", 256), numbers, 100)
    cells = {(cell.axis, cell.value): cell.task for cell in grid(base)}
    assert dict(cells["width", 16].numbers)["width"] == 128
    assert dict(cells["depth", 4].numbers)["depth"] == 8
    assert dict(cells["init", 10].numbers)["gain"] == 5
    assert cells["batch at equal examples", 2048].horizon == 12  # 12.5 batches
    assert ("batch at equal steps", 256) not in cells
    assert ("data", "wine") not in cells
    assert ("data", "digits") in cells
    assert {value for axis, value in cells if axis == "activation"} == {"relu", "silu"}


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (EvalTask("c", FamilySpec(Conv(), "digits")), "got 'c': conv that sets nothing; take BASE"),
        (EvalTask("m", FamilySpec(MLP(), "digits"), (("width", 8),)), "'m': mlp that sets width;"),
    ],
)
def test_a_base_that_is_no_mlp_is_refused(base, message):
    with pytest.raises(ValueError, match=message):
        grid(base)


# --- results -----------------------------------------------------------------------------------

SMALL = tuple(
    cell for cell in CELLS if (cell.axis, cell.value) in {("base", 1), ("width", 4), ("init", 10)}
)
HARD = "grid~width-4"


class Fake:
    """Loss by formula: the learned optimizer's is `learned`, the baseline's 10^distance.

    The distance is that of the learning rate from the best of the task, in decades, plus a tenth
    where weight decay is not 0.1, plus a hundredth of the seed's last digit.
    """

    def __init__(self, learned=0.5, best=None, diverged=()):
        self.learned, self.diverged = learned, diverged
        self.best, self.seen = best or {}, []

    def __call__(self, optimizer, trials):
        self.seen += [(optimizer, trial) for trial in trials]
        return [self.loss(optimizer, trial) for trial in trials]

    def loss(self, optimizer, trial):
        if (optimizer, trial.task.name, trial.seed) in self.diverged:
            return math.inf
        noise = 10 ** (0.01 * (trial.seed % 10))
        if optimizer == LEARNED:
            return self.learned * noise
        away = abs(math.log10(trial.hyper.lr / self.best.get(trial.task.name, 1e-2)))
        return 10 ** (away + 0.1 * (trial.hyper.wd != 0.1)) * noise

    def trials(self, optimizer, name):
        return [t for o, t in self.seen if o == optimizer and t.task.name == name]


def results(fake, cells=SMALL):
    found = grid_results(cells, fake, untuned=UNTUNED, seeds=SEEDS)
    assert [r.task for r in found] == [c.task.name for c in cells]
    return {r.task: r for r in found}


def test_ratios_of_known_losses():
    """The width's best learning rate is a decade below the base's: transferred costs tenfold."""
    found = results(Fake(best={HARD: 1e-3}))
    base, hard = found[BASE.name], found[HARD]
    for result in found.values():
        np.testing.assert_allclose(result.over_retuned, 0.5, rtol=1e-3)
        assert result.learned == pytest.approx(0.5 * 10**0.02, rel=1e-6)
        assert result.retuned == pytest.approx(10**0.02, rel=1e-3)
        assert (result.seeds, result.diverged, result.diverged_retuned) == (5, 0, 0)
    np.testing.assert_allclose(base.over_transferred, 0.5, rtol=1e-3)
    np.testing.assert_allclose(hard.over_transferred, 0.05, rtol=1e-3)
    assert hard.transferred == pytest.approx(10**1.02, rel=1e-3)
    assert (hard.lr_retuned, hard.lr_transferred) == pytest.approx((1e-3, 1e-2), rel=1e-3)
    assert (hard.axis, hard.value, hard.horizon, hard.told) == ("width", 4, 320, 1)


def test_all_of_the_bases_settings_but_the_learning_rate_are_kept():
    fake = Fake(best={HARD: 1e-3})
    found = results(fake)
    assert {t.hyper.wd for t in fake.trials(ADAMW.name, HARD)} == {0.1}
    assert {t.hyper.wd for t in fake.trials(ADAMW.name, BASE.name)} > {0.0, 0.1}
    assert {t.hyper for t in fake.trials(LEARNED, HARD)} == {UNTUNED}
    assert found[HARD].trials == len(ADAMW.grid) == 7
    assert found[BASE.name].trials > 7


def test_tuning_and_comparison_use_their_own_seeds_and_the_same_for_all():
    fake = Fake()
    results(fake)
    for cell in SMALL:
        assert {t.seed for t in fake.trials(LEARNED, cell.task.name)} == set(SEEDS)
        assert {t.seed for t in fake.trials(ADAMW.name, cell.task.name)} == {*SEEDS, *TUNE_SEEDS}
    with pytest.raises(ValueError, match=r"seeds must differ from those of tuning \(0, 1, 2\)"):
        grid_results(SMALL, fake, untuned=UNTUNED, seeds=range(2, 5))


@pytest.mark.parametrize(("best", "trials", "at_edge"), [(10**-0.5, 9, False), (1e2, 10, True)])
def test_a_best_learning_rate_at_the_edge_extends_the_grid(best, trials, at_edge):
    result = results(Fake(best={HARD: best}))[HARD]
    assert (result.trials, result.at_edge) == (trials, at_edge)
    if not at_edge:
        assert result.lr_retuned == pytest.approx(best, rel=1e-3)
        assert result.lr_transferred == pytest.approx(1e-2)


def test_a_cell_with_a_diverged_run_is_marked_and_counts():
    """One run in five of the learned optimizer counts as a factor of 1,000."""
    found = results(Fake(diverged={(LEARNED, HARD, 102)}))
    hard = found[HARD]
    assert (hard.diverged, hard.seeds) == (1, 5)
    want = math.exp((4 * math.log(0.5) + math.log(1000)) / 5)
    assert hard.over_retuned.mid == pytest.approx(want, rel=1e-3)
    assert math.isfinite(hard.learned)
    assert [r.diverged for r in found.values()].count(0) == len(SMALL) - 1


def test_a_cell_where_everyone_diverges_stays():
    everyone = {(o, HARD, s) for o in (LEARNED, ADAMW.name) for s in (*SEEDS, *TUNE_SEEDS)}
    hard = results(Fake(diverged=everyone))[HARD]
    assert (hard.diverged, hard.diverged_retuned, hard.diverged_transferred) == (5, 5, 5)
    assert (hard.learned, hard.retuned, hard.transferred) == (None, None, None)
    assert hard.over_retuned == (1.0, 1.0, 1.0)
    made = json.loads(json.dumps(hard.to_json(), allow_nan=False))
    assert made["over_retuned"] == {"mid": 1.0, "low": 1.0, "high": 1.0}
    assert (made["learned"], made["diverged"], made["value"]) == (None, 5, 4)


def test_misinformed_optimizers_are_told_another_horizon(monkeypatch):
    """Everyone, while tuning too; and no one else is."""

    @dataclasses.dataclass(frozen=True)
    class Told:
        task: EvalTask
        hyper: Hyper
        seed: int
        told: float = 1.0
        beyond: float = 1.0

    monkeypatch.setattr(learned_opt.eval.grid._outcomes, "Trial", Told)
    monkeypatch.setattr(learned_opt.eval.tuning._tune, "Trial", Told)
    fake = Fake()
    cells = (CELLS[0], *on("told horizon").values())
    found = results(fake, cells)
    assert {t.told for _, t in fake.seen if t.task.name == BASE.name} == {1.0}
    for cell in cells[1:]:
        for optimizer in (LEARNED, ADAMW.name):
            trials = fake.trials(optimizer, cell.task.name)
            assert trials
            assert {(t.told, t.beyond) for t in trials} == {(cell.value, 1.0)}
        assert found[cell.task.name].told == cell.value


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (SMALL[1:], "got 0 bases and 2 names of 2 cells"),
        ((*SMALL, SMALL[1]), "got 1 bases and 3 names of 4 cells"),
        ((*SMALL, Cell("base", 1, SMALL[1].task)), "got 2 bases"),
    ],
)
def test_cells_without_their_base_are_refused(cells, message):
    with pytest.raises(ValueError, match=message):
        grid_results(cells, Fake(), untuned=UNTUNED, seeds=SEEDS)


def test_runs_of_the_runner_make_results():
    """Eight steps of a real network: a learned optimizer that explodes, AdamW that learns."""
    base = dataclasses.replace(BASE, horizon=8)
    cells = tuple(cell for cell in grid(base) if cell.axis in ("base", "init"))
    exploding = Runner(lambda hyper, steps: optax.with_extra_args_support(optax.sgd(1e30)))
    runners = {LEARNED: exploding, ADAMW.name: Runner(ADAMW.transform)}

    def run(optimizer: str, trials: list[Trial]):
        last = [float(curve.valid[-1]) for curve in runners[optimizer](trials)]
        return [x if np.isfinite(x) else math.inf for x in last]

    with jax.numpy_dtype_promotion("standard"):
        found = grid_results(cells, run, untuned=UNTUNED, seeds=(100, 101))
    for result in found:
        assert (result.diverged, result.diverged_retuned) == (2, 0)
        assert result.over_retuned.mid == pytest.approx(1000)
    plain, small, large = found
    assert plain.retuned < 2.3 < 10 < large.transferred  # log 10: a guess; and a hundredfold start
    assert plain.retuned < small.retuned
