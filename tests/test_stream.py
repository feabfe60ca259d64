"""Windows from disk: each example once an epoch, the same windows again from any position."""

import dataclasses
import gc
import signal
import sys
import threading
import time

import jax
import numpy as np
import optax
import pytest

from learned_opt.tasks import Family, full_loss, inner_init, inner_step
from learned_opt.tasks.data._dataset import split_dataset
from learned_opt.tasks.data._stream import Stream
from learned_opt.tasks.problems._mlp import MLP

COUNT, WINDOW = 300, 40
SEED, CALLS = 5, 12  # 12 windows of 40 are over two epochs of the training examples


@pytest.fixture
def arrays(tmp_path):
    """300 examples on disk: x holds the row's number in two bytes, y is its remainder by 3."""
    rows = np.arange(COUNT)
    np.save(tmp_path / "x.npy", np.stack([rows // 256, rows % 256], 1).astype(np.uint8))
    np.save(tmp_path / "y.npy", rows % 3)
    return tuple(np.load(tmp_path / f"{part}.npy", mmap_mode="r") for part in "xy")


def open_stream(arrays, **options):
    return Stream("rows", *arrays, **{"window": WINDOW, "seed": SEED} | options)


def rows_of(batch):
    high, low = np.asarray(batch.x).astype(int).T
    return high * 256 + low


def read(stream, count=CALLS):
    """(count, window): the numbers of the rows in the next windows; closes the stream."""
    with stream:
        windows = [stream.next_dataset().splits["train"] for _ in range(count)]
    for window in windows:
        np.testing.assert_array_equal(np.asarray(window.y), rows_of(window) % 3)
    return np.stack([rows_of(window) for window in windows])


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("stream rows")]


def wait_for_no_threads():
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()


def test_every_training_example_comes_once_an_epoch_and_epochs_differ(arrays):
    train = np.sort(rows_of(split_dataset("rows", *arrays).splits["train"]))
    epochs, rest = divmod(CALLS * WINDOW, len(train))
    assert epochs == 2
    assert rest
    assert len(train) % WINDOW  # so that a window crosses from one epoch into the next
    # A window of one epoch's length is the whole epoch.
    whole = read(open_stream(arrays, window=len(train)), 3)
    for epoch in whole:
        np.testing.assert_array_equal(epoch, train)
    # Shorter windows are cut from the same epochs: they add up, crossings included.
    short = read(open_stream(arrays)).reshape(-1)
    counts = np.bincount(short, minlength=COUNT)[train]
    assert counts.sum() == CALLS * WINDOW
    assert set(counts) == {2, 3}
    # The first thirds of three epochs.
    assert len(train) % 3 == 0
    thirds = read(open_stream(arrays, window=len(train) // 3), 9)[::3]
    assert len(np.unique(thirds, axis=0)) == 3


def test_windows_depend_on_the_seed_alone(arrays):
    first = read(open_stream(arrays))
    np.testing.assert_array_equal(first, read(open_stream(arrays, ahead=5)))
    assert not np.array_equal(first, read(open_stream(arrays, seed=SEED + 1)))


@pytest.mark.parametrize("process", [{}, {"process_index": 1, "process_count": 2}])
def test_resumed_anywhere_it_goes_on_bit_for_bit(arrays, process):
    whole = read(open_stream(arrays, **process))
    for position in range(CALLS):
        rest = open_stream(arrays, position=np.int64(position), **process)
        np.testing.assert_array_equal(read(rest, CALLS - position), whole[position:])


def test_seek_goes_forth_and_back(arrays):
    whole = read(open_stream(arrays))
    with open_stream(arrays) as stream:
        for position in (7, 2, 3, 11, 0):
            stream.seek(position)
            assert stream.position == position
            np.testing.assert_array_equal(
                rows_of(stream.next_dataset().splits["train"]), whole[position]
            )
            assert stream.position == position + 1


def test_processes_share_what_one_alone_would_see(arrays):
    alone = read(open_stream(arrays, window=3 * WINDOW), 4)
    shares = [
        read(open_stream(arrays, process_index=i, process_count=3), 4) for i in range(3)
    ]  # fmt: skip
    together = np.concatenate(shares, axis=1)
    np.testing.assert_array_equal(np.sort(together, axis=1), alone)
    # The first window of all three lies within the first epoch: no row is in two shares.
    assert len(np.unique(together[0])) == 3 * WINDOW


def test_the_shares_of_an_epoch_are_disjoint_and_make_it_up(arrays):
    train = np.sort(rows_of(split_dataset("rows", *arrays).splits["train"]))
    size = len(train) // 3
    assert size * 3 == len(train)
    for epoch in range(3):
        shares = [
            read(
                open_stream(
                    arrays, window=size, position=epoch, process_index=i, process_count=3
                ),
                1,
            )
            for i in range(3)
        ]  # fmt: skip
        np.testing.assert_array_equal(np.sort(np.concatenate(shares, axis=None)), train)


def test_held_out_splits_are_those_of_split_dataset_and_never_streamed(arrays):
    resident = split_dataset("rows", *arrays)
    with open_stream(arrays) as stream:
        data = stream.next_dataset()
        assert sorted(stream.held_out.splits) == ["inner_valid", "outer_valid", "test"]
    for split in stream.held_out.splits:
        assert jax.tree.all(
            jax.tree.map(np.array_equal, data.splits[split], resident.splits[split])
        )
        np.testing.assert_allclose(data.full(split).x, resident.full(split).x, rtol=1e-5)
    assert data.spec == resident.spec
    held_out = np.concatenate([rows_of(part) for part in stream.held_out.splits.values()])
    streamed = np.unique(read(open_stream(arrays)))
    assert not np.intersect1d(held_out, streamed).size
    assert len(held_out) + len(streamed) == COUNT
    with pytest.raises(ValueError, match="this copy withholds the test split"):
        data.without_test().full("test")


def test_uint8_stays_uint8_and_is_standardised_as_it_is_drawn(arrays):
    with open_stream(arrays) as stream:
        data = stream.next_dataset()
    assert data.splits["train"].x.dtype == np.uint8
    batch = data.batch(jax.random.key(0), "train", 2000)
    assert batch.x.dtype == np.float32
    known = np.asarray(arrays[0])[np.unique(read(open_stream(arrays)))]
    restored = np.asarray(batch.x) * known.std() + known.mean()
    np.testing.assert_allclose(restored, restored.round(), atol=1e-3)
    drawn = np.unique(restored.round().astype(int) @ np.array([256, 1]))
    np.testing.assert_array_equal(drawn, rows_of(data.splits["train"]))


def test_windows_go_where_they_are_told(arrays):
    device = jax.devices()[1]
    with open_stream(arrays, sharding=jax.sharding.SingleDeviceSharding(device)) as stream:
        data = stream.next_dataset()
    assert {d for leaf in jax.tree.leaves(data) for d in leaf.devices()} == {device}


@pytest.mark.parametrize("taken", [0, 3])
def test_close_ends_the_thread(arrays, taken):
    stream = open_stream(arrays)
    for _ in range(taken):
        stream.next_dataset()
    stream.close()
    stream.close()
    assert not threads()
    message = f"the stream of rows is closed; make another with position={taken}"
    with pytest.raises(RuntimeError, match=message):
        stream.next_dataset()


def test_a_stream_that_is_dropped_or_left_by_an_error_leaves_no_thread(arrays):
    stream = open_stream(arrays)
    stream.next_dataset()
    assert len(threads()) == 1
    del stream
    gc.collect()
    wait_for_no_threads()

    def interrupted():
        with open_stream(arrays) as stream:
            stream.next_dataset()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not threads()


def test_no_more_than_ahead_is_read(arrays, monkeypatch):
    seen = []
    monkeypatch.setattr(Stream, "_read", lambda self, position: seen.append(position))
    with open_stream(arrays, ahead=3) as stream:
        for position in range(4):
            stream.next_dataset()
            for future in stream._ready.values():
                future.result()
            assert seen == list(range(position + 4))


class Disk(np.ndarray):
    """An array whose reads fail, or are slow and interrupted, if told so."""

    fails = False
    interrupts = False

    def take(self, *args, **kwargs):
        if Disk.interrupts:
            Disk.interrupts = False
            main = threading.main_thread().ident
            # Until it waits: elsewhere a callback of the collector may swallow the interrupt.
            while sys._current_frames()[main].f_code is not threading.Condition.wait.__code__:
                time.sleep(0.01)
            time.sleep(0.1)
            # Not the process: any thread may take that, and this one would not wake the other.
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.3)
        if Disk.fails:
            raise OSError("the disk is gone")
        return super().take(*args, **kwargs)


def test_an_error_of_the_source_surfaces_and_the_stream_can_go_on(arrays, monkeypatch):
    whole = read(open_stream(arrays), 4)
    with open_stream((arrays[0].view(Disk), arrays[1])) as stream:
        stream.next_dataset()
        monkeypatch.setattr(Disk, "fails", True)
        stream.seek(1)  # what was read before the disk failed is forgotten
        for _ in range(2):
            with pytest.raises(OSError, match="the disk is gone"):
                stream.next_dataset()
            assert stream.position == 1
        monkeypatch.setattr(Disk, "fails", False)
        for position in (1, 2, 3):
            window = stream.next_dataset().splits["train"]
            np.testing.assert_array_equal(rows_of(window), whole[position])
    assert not threads()


@pytest.fixture
def interruptible():
    """A shell may have started us deaf to interrupts, in its background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_waiting_loses_no_window(arrays, monkeypatch):
    whole = read(open_stream(arrays), 2)
    with open_stream((arrays[0].view(Disk), arrays[1])) as stream:
        monkeypatch.setattr(Disk, "interrupts", True)
        with pytest.raises(KeyboardInterrupt):
            stream.next_dataset()
        for window in whole:
            np.testing.assert_array_equal(rows_of(stream.next_dataset().splits["train"]), window)
    assert not threads()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be an integer of at least 1, got 0"),
        ({"window": 6.5}, "window must be an integer of at least 1, got 6.5"),
        ({"ahead": 0}, "ahead must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"position": -2}, "position must be an integer of at least 0, got -2"),
        ({"position": "3"}, "position must be an integer of at least 0, got '3'"),
        (
            {"process_index": 2, "process_count": 2},
            "process_index must be below process_count, 2, got 2; processes are counted from 0",
        ),
    ],
)
def test_bad_options_are_one_clear_sentence(arrays, options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        open_stream(arrays, **options)
    assert not threads()


def test_bad_arrays_are_one_clear_sentence(arrays):
    x, y = arrays
    with pytest.raises(
        ValueError, match=r"x of rows must be uint8, got float32; .*: use split_dataset$"
    ):
        open_stream((x.astype(np.float32), y))
    match = r"y of rows must be integers of shape \(300,\), one an example, got int64 of shape"
    with pytest.raises(ValueError, match=match + r" \(299,\)$"):
        open_stream((x, y[:-1]))
    with pytest.raises(ValueError, match=r"must be integers .* got float64"):
        open_stream((x, y.astype(np.float64)))
    with pytest.raises(ValueError, match=r"x of rows must hold an example, got shape \(0, 2\)$"):
        open_stream((x[:0], y[:0]))
    with (
        open_stream(arrays) as stream,
        pytest.raises(ValueError, match="position must be an integer of at least 0, got -1"),
    ):
        stream.seek(-1)


STEPS = 20


def test_training_compiles_once_and_learns_as_from_a_resident_set(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 1200)
    centres = rng.integers(60, 200, (4, 4, 4, 1))
    noise = rng.normal(scale=40, size=(1200, 4, 4, 1))
    x = np.clip(centres[y] + noise, 0, 255).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    tx = optax.with_extra_args_support(optax.sgd(0.05, momentum=0.9))

    @jax.jit
    def unroll(family, state, key):
        def step(state, key):
            return inner_step(family, tx, state, key)

        return jax.lax.scan(step, state, jax.random.split(key, STEPS))

    def train(next_dataset):
        family = Family(MLP(), next_dataset(), batch_size=16)
        state = start = inner_init(family.member(), tx, jax.random.key(1))
        for call in range(8):
            family = dataclasses.replace(family, data=next_dataset())
            state, _ = unroll(family, state, jax.random.key(call))
        return [
            float(full_loss(family, s.task, s.params, "inner_valid")[0]) for s in (start, state)
        ]

    with Stream("blobs", mapped, y, window=STEPS * 16) as stream:
        before, streamed = train(stream.next_dataset)
        assert unroll._cache_size() == 1
    resident = split_dataset("blobs", x, y)
    before_resident, after_resident = train(lambda: resident)
    np.testing.assert_allclose(before, before_resident, rtol=1e-4)
    assert before > 1.0
    assert after_resident < 0.3
    assert streamed == pytest.approx(after_resident, abs=0.05)
