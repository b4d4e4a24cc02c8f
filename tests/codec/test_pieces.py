"""Threads: results in order, few jobs in flight, errors that arrive."""

import threading
import time

import pytest

from sarlab.codec.pieces import Workers, processors
from sarlab.errors import CodecError


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_order_with_few_jobs_in_flight(count):
    drawn, names = [], set()

    def jobs():
        for n in range(40):
            drawn.append(n)
            yield n

    def work(n):
        names.add(threading.current_thread().name)
        time.sleep(0.001 * (n % 3))
        return n * n

    with Workers(count) as workers:
        for taken, result in enumerate(workers.map(work, jobs())):
            assert result == taken * taken
            assert len(drawn) - taken <= 2 * count + 1
    assert (names == {"MainThread"}) == (count == 1)


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_arrives_and_ends_the_work(count):
    done = []

    def work(n):
        if n == 3:
            raise ZeroDivisionError
        done.append(n)

    with pytest.raises(ZeroDivisionError), Workers(count) as workers:
        list(workers.map(work, range(1000)))
    assert len(done) < 20


def test_numbers_of_workers():
    assert Workers(0).count == processors() >= 1
    with pytest.raises(CodecError, match="must be positive"):
        Workers(-1)
