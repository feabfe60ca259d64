"""How often a run sees each example: closed forms, counts, who is told, from whom it is hidden."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import Quadratics, mesh

import learned_opt
from learned_opt.eval import Hyper, Runner, Trial, artifact_subject
from learned_opt.eval.contestants._jobs import multiplied_job, rival_job, tuned_rival_job
from learned_opt.eval.running import artifact_identity
from learned_opt.meta_train import Gain, MetaProblem, Objective, unroll
from learned_opt.meta_train._unroll import advance, begin, start
from learned_opt.tasks import (
    AUGMENTATIONS,
    Family,
    FamilySpec,
    Supply,
    augment,
    from_functions,
    load_dataset,
)
from learned_opt.tasks.augmentations import FewExamples, SmallBatch
from learned_opt.tasks.problems import GRU, MLP, PINN, DeepSets, Factorisation

KEY = jax.random.key(0)
SPECS = {
    "label": FamilySpec(MLP(), "digits", 16),
    "value": FamilySpec(MLP(), "diabetes", 16),
    "text": FamilySpec(GRU(), "prose/40", 16),
    "points": FamilySpec(PINN(), "points/2", 16),
    "sets": FamilySpec(DeepSets(), "sets", 16),
    "entries": FamilySpec(Factorisation(rows=6, columns=5), "points/2", 16),
}


@pytest.mark.parametrize("kind", SPECS)
def test_epochs_are_steps_times_batch_over_training_examples(kind):
    family = SPECS[kind].build()
    part = family.data.splits["train"]
    examples = {
        "text": lambda: part.size / 40,  # Each of its bytes is predicted once an epoch.
        "points": lambda: np.inf,
        "entries": lambda: 6 * 5,  # Of the matrix: points say which.
    }.get(kind, lambda: len(part.y))()
    found = jax.jit(lambda f, steps: f.supply(f.sample(KEY)).epochs(steps))(family, 300)
    assert (found.dtype, found.shape) == (jnp.float32, ())
    np.testing.assert_allclose(found, max(300 * 16 / examples, 1e-3), rtol=1e-6)


def test_a_task_of_a_mixture_has_the_examples_of_its_source():
    family = FamilySpec(MLP(), "digits+photos", 8).build()
    sizes = [len(load_dataset(name).splits["train"].y) for name in ("digits", "photos")]
    tasks = jax.vmap(family.sample)(jax.random.split(KEY, 8))
    assert set(tasks.source.tolist()) == {0, 1}
    found = jax.vmap(lambda task: family.supply(task).epochs(50))(tasks)
    np.testing.assert_allclose(found, 400 / np.array(sizes)[tasks.source], rtol=1e-6)


def rows(tree):
    x = np.asarray(tree.x)
    return {row.tobytes() for row in x.reshape(-1, *x.shape[-1:])}


def halved(halvings):
    """`SmallBatch`, always as small as it can be."""
    return dataclasses.make_dataclass(
        "Halved", [], bases=(SmallBatch,), frozen=True,
        namespace={"sample": lambda self, key: {"halvings": jnp.int32(self.halvings)}},
    )(halvings)  # fmt: skip


FEW, SMALL = FewExamples((3, 3)), halved(2)
OTHERS = [(cls(),) for cls in AUGMENTATIONS if cls not in (FewExamples, SmallBatch)]


@pytest.mark.parametrize(
    "chain",
    [(FEW,), (SMALL,), (FEW, SMALL), (SMALL, FEW), (FEW, FewExamples((2, 2))), *OTHERS],
    ids=lambda chain: "-".join(one.name for one in chain),
)
def test_what_an_augmented_run_sees_is_counted(chain):
    """Over points, of which none comes twice: what is drawn in 40 steps, and how much differs."""
    family, steps = augment(SPECS["points"].build(), *chain), 40
    task = family.sample(KEY)
    keys = jax.random.split(jax.random.key(1), steps)
    batches = jax.vmap(lambda key: family.batch(task, key, "train"))(keys)
    supply = family.supply(task)
    first = jax.tree.map(lambda x: x[0], batches)
    assert len(rows(first)) == supply.batch
    shown = float(steps * supply.batch)
    fresh = bool(jnp.isinf(supply.batches))
    want = 1e-3 if fresh else shown / len(rows(batches))
    assert len(rows(batches)) == (shown if fresh else shown / steps * float(supply.batches))
    np.testing.assert_allclose(supply.epochs(steps), want, rtol=1e-6)


def test_few_examples_of_few_are_no_more_than_there_are():
    task = augment(SPECS["label"].build(), FewExamples((900, 900)))
    size = len(task.family.data.splits["train"].y)
    np.testing.assert_allclose(task.supply(task.sample(KEY)).epochs(50), 800 / size, rtol=1e-6)


def test_own_tasks_say_it_wherever_their_data_are(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((200, 3), np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    for memory in (10**9, 0):
        task = from_functions(
            lambda key: jnp.ones(3), lambda p, x: jnp.mean((x @ p) ** 2), x, batch_size=10,
            valid=0.3, memory=memory, num_steps=70,
        )  # fmt: skip
        assert Trial(task, Hyper(1.0), 0).epochs == pytest.approx(70 * 10 / 140)
        assert Trial(task, Hyper(1.0), 0, told=2.0).epochs == pytest.approx(10)


def test_data_that_do_not_say_it_have_the_examples_of_the_whole_split():
    digits = load_dataset("digits")

    class Theirs:
        name, spec, sources = digits.name, digits.spec, 1
        full, batch = digits.full, digits.batch

    family = Family(MLP(), Theirs(), 16)
    want = SPECS["label"].build()
    task = family.sample(KEY)
    assert family.supply(task).epochs(9) == want.supply(want.sample(KEY)).epochs(9)


@dataclasses.dataclass(frozen=True)
class Listener:
    """Moves nothing; its state: the epochs it is told, and how many losses, and how many not."""

    name: ClassVar[str] = "listener"
    uses_epochs: ClassVar[bool] = True

    def transform(self, theta, *, num_steps, epochs):
        def init(params):
            return epochs, jnp.int32(0), jnp.int32(0)

        def update(updates, state, params=None, *, value):
            heard = jnp.isfinite(value).astype(jnp.int32)
            counts = state[1] + heard, state[2] + 1 - heard
            return jax.tree.map(jnp.zeros_like, updates), (epochs, *counts)

        return optax.GradientTransformationExtraArgs(init, update)


@dataclasses.dataclass(frozen=True)
class Many(Quadratics):
    """With 20 examples, at a batch of 1."""

    def supply(self, task):
        return Supply.of(1, 20)


jax.tree_util.register_dataclass(Many, data_fields=["start"], meta_fields=["noisy"])
STEPS = 7


def listening(objective=None):
    theta = {"lr": jnp.zeros(())}
    return MetaProblem(
        Many(jnp.asarray(2.0)), Listener(), objective or Objective(), mesh(), untrained=theta
    )


def heard(keys, outer_step, **options):
    """Epochs told, losses heard, losses missed: (keys,) each."""
    system, theta = listening(options.pop("objective", None)), {"lr": jnp.zeros(())}
    if options.get("sides"):
        theta = {"lr": jnp.zeros(2)}

    def run(key):
        task = system.family.sample(key)
        run = unroll(
            system, task, theta, key, horizon=jnp.int32(STEPS), outer_step=outer_step, **options
        )[1]
        return run.opt_state[0]

    return [np.asarray(x) for x in jax.jit(jax.vmap(run))(keys)]


def test_each_is_hidden_from_half_of_the_runs_for_all_of_the_run():
    epochs, told, missed = heard(jax.random.split(KEY, 800), jnp.int32(0))
    assert set(told.tolist()) == {0, STEPS}
    np.testing.assert_array_equal(told + missed, STEPS)
    no_epochs, no_loss = np.isnan(epochs), missed > 0
    np.testing.assert_allclose(epochs[~no_epochs], STEPS / 20, rtol=1e-6)
    # Each of the four in a quarter of 800: a deviation is 12.2.
    counts = [np.sum((no_epochs == a) & (no_loss == b)) for a in (0, 1) for b in (0, 1)]
    np.testing.assert_allclose(counts, 200, atol=4 * 12.3)


def test_a_run_outside_of_training_is_told_both():
    epochs, told, _ = heard(jax.random.split(KEY, 20), None)
    np.testing.assert_allclose(epochs, STEPS / 20, rtol=1e-6)
    assert set(told.tolist()) == {STEPS}


def test_both_sides_and_the_untrained_lane_are_told_the_same():
    keys = jax.random.split(KEY, 20)
    alone = heard(keys, jnp.int32(3))
    lanes = heard(keys, jnp.int32(3), objective=Gain(), sides=True)
    for one, every in zip(alone, lanes, strict=True):
        assert every.shape == (20, 3)
        np.testing.assert_array_equal(every, np.repeat(one[:, None], 3, 1))


def test_a_family_that_does_not_say_it_is_asked_for_it():
    system = dataclasses.replace(listening(), family=Quadratics(jnp.asarray(2.0)))
    with pytest.raises(ValueError, match=r"the family Quadratics must have supply\(task\)"):
        unroll(system, system.family.sample(KEY), {"lr": 0.0}, KEY, horizon=jnp.int32(2))


def test_a_run_that_goes_on_later_is_told_what_it_was_told():
    system, theta = listening(), {"lr": jnp.zeros(())}

    @jax.jit
    @jax.vmap
    def run(key):
        episode = begin(system.family, system.family.sample(key), key, jnp.int32(STEPS))
        run = start(system, episode, theta, jnp.int32(0))
        run, _ = advance(system, episode, run, theta, 3, jnp.int32(0))
        later = episode._replace(t=jnp.int32(3))
        return advance(system, later, run, theta, 4, jnp.int32(5))[0].opt_state[0]

    keys = jax.random.split(KEY, 20)
    for got, want in zip(run(keys), heard(keys, jnp.int32(0)), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.slow
def test_the_meta_gradient_is_finite_whatever_is_hidden():
    optimizer = learned_opt.SpectralGRU()
    theta = jax.tree.map(lambda x: x + 0.05, optimizer.init(KEY))
    system = MetaProblem(Many(jnp.asarray(2.0)), optimizer, Objective(), mesh())

    def scanned(low, high, body, carry):
        return jax.lax.scan(lambda c, i: (body(i, c), None), carry, jnp.arange(high))[0]

    @jax.jit
    def grads(keys):
        def loss(theta, key):
            task = system.family.sample(key)
            return unroll(
                system, task, theta, key, horizon=jnp.int32(3), max_steps=3,
                outer_step=jnp.int32(0), loop=scanned,
            )[0]  # fmt: skip

        return jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0))(theta, keys)

    keys = jax.random.split(KEY, 16)
    losses, found = grads(keys)
    epochs, told, _ = heard(keys, jnp.int32(0))
    assert len({*zip(np.isnan(epochs).tolist(), told.tolist(), strict=True)}) == 4
    assert len(set(losses.tolist())) == 4
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


TASK = from_functions(
    lambda key: jnp.ones(3), lambda p, x: jnp.mean((x @ p) ** 2), np.ones((200, 3), np.float32),
    batch_size=10, valid=0.3, num_steps=4,
)  # fmt: skip


def test_a_runner_tells_each_trial_its_epochs():
    def make(hyper, num_steps, epochs):
        return optax.with_extra_args_support(optax.sgd(epochs))

    want = Runner(lambda hyper, num_steps: optax.with_extra_args_support(optax.sgd(hyper.lr)))
    runner = Runner(make, epochs=True)
    trials = [Trial(TASK, Hyper(1.0), 0, told=told) for told in (1.0, 3.0)]
    assert trials[1].epochs == pytest.approx(3 * trials[0].epochs)
    known = [dataclasses.replace(x, hyper=Hyper(np.float32(x.epochs))) for x in trials]
    for a, b in zip(runner(trials), want(known), strict=True):
        assert a.final["valid_loss"] == pytest.approx(b.final["valid_loss"], rel=1e-6)


def artifact(optimizer):
    return learned_opt.Artifact(optimizer, optimizer.init(KEY), {"name": "mine"})


def test_artifacts_that_use_epochs_are_told_them_and_their_keys_say_so():
    told, plain = artifact(learned_opt.SpectralGRU()), artifact(learned_opt.Spectral())
    for one, uses in ((told, True), (plain, False)):
        subject = artifact_subject(one)
        assert ("told" in artifact_identity(one).facts) == uses
        assert subject.to_json()["uses_epochs"] == uses
        for job in (multiplied_job(subject), rival_job(one, "a"), tuned_rival_job(one, "a")):
            assert job.runner().epochs == uses
            job.runner().built(Trial(TASK, Hyper(0.1), 0))


def test_a_subject_on_a_task_is_told_steps_and_epochs_of_the_task():
    one = artifact(learned_opt.SpectralGRU())
    moved = jax.tree.map(lambda x: x + 0.05, one.theta)
    one = dataclasses.replace(one, theta=moved)
    p = {"w": jnp.ones((2, 3))}

    def step(tx):
        return tx.update(p, tx.init(p), p)[0]["w"]

    E = Trial(TASK, Hyper(1.0), 0).epochs
    got = step(artifact_subject(one).on(TASK))
    np.testing.assert_array_equal(got, step(learned_opt.learned(one, num_steps=4, epochs=E)))
    assert not np.array_equal(got, step(learned_opt.learned(one, num_steps=4)))
