import asyncio
import os

from serving import log
from serving.log import PredictionLog


def written(lines: list[bytes]) -> tuple[bytes, PredictionLog]:
    reading, writing = os.pipe()

    async def write() -> PredictionLog:
        journal = PredictionLog(writing)
        for line in lines:
            journal.append(line, 1)
        journal.close(10)
        return journal

    journal = asyncio.run(write())
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read(), journal


def test_everything_appended_is_written_in_order_when_closed():
    lines = [b"%d\n" % number for number in range(1000)]
    found, journal = written(lines)
    assert (found, journal.dropped) == (b"".join(lines), 0)


def test_more_chunks_than_one_call_takes_are_all_written():
    lines = [b"%d\n" % number for number in range(5000)]
    found, journal = written(lines)
    assert (found, journal.dropped) == (b"".join(lines), 0)


def test_lines_leave_after_a_moment_without_being_asked():
    reading, writing = os.pipe()

    async def write() -> bytes:
        journal = PredictionLog(writing)
        journal.append(b"line\n", 1)
        found = await asyncio.to_thread(os.read, reading, 100)
        journal.close(10)
        return found

    assert asyncio.run(write()) == b"line\n"
    os.close(reading)
    os.close(writing)


def test_lines_that_nobody_can_read_are_counted_as_dropped():
    reading, writing = os.pipe()
    os.close(reading)

    async def write() -> int:
        journal = PredictionLog(writing)
        journal.append(b"one\ntwo\n", 2)
        journal.close(10)
        return journal.dropped

    assert asyncio.run(write()) == 2
    os.close(writing)


def test_a_reader_that_is_too_slow_costs_lines_and_not_memory(monkeypatch):
    monkeypatch.setattr(log, "FULL", 64 << 10)
    monkeypatch.setattr(log, "MOST_PENDING", 100_000)
    reading, writing = os.pipe()

    async def write() -> tuple[int, int]:
        journal = PredictionLog(writing)
        line = b"x" * 999 + b"\n"
        for _ in range(1000):
            journal.append(line, 1)
        journal.flush()
        dropped, read = journal.dropped, 0
        while read < (1000 - dropped) * len(line):
            read += len(await asyncio.to_thread(os.read, reading, 1 << 20))
        journal.close(10)
        return dropped, read // len(line)

    dropped, read = asyncio.run(write())
    assert dropped > 500
    assert dropped + read == 1000
    os.close(reading)
    os.close(writing)


def test_lines_dropped_before_the_writer_and_by_it_are_counted_together(monkeypatch):
    monkeypatch.setattr(log, "FULL", 64 << 10)
    monkeypatch.setattr(log, "MOST_PENDING", 100_000)
    reading, writing = os.pipe()

    async def write() -> tuple[int, int]:
        journal = PredictionLog(writing)
        for _ in range(1000):
            journal.append(b"x" * 999 + b"\n", 1)
        journal.flush()
        refused = journal.dropped
        os.close(reading)
        journal.close(10)
        return refused, journal.dropped

    refused, dropped = asyncio.run(write())
    assert 500 < refused < dropped <= 1000
    os.close(writing)
