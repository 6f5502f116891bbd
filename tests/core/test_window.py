"""The plan of windows: a pure function that covers an epoch exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from gradinc.core.plan import Span, plan, usable

LENGTHS = st.integers(0, 40)
SIZES = st.integers(1, 12)


def starts(size: int) -> list[int]:
    return list(range(size))


@pytest.mark.parametrize("last", ["flush", "carry", "drop"])
def test_spans_follow_each_other_and_only_drop_leaves_micro_batches_out(last):
    for length in range(26):
        for size in range(1, 9):
            for start in starts(size):
                spans = plan(length, size, start, last)
                position = 0
                for span in spans:
                    assert span.first == position
                    assert span.count >= 1
                    position += span.count
                left_out = length - position
                if last == "drop":
                    assert left_out == (start + length) % size if start + length >= size else left_out == length
                else:
                    assert left_out == 0


@given(LENGTHS, SIZES, st.data())
def test_every_full_window_has_exactly_size_micro_batches(length, size, data):
    start = data.draw(st.integers(0, size - 1))
    for last in ("flush", "carry", "drop"):
        taken = start
        for span in plan(length, size, start, last):
            taken += span.count
            if span.closes:
                assert taken == size or (last == "flush" and span.first + span.count == length)
                taken = 0
        assert taken < size or last == "drop"


@given(LENGTHS, SIZES, st.integers(1, 5))
def test_carried_windows_make_as_many_updates_as_one_long_epoch(length, size, epochs):
    start = updates = 0
    for _ in range(epochs):
        spans = plan(length, size, start, "carry")
        updates += sum(span.closes for span in spans)
        start = (start + length) % size
    assert updates == epochs * length // size


def test_flush_updates_once_more_for_the_rest_and_never_twice():
    assert plan(10, 4) == [Span(0, 4, True), Span(4, 4, True), Span(8, 2, True)]
    assert plan(8, 4) == [Span(0, 4, True), Span(4, 4, True)]


def test_carry_leaves_the_rest_open_for_the_next_epoch():
    assert plan(10, 4, 0, "carry")[-1] == Span(8, 2, False)
    assert plan(10, 4, 2, "carry")[0] == Span(0, 2, True)


def test_drop_leaves_the_rest_out():
    assert plan(10, 4, 0, "drop") == [Span(0, 4, True), Span(4, 4, True)]
    assert plan(3, 4, 0, "drop") == []


@given(rows=st.integers(0, 400), batch=st.integers(1, 40), size=SIZES)
def test_a_dropped_window_is_a_dropped_batch_of_all_its_rows(rows, batch, size):
    """As with PyTorch's ``drop_last=True`` and batches of K·b rows, for K micro-batches of b rows; K may be 1."""
    spans = plan(usable(rows, batch, "drop"), size, 0, "drop")
    assert len(spans) == len(BatchSampler(range(rows), size * batch, drop_last=True))
    kept = plan(usable(rows, batch, "flush"), size)
    assert len(kept) == len(BatchSampler(range(rows), size * batch, drop_last=False))


def test_a_window_longer_than_the_epoch_is_the_epoch():
    assert plan(3, 8) == [Span(0, 3, True)]
    assert plan(3, 8, 0, "carry") == [Span(0, 3, False)]


@pytest.mark.parametrize("arguments", [(-1, 2), (3, 0), (3, 2, 2), (3, 2, -1)])
def test_nonsense_is_refused(arguments):
    with pytest.raises(ValueError, match="need length"):
        plan(*arguments)
