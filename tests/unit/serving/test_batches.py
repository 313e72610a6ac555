import asyncio

import numpy as np
import pytest

from serving.batches import Batches


def sums(calls: list[int]):
    """Scores a row by its sum, notes the size of each call, and fails on a row of 13s."""

    def score(matrix: np.ndarray) -> np.ndarray:
        calls.append(len(matrix))
        if (matrix == 13).any():
            raise RuntimeError("13")
        return matrix.sum(axis=1)

    return score


def rows(*values: float) -> np.ndarray:
    return np.array([[value, value] for value in values], dtype=np.float32)


def scored(matrices: list[np.ndarray]) -> tuple[list[object], list[int]]:
    """What each of several requests of one turn of the loop gets, and the sizes of the calls made."""
    calls: list[int] = []

    async def all_at_once() -> list[object]:
        batches = Batches(sums(calls))
        return await asyncio.gather(*(batches.score(each) for each in matrices), return_exceptions=True)

    return asyncio.run(all_at_once()), calls


def test_requests_of_one_turn_are_one_call_and_each_gets_its_own_scores():
    found, calls = scored([rows(1), rows(2, 3), rows(4)])
    assert [each.tolist() for each in found] == [[2], [4, 6], [8]]
    assert calls == [4]


def test_a_lone_request_is_scored_as_it_is():
    found, calls = scored([rows(5, 6)])
    assert (found[0].tolist(), calls) == ([10, 12], [2])


def test_a_request_that_fails_fails_alone():
    found, _ = scored([rows(1), rows(13), rows(2)])
    assert (found[0].tolist(), found[2].tolist()) == ([2], [4])
    assert isinstance(found[1], RuntimeError)


@pytest.mark.parametrize("failing", [False, True])
def test_a_caller_who_left_holds_nobody_up(failing):
    async def one_leaves() -> list[float]:
        batches = Batches(sums([]))
        left, stays = batches.score(rows(13 if failing else 1)), batches.score(rows(2))
        left.cancel()
        return (await stays).tolist()

    assert asyncio.run(one_leaves()) == [4]


def test_the_next_turn_is_a_batch_of_its_own():
    calls: list[int] = []

    async def two_turns() -> None:
        batches = Batches(sums(calls))
        await asyncio.gather(batches.score(rows(1)), batches.score(rows(2)))
        await batches.score(rows(3))

    asyncio.run(two_turns())
    assert calls == [2, 1]
