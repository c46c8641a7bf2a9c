"""A stream with its mementos repeated says what a restart computes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.teaching.memento.blocks import NEVER, parse_blocks
from mnemic.teaching.memento.restart import expand_for_restart
from mnemic.teaching.memento.rules import MarkerIds

MARKERS = MarkerIds(90, 91, 92, 93)
BS, BE, SS, SE = MARKERS


@given(st.lists(st.sampled_from([*MARKERS, 1, 2]), max_size=60))
def test_only_mementos_stand_twice_and_the_plain_stream_is_all_there(stream: list[int]) -> None:
    extended = expand_for_restart(stream, MARKERS)
    assert extended.source[~extended.is_copy].tolist() == list(range(len(stream)))
    repeated = [p for block in parse_blocks(stream, MARKERS) for p in range(block.summary_start, block.summary_end)]
    assert sorted(extended.source[extended.is_copy].tolist()) == sorted(repeated)
    assert (extended.visible_until > np.arange(len(extended.source))).all()


@pytest.mark.parametrize(
    ("mask_delimiters", "until"),
    [(False, [NEVER, NEVER, 7, 7, NEVER, 7, 7, *[NEVER] * 4]), (True, [NEVER, *[7] * 6, *[NEVER] * 4])],
)
def test_from_the_second_copy_on_the_block_and_the_first_copy_are_hidden(mask_delimiters, until) -> None:
    stream = [1, BS, 5, 6, BE, SS, 7, SE, 2]
    extended = expand_for_restart(stream, MARKERS, mask_delimiters=mask_delimiters)
    assert [stream[i] for i in extended.source] == [1, BS, 5, 6, BE, SS, 7, SS, 7, SE, 2]
    assert extended.source.tolist() == [0, 1, 2, 3, 4, 5, 6, 5, 6, 7, 8]
    assert extended.is_copy.nonzero()[0].tolist() == [7, 8]
    assert extended.visible_until.tolist() == until


def test_the_copy_of_a_memento_inside_a_block_goes_with_the_block() -> None:
    stream = [BS, BS, BE, SS, SE, BE, SS, SE, 1]
    extended = expand_for_restart(stream, MARKERS)
    assert extended.source.tolist() == [0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8]
    assert extended.visible_until.tolist() == [NEVER, 8, 8, 4, 8, 8, NEVER, 8, *[NEVER] * 3]
