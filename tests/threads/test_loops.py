"""Loop threads: many coroutines on one loop, contexts, closing, fork; and awaiting from sync code."""

import asyncio
import contextvars
import os
import threading

import pytest

from riverrun.base.loops import LoopThread, run_blocking

WAIT = 10.0
variable = contextvars.ContextVar("variable", default="unset")


class Outcomes:
    def __init__(self, count):
        self.list = []
        self.missing = count
        self.all = threading.Event()

    def __call__(self, value, error):
        self.list.append((value, error))
        self.missing -= 1
        if self.missing == 0:
            self.all.set()


@pytest.fixture
def loop():
    thread = LoopThread("test-loop")
    yield thread
    assert thread.close(WAIT)


def empty():
    return contextvars.Context()


def test_a_thousand_coroutines_share_one_loop(loop):
    done, loops = Outcomes(1000), set()

    async def work(number):
        loops.add((id(asyncio.get_running_loop()), threading.current_thread().name))
        await asyncio.sleep(0.01)
        return number

    for number in range(1000):
        loop.submit(lambda number=number: work(number), empty(), done)
    assert done.all.wait(WAIT)
    assert sorted(value for value, _ in done.list) == list(range(1000))
    assert len(loops) == 1
    assert next(iter(loops))[1] == "test-loop"
    assert loop._thread.daemon


def test_submissions_from_many_threads_are_all_run(loop):
    done = Outcomes(800)

    async def work():
        return 1

    threads = [
        threading.Thread(target=lambda: [loop.submit(work, empty(), done) for _ in range(100)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert done.all.wait(WAIT)


def test_each_has_its_own_context(loop):
    done, context = Outcomes(2), contextvars.copy_context()
    context.run(variable.set, "mine")

    async def work():
        before = variable.get()
        variable.set("changed")
        return before

    loop.submit(work, context, done)
    loop.submit(work, empty(), done)
    assert done.all.wait(WAIT)
    assert [value for value, _ in done.list] == ["mine", "unset"]
    assert context[variable] == "changed"


@pytest.mark.parametrize("raised", [ValueError("x"), SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_is_raised_is_told_and_the_loop_lives_on(loop, raised):
    done = Outcomes(1)

    async def bad():
        raise raised

    def bad_factory():
        raise raised

    loop.submit(bad, empty(), done)
    assert done.all.wait(WAIT)
    again = Outcomes(2)
    loop.submit(bad_factory, empty(), again)

    async def good():
        return 2

    loop.submit(good, empty(), again)
    assert again.all.wait(WAIT)
    assert done.list == [(None, raised)]
    assert again.list == [(None, raised), (2, None)]


def test_an_error_that_nobody_waits_for_is_logged(loop, caplog):
    done = Outcomes(1)

    async def bad():
        raise LookupError("unheard")

    async def good():
        return 1

    loop.submit(bad, empty())
    loop.submit(good, empty())
    loop.submit(good, empty(), done)
    assert done.all.wait(WAIT)
    assert "nobody waits for its outcome" in caplog.text
    assert "unheard" in caplog.text


def test_closing_cancels_what_runs_and_refuses_more():
    loop, done, running = LoopThread("closing"), Outcomes(3), threading.Event()

    async def long():
        running.set()
        await asyncio.sleep(WAIT)

    loop.submit(long, empty(), done)
    assert running.wait(WAIT)
    loop.submit(long, empty(), done)
    loop.submit(long, empty(), done)
    assert loop.close(WAIT)
    assert [type(error) for _, error in done.list] == [asyncio.CancelledError] * 3
    with pytest.raises(RuntimeError, match="is closed"):
        loop.submit(long, empty(), done)
    assert loop.close(0.1)
    assert loop.running == 0


def test_closing_waits_no_longer_than_its_grace():
    loop, done, running, leave = LoopThread("blocked"), Outcomes(1), threading.Event(), threading.Event()

    async def blocks():
        running.set()
        leave.wait(WAIT)

    loop.submit(blocks, empty(), done)
    assert running.wait(WAIT)
    assert not loop.close(0.01)
    leave.set()
    assert done.all.wait(WAIT)
    assert loop.close(WAIT)


def test_closing_an_unused_loop_is_nothing():
    assert LoopThread("unused").close()


def test_async_generators_are_closed_at_the_end():
    loop, done, closed = LoopThread("generators"), Outcomes(1), []

    async def generator():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    kept = generator()

    async def one():
        return await anext(kept)

    loop.submit(one, empty(), done)
    assert done.all.wait(WAIT)
    assert loop.close(WAIT)
    assert closed == [True]


def test_a_forked_child_begins_with_an_empty_loop(loop):
    done = Outcomes(1)

    async def work():
        return 3

    loop.submit(work, empty(), done)
    assert done.all.wait(WAIT)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        again = Outcomes(1)
        loop.submit(work, empty(), again)
        os.write(writable, b"ok" if again.all.wait(WAIT) else b"no")
        os._exit(0)
    os.close(writable)
    assert os.read(readable, 2) == b"ok"
    os.close(readable)
    os.waitpid(child, 0)


def test_run_blocking_gives_value_error_and_context():
    async def work():
        await asyncio.sleep(0)
        return variable.get()

    async def bad():
        raise LookupError("x")

    token = variable.set("seen")
    try:
        assert run_blocking(work()) == "seen"
    finally:
        variable.reset(token)
    with pytest.raises(LookupError):
        run_blocking(bad())

    async def inside_a_running_loop():
        return run_blocking(work())

    assert asyncio.run(inside_a_running_loop()) == "unset"
