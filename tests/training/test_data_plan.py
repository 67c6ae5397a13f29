"""Order, packs and steps as pure functions: what holds for all of them."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from videollama2.errors import RequestError
from videollama2.training.data.mixture import Mixture, fold, mix, shuffle
from videollama2.training.data.packing import WINDOW, by_length, pack, padded_positions, split_packs
from videollama2.training.data.plan import Grouping, StepOrder, num_steps, share

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(sum)
SEEDS = st.integers(-5, 2**40)
LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=80)


def flat(batches):
    return [number for batch in batches for row in batch for number in row]


@given(COUNTS, SEEDS, st.integers(0, 9))
def test_every_row_once_an_epoch(counts, seed, epoch):
    mixture = Mixture(counts=tuple(counts), weights=(1.0,) * len(counts), seed=seed)
    order = mixture.order(epoch)
    assert sorted(order) == list(range(sum(counts)))
    assert (
        order.tolist() == Mixture(counts=tuple(counts), weights=(1.0,) * len(counts), seed=seed).order(epoch).tolist()
    )
    assert mixture.row(epoch, len(order) - 1) == order[-1]


@given(COUNTS, st.lists(st.floats(0.1, 3.3), min_size=4, max_size=4), SEEDS)
def test_weights_are_shares(counts, weights, seed):
    assume(all(round(count * weight) or not count for count, weight in zip(counts, weights)))
    mixture = Mixture(counts=tuple(counts), weights=tuple(weights[: len(counts)]), seed=seed)
    seen = np.bincount([mixture.source_of(row)[0] for row in mixture.order(3)], minlength=len(counts))
    assert seen.tolist() == [round(count * weight) for count, weight in zip(counts, weights)]
    times = np.bincount(mixture.order(3), minlength=sum(counts))
    for source, weight in enumerate(mixture.weights):
        own = times[sum(counts[:source]) :][: counts[source]]
        assert own.size == 0 or own.max() - own.min() <= 1
        assert own.size == 0 or own.min() >= int(np.floor(round(len(own) * weight) / len(own)))


def test_a_fraction_walks_over_all_rows():
    mixture = Mixture(counts=(10,), weights=(0.3,))
    seen = np.concatenate([mixture.order(epoch) for epoch in range(10)])
    assert np.bincount(seen, minlength=10).tolist() == [3] * 10


def test_the_order_is_this_one_for_ever():
    """Recorded: another order would continue old runs with other samples."""
    assert Mixture(counts=(5, 3), weights=(1.0, 1.0), seed=42).order(0).tolist() == RECORDED[0]
    assert Mixture(counts=(5, 3), weights=(1.0, 1.0), seed=42).order(1).tolist() == RECORDED[1]
    # SplitMix64's own first values from state 0 (its published reference code).
    state = np.uint64(0x9E3779B97F4A7C15) * np.arange(1, 4, dtype=np.uint64)
    assert [hex(value) for value in mix(state)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


RECORDED = ([3, 6, 2, 4, 7, 0, 1, 5], [7, 1, 2, 0, 6, 5, 3, 4])


def test_orders_differ_between_epochs_and_seeds_and_are_even():
    mixture = Mixture(counts=(1000,), weights=(1.0,), seed=1)
    other = Mixture(counts=(1000,), weights=(1.0,), seed=2)
    assert (mixture.order(0) == mixture.order(1)).mean() < 0.02
    assert (mixture.order(0) == other.order(0)).mean() < 0.02
    first_places = [shuffle(np.arange(8), 7, epoch)[0] for epoch in range(4000)]
    assert np.bincount(first_places).min() > 400
    assert fold(1, 2) != fold(2, 1)


@pytest.mark.parametrize(
    ("counts", "weights", "words"),
    [
        ((3,), (0.0,), "weight"),
        ((3,), (float("nan"),), "weight"),
        ((3,), (), "weights"),
        ((0,), (1.0,), "no rows"),
        ((3,), (0.1,), "none of its"),
    ],
)
def test_mixtures_that_cannot_be(counts, weights, words):
    with pytest.raises(RequestError, match=words):
        Mixture(counts=counts, weights=weights)


@given(LENGTHS, st.integers(60, 200), st.integers(1, 90))
def test_packs_hold_everything_once_and_never_too_much(lengths, max_tokens, window):
    packs = pack(lengths, max_tokens, window=window)
    assert sorted(n for members in packs for n in members) == list(range(len(lengths)))
    assert all(sum(lengths[n] for n in members) <= max_tokens for members in packs)
    assert all(members == sorted(members) for members in packs)
    assert packs == pack(lengths, max_tokens, window=window)
    if window >= len(lengths):
        # Two packs that are both at most half full would be one.
        assert sum(sum(lengths[n] for n in members) * 2 <= max_tokens for members in packs) <= 1


def test_packing_takes_no_time_and_little_room():
    lengths = (
        (np.random.Generator(np.random.PCG64(0)).lognormal(5.5, 0.7, 20 * WINDOW).clip(1, 2048)).astype(int).tolist()
    )
    packs = pack(lengths, 2048)
    assert sum(lengths) / (2048 * len(packs)) > 0.97


def test_a_sample_that_fits_no_pack_is_refused():
    with pytest.raises(RequestError, match="61 positions does not fit into a pack of 60"):
        pack([3, 61], 60)


@given(LENGTHS, st.integers(1, 100))
def test_split_packs_keep_everything(lengths, count):
    packs = split_packs(pack(lengths, 200), lengths, count)
    assert sorted(n for members in packs for n in members) == list(range(len(lengths)))
    assert len(packs) >= min(count, len(lengths))
    assert all(packs)


@given(LENGTHS, st.integers(1, 9))
def test_batches_of_like_lengths_pad_least(lengths, size):
    batches = by_length(lengths, size)
    assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
    if len(lengths) % size:
        return
    # Of full batches none are better.
    grouped = sum(padded_positions([[n] for n in batch], lengths)[1] for batch in batches)
    as_they_come = [range(begin, min(begin + size, len(lengths))) for begin in range(0, len(lengths), size)]
    assert grouped <= sum(padded_positions([[n] for n in batch], lengths)[1] for batch in as_they_come)


GROUPINGS = st.builds(
    Grouping,
    micro=st.integers(1, 6),
    max_tokens=st.integers(60, 150),
    packing=st.booleans(),
    by_length=st.booleans(),
)


@given(LENGTHS, GROUPINGS)
def test_a_step_is_the_same_for_any_number_of_processes(lengths, grouping):
    for world_size in (1, 2, 3, 4):
        batches = grouping.micro_batches(lengths, world_size)
        shares = [share(batches, rank, world_size) for rank in range(world_size)]
        assert sorted(n for own in shares for n in flat(own)) == list(range(len(lengths)))
        assert len({len(own) for own in shares}) == 1
        for row in (row for batch in batches for row in batch):
            assert len(row) == 1 or grouping.packing
            assert sum(lengths[n] for n in row) <= grouping.max_tokens
        assert all(len(batch) <= grouping.micro for batch in batches)
        # Rows of one sample each cannot always be dealt out evenly; larger micro-batches are divided until they can.
        idle = sum(not batch for own in shares for batch in own)
        assert idle < world_size or not batches
        assert idle == 0 or grouping.micro == 1 or len(lengths) < world_size * 6 * grouping.micro


@given(COUNTS, st.integers(1, 30), st.integers(0, 10), SEEDS)
def test_steps_cut_the_order_into_pieces(counts, samples, start, seed):
    order = StepOrder(mixture=Mixture(counts=tuple(counts), weights=(1.0,) * len(counts), seed=seed), samples=samples)
    total = num_steps(sum(counts), samples, epochs=2, max_steps=None)
    steps = [order.rows(step) for step in range(total)]
    for epoch in (0, 1):
        rows = np.concatenate([rows for number, rows in steps if number == epoch])
        assert rows.tolist() == order.mixture.order(epoch).tolist()
    assert [len(rows) for _, rows in steps[: order.steps_per_epoch - 1]] == [samples] * (order.steps_per_epoch - 1)
    step = min(start, total - 1)
    assert order.rows(step)[1].tolist() == steps[step][1].tolist()


@settings(max_examples=20)
@given(st.integers(0, 3), st.integers(1, 4))
def test_a_process_without_work_gets_a_filler(num_samples, world_size):
    grouping = Grouping(micro=2, max_tokens=10)
    batches = grouping.micro_batches([5] * num_samples, world_size)
    shares = [share(batches, rank, world_size) for rank in range(world_size)]
    assert [len(own) for own in shares] == [1 if num_samples <= 2 * world_size else 2] * world_size
    assert sum(not batch for own in shares for batch in own) == sum(map(len, shares)) - len(batches)


def test_numbers_of_steps():
    assert num_steps(10, 4, epochs=1, max_steps=None) == 3
    assert num_steps(10, 4, epochs=2.5, max_steps=None) == 8
    assert num_steps(10, 4, epochs=1, max_steps=20) == 20
    for epochs, max_steps in ((None, None), (0, None), (1, 0)):
        with pytest.raises(RequestError, match="make no step"):
            num_steps(10, 4, epochs=epochs, max_steps=max_steps)
    with pytest.raises(RequestError, match=r"batch\.samples"):
        StepOrder(mixture=Mixture(counts=(1,), weights=(1.0,)), samples=0)
