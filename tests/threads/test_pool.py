"""The worker pool: order, bounds, permits, idle threads, shutdown, fork, and the hint of a stalled pool."""

import logging
import os
import random
import threading
import time

import pytest

from riverrun.base.pool import WorkerPool, adopt, current_permit, released, successor, take, whereabouts

WAIT = 10.0


class Countdown:
    def __init__(self, n):
        self.left = n
        self.done = threading.Event()
        self.lock = threading.Lock()

    def __call__(self):
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.done.set()


@pytest.fixture
def make_pool():
    pools = []

    def make(max_workers=None, **options):
        pools.append(WorkerPool(max_workers, "pool", **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.shutdown(wait=True, cancel_pending=True, timeout=WAIT)


def test_runs_what_is_submitted_in_order_with_one_worker(make_pool):
    pool, seen, done = make_pool(1), [], threading.Event()
    for number in range(200):
        pool.submit(lambda number=number: seen.append(number))
    pool.submit(done.set)
    assert done.wait(WAIT)
    assert seen == list(range(200))


def test_a_bound_below_one_is_refused():
    with pytest.raises(ValueError, match="max_workers of the pool 'x' must be at least 1"):
        WorkerPool(0, "x")


@pytest.mark.parametrize("bound", [1, 3])
def test_never_more_than_the_bound_run(make_pool, bound):
    pool, count = make_pool(bound), Countdown(60)
    lock, running, most = threading.Lock(), 0, 0

    def job():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        count()

    for _ in range(60):
        pool.submit(job)
    assert count.done.wait(WAIT)
    assert most <= bound


def test_without_a_bound_all_run_at_once(make_pool):
    pool, together, count = make_pool(None), threading.Barrier(50), Countdown(50)

    def job():
        together.wait(WAIT)
        count()

    for _ in range(50):
        pool.submit(job)
    assert count.done.wait(WAIT)


def test_threads_are_daemons_with_the_name_of_the_pool_and_reused_newest_first(make_pool):
    pool = make_pool(None)
    release, names = threading.Event(), []
    started = threading.Barrier(4)

    def hold():
        started.wait(WAIT)
        release.wait(WAIT)

    for _ in range(3):
        pool.submit(hold)
    started.wait(WAIT)
    release.set()
    while pool._busy:
        time.sleep(0.001)
    newest = pool._idle[-1]
    for _ in range(3):
        done = threading.Event()
        pool.submit(lambda done=done: (names.append(threading.current_thread()), done.set()))
        assert done.wait(WAIT)
        while pool._busy:
            time.sleep(0.001)
    assert names == [newest] * 3
    assert newest.daemon
    assert newest.name.startswith("pool-")


def test_idle_threads_end(make_pool):
    pool, ran = make_pool(None, idle_seconds=0.01), threading.Event()
    thread = []
    pool.submit(lambda: (thread.append(threading.current_thread()), ran.set()))
    assert ran.wait(WAIT)
    thread[0].join(WAIT)
    assert not thread[0].is_alive()
    again = threading.Event()
    pool.submit(again.set)
    assert again.wait(WAIT)


def test_a_job_given_at_the_moment_of_retirement_is_run(make_pool):
    pool = make_pool(None, idle_seconds=0.0)
    for _ in range(500):
        ran = threading.Event()
        pool.submit(ran.set)
        assert ran.wait(WAIT)


@pytest.mark.parametrize("bound", [1, 2])
def test_nested_submits_do_not_deadlock_at_any_depth(make_pool, bound):
    pool = make_pool(bound)
    deepest = []

    def descend(level, done):
        if level == 0:
            deepest.append(threading.active_count())
        else:
            child = threading.Event()
            pool.submit(lambda: descend(level - 1, child))
            with released():
                assert child.wait(WAIT)
            assert current_permit().held
            assert pool.running <= bound
        done.set()

    top = threading.Event()
    pool.submit(lambda: descend(150, top))
    assert top.wait(WAIT)
    assert deepest


def test_random_trees_of_waiting_tasks_keep_the_bound(make_pool):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    pool = make_pool(3)
    lock, running, most, ended = threading.Lock(), 0, 0, []

    def enter(step):
        nonlocal running, most
        with lock:
            running += step
            most = max(most, running)

    def node(depth, choice, done):
        enter(+1)
        children = []
        for _ in range(choice.randrange(4) if depth else 0):
            child = threading.Event()
            children.append(child)
            pool.submit(lambda child=child, own=random.Random(choice.random()): node(depth - 1, own, child))
        for child in children:
            enter(-1)
            with released():
                assert child.wait(WAIT)
            enter(+1)
        ended.append(depth)
        enter(-1)
        done.set()

    roots = [threading.Event() for _ in range(8)]
    for root in roots:
        pool.submit(lambda root=root, choice=random.Random(rng.random()): node(4, choice, root))
    assert all(root.wait(WAIT) for root in roots)
    assert most <= 3
    while pool._busy:
        time.sleep(0.001)
    assert pool.running == 0
    assert pool.pending == 0


def test_waiters_that_return_go_before_new_tasks(make_pool):
    pool, order = make_pool(1), []
    first_waits, go, done = threading.Event(), threading.Event(), Countdown(3)

    def waiter():
        with released():
            first_waits.set()
            go.wait(WAIT)
        order.append("waiter")
        done()

    blocked, unblock = threading.Event(), threading.Event()

    def blocker():
        blocked.set()
        unblock.wait(WAIT)
        order.append("blocker")
        done()

    pool.submit(waiter)
    assert first_waits.wait(WAIT)
    pool.submit(blocker)
    assert blocked.wait(WAIT)
    pool.submit(lambda: (order.append("new"), done()))
    go.set()
    while not pool._returning:
        time.sleep(0.001)
    unblock.set()
    assert done.done.wait(WAIT)
    assert order == ["blocker", "waiter", "new"]


def test_released_is_nothing_outside_a_pool_and_counts_once_when_nested(make_pool):
    with released():
        assert current_permit() is None
    pool, seen, done = make_pool(2), [], threading.Event()

    def job():
        with released():
            seen.append(pool.running)
            with released():
                seen.append(pool.running)
            seen.append(pool.running)
        seen.append(pool.running)
        done.set()

    pool.submit(job)
    assert done.wait(WAIT)
    assert seen == [0, 0, 0, 1]


@pytest.mark.parametrize("gave_back", [False, True])
def test_a_permit_can_be_taken_from_the_thread_that_adopted_it(make_pool, gave_back):
    pool, done, leave = make_pool(1), threading.Event(), threading.Event()
    seen = {}

    def other(permit, inside):
        adopt(permit)
        if gave_back:
            with released():
                inside.set()
                leave.wait(WAIT)
            seen["other"] = current_permit().held
        else:
            inside.set()
            leave.wait(WAIT)
        seen["left"] = True
        seen["other thread done"] = threading.current_thread()

    def job():
        inside = threading.Event()
        permit = current_permit()
        thread = threading.Thread(target=other, args=(permit, inside), daemon=True)
        thread.start()
        inside.wait(WAIT)
        adopt(successor(permit))
        take(current_permit())
        seen["running"] = pool.running
        leave.set()
        thread.join(WAIT)
        seen["running after"] = pool.running
        done.set()

    pool.submit(job)
    assert done.wait(WAIT)
    assert seen["running"] == 1
    assert seen["running after"] == 1
    again = threading.Event()
    pool.submit(again.set)
    assert again.wait(WAIT)
    while pool._busy:
        time.sleep(0.001)
    assert pool.running == 0


def test_a_job_that_raises_is_reported_and_the_thread_lives_on(make_pool, monkeypatch):
    pool, reports, done = make_pool(1), [], threading.Event()
    monkeypatch.setattr(threading, "excepthook", reports.append)

    def bad():
        raise SystemExit(3)

    pool.submit(bad)
    pool.submit(done.set)
    assert done.wait(WAIT)
    assert [type(report.exc_value) for report in reports] == [SystemExit]


def test_shutdown_waits_and_refuses_more(make_pool):
    pool, ended = make_pool(2), []
    for number in range(10):
        pool.submit(lambda number=number: (time.sleep(0.002), ended.append(number)))
    assert pool.shutdown(wait=True) == []
    assert sorted(ended) == list(range(10))
    with pytest.raises(RuntimeError, match="is shut down"):
        pool.submit(print)


def test_shutdown_can_cancel_what_has_not_started_and_wait_no_longer_than_asked(make_pool):
    pool, inside, leave = make_pool(1), threading.Event(), threading.Event()
    pool.submit(lambda: (inside.set(), leave.wait(WAIT)))
    assert inside.wait(WAIT)
    waiting = [lambda: None, lambda: None]
    for job in waiting:
        pool.submit(job)
    assert pool.shutdown(wait=True, cancel_pending=True, timeout=0.01) == waiting
    leave.set()
    assert pool.shutdown(wait=True, timeout=WAIT) == []
    assert not pool._busy


def test_a_pool_in_which_nothing_moves_says_why_once(make_pool, caplog):
    pool, leave = make_pool(1, stall_seconds=0.01), threading.Event()
    said = threading.Event()

    class Listen(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())
            said.set()

    messages, handler, logger = [], Listen(), logging.getLogger("riverrun.task_runner")
    logger.addHandler(handler)
    before, logger.level = logger.level, logging.INFO
    try:
        pool.submit(lambda: leave.wait(WAIT))
        for _ in range(3):
            pool.submit(lambda: None)
        assert said.wait(WAIT)
        pool.submit(lambda: None)
        leave.set()
        pool.shutdown(wait=True)
    finally:
        logger.removeHandler(handler)
        logger.level = before
    assert len(messages) == 1
    assert "all 1 workers are busy" in messages[0]
    assert "3 tasks wait" in messages[0]
    assert "test_pool.py" in messages[0]


def test_whereabouts_of_threads():
    assert "test_pool.py" in whereabouts(threading.get_ident())
    assert whereabouts(None) is None
    assert whereabouts(1) is None


def test_a_forked_child_finds_the_pool_empty_and_usable(make_pool):
    pool, inside, leave = make_pool(1), threading.Event(), threading.Event()
    pool.submit(lambda: (inside.set(), leave.wait(WAIT)))
    pool.submit(lambda: None)
    assert inside.wait(WAIT)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"no"
        try:
            ran = threading.Event()
            empty = (pool.running, pool.pending, current_permit()) == (0, 0, None)
            pool.submit(ran.set)
            if ran.wait(WAIT) and empty:
                answer = b"ok"
        finally:
            os.write(writable, answer)
            os._exit(0)
    leave.set()
    os.close(writable)
    try:
        assert os.read(readable, 2) == b"ok"
    finally:
        os.close(readable)
        os.waitpid(child, 0)


def test_a_child_forked_by_a_job_holds_no_permit(make_pool):
    pool, results, done = make_pool(1), [], threading.Event()

    def job():
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            nested = threading.Event()
            pool.submit(nested.set)
            with released():
                os.write(writable, b"ok" if nested.wait(WAIT) else b"no")
            os._exit(0)
        os.close(writable)
        results.append(os.read(readable, 2))
        os.close(readable)
        os.waitpid(child, 0)
        done.set()

    pool.submit(job)
    assert done.wait(WAIT)
    assert results == [b"ok"]


def test_a_wait_in_another_module_of_riverrun_is_no_user_code():
    from uuid import uuid4

    from riverrun.base.pool import is_at_user_code
    from riverrun.futures import PrefectTaskRunFuture
    from riverrun.states import Completed

    future = PrefectTaskRunFuture(uuid4())
    thread = threading.Thread(target=lambda: future.wait(WAIT))
    thread.start()
    while not future._callbacks:
        time.sleep(0.001)
    time.sleep(0.01)
    assert not is_at_user_code(thread.ident, test_a_wait_in_another_module_of_riverrun_is_no_user_code.__code__)
    future.set_state(Completed())
    thread.join()
