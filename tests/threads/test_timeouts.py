"""Deadlines of calls in threads that are not the main one, and the calls that cannot be stopped."""

import contextvars
import pickle
import random
import threading
import time

import pytest

from riverrun.base.pool import WorkerPool, current_permit, released
from riverrun.engine.thread_calls import GRACE_SECONDS, DeadlineSignal
from riverrun.engine.timeouts import DeadlineExceeded, abandoned, call_with_timeout

WAIT = 10.0


def in_thread(function, *args):
    """Run in a fresh thread that is not the main one; gives its value or raises its error."""
    outcome = []

    def run():
        try:
            outcome.append((function(*args), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(WAIT)
    assert outcome, "the call did not come back"
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


def limited(fn, seconds, *args, **kwargs):
    return in_thread(lambda: call_with_timeout(fn, args, kwargs, seconds))


def spin():
    while True:
        pass


class TestInAThread:
    def test_gives_the_value_and_the_error(self):
        assert limited(lambda a, b: a + b, WAIT, 1, b=2) == 3
        error = ValueError("mine")

        def bad():
            raise error

        with pytest.raises(ValueError) as caught:
            limited(bad, WAIT)
        assert caught.value is error

    @pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), StopIteration(4), GeneratorExit()])
    def test_every_exception_passes_unchanged(self, raised):
        def bad():
            raise raised

        with pytest.raises(type(raised)) as caught:
            limited(bad, WAIT)
        assert caught.value is raised

    def test_the_users_own_timeout_error_is_not_ours(self):
        def bad():
            raise TimeoutError("the database's")

        with pytest.raises(TimeoutError, match="the database's") as caught:
            limited(bad, WAIT)
        assert not isinstance(caught.value, DeadlineExceeded)

    def test_stops_a_loop(self):
        with pytest.raises(DeadlineExceeded, match=r"spin timed out after 0.02 second\(s\)$") as caught:
            limited(spin, 0.02)
        assert not caught.value.abandoned
        assert caught.value.deadline == 0.02
        assert not caught.value.still_runs()
        assert caught.value.wait(0)

    def test_code_that_handles_exceptions_and_timeouts_does_not_swallow_it(self):
        def stubborn():
            while True:
                try:
                    spin()
                except (Exception, TimeoutError):
                    pass

        with pytest.raises(DeadlineExceeded) as caught:
            limited(stubborn, 0.02)
        assert not caught.value.abandoned

    def test_finally_blocks_run(self):
        cleaned = []

        def careful():
            try:
                spin()
            finally:
                cleaned.append(True)

        with pytest.raises(DeadlineExceeded):
            limited(careful, 0.02)
        assert cleaned == [True]

    def test_zero_seconds_fire_before_anything_is_called(self):
        called = []
        with pytest.raises(DeadlineExceeded):
            limited(lambda: called.append(1), 0)
        assert called == []

    def test_code_that_swallows_everything_and_returns_still_timed_out(self):
        def swallows():
            try:
                spin()
            except BaseException:
                return "fine"

        with pytest.raises(DeadlineExceeded) as caught:
            limited(swallows, 0.02)
        assert caught.value.__cause__ is None

    def test_an_error_raised_while_it_was_stopped_is_the_cause(self):
        def translates():
            try:
                spin()
            except BaseException:
                raise ValueError("in cleanup") from None

        with pytest.raises(DeadlineExceeded) as caught:
            limited(translates, 0.02)
        assert isinstance(caught.value.__cause__, ValueError)

    def test_a_lock_cannot_be_interrupted_and_is_listed_until_it_is_given(self):
        lock = threading.Lock()
        lock.acquire()

        def blocked():
            lock.acquire()

        with pytest.raises(DeadlineExceeded, match=r"still runs at .*test_timeouts.py:\d+ in blocked") as caught:
            limited(blocked, 0.02)
        error = caught.value
        assert error.abandoned
        assert error.still_runs()
        mine = [call for call in abandoned() if call.name.endswith("blocked")]
        assert len(mine) == 1
        assert "in blocked" in mine[0].where
        assert not error.wait(0)
        lock.release()
        assert error.wait(WAIT)
        assert not error.still_runs()
        assert [call for call in abandoned() if call.name.endswith("blocked")] == []

    def test_what_an_abandoned_call_returns_or_raises_is_dropped(self, monkeypatch):
        unheard = []
        monkeypatch.setattr(threading, "excepthook", unheard.append)
        leave = threading.Event()

        def late():
            try:
                leave.wait(WAIT)
            except BaseException:
                raise OSError("too late to matter") from None

        with pytest.raises(DeadlineExceeded) as caught:
            limited(late, 0.01)
        leave.set()
        assert caught.value.wait(WAIT)
        assert unheard == []

    def test_a_thread_that_was_struck_serves_the_next_call_unharmed(self):
        def sleeper():
            time.sleep(0.005)
            return 7

        def many():
            good = 0
            for _ in range(40):
                try:
                    good += call_with_timeout(sleeper, (), {}, 0.005) == 7
                except DeadlineExceeded:
                    pass
                assert call_with_timeout(sleeper, (), {}, WAIT) == 7
            return good

        assert 0 <= in_thread(many) <= 40

    def test_the_context_goes_along(self):
        variable = contextvars.ContextVar("variable", default="no")

        def caller():
            variable.set("yes")
            return call_with_timeout(variable.get, (), {}, WAIT)

        assert in_thread(caller) == "yes"

    def test_the_inner_deadline_is_the_inner_calls(self):
        def outer():
            with pytest.raises(DeadlineExceeded):
                call_with_timeout(spin, (), {}, 0.02, "inner")
            return "went on"

        assert limited(outer, WAIT) == "went on"

    def test_the_outer_deadline_stops_the_inner_call_too(self):
        ended = threading.Event()

        def innermost():
            try:
                spin()
            finally:
                ended.set()

        def outer():
            call_with_timeout(innermost, (), {}, WAIT)

        with pytest.raises(DeadlineExceeded, match="outer"):
            limited(outer, 0.05)
        assert ended.wait(WAIT)

    def test_a_thread_inside_riverrun_is_struck_when_it_comes_back(self):
        leave, seen = threading.Event(), []
        entered = threading.Event()
        pool = WorkerPool(1, "pool")

        def user():
            try:
                entered.set()
                pool.shutdown(wait=True)  # a wait inside riverrun
                seen.append("came back")
                spin()
            except BaseException as error:
                seen.append(type(error))
                raise

        pool.submit(lambda: leave.wait(WAIT))
        with pytest.raises(DeadlineExceeded) as caught:
            limited(user, 0.02)
        assert caught.value.abandoned
        assert seen == []
        leave.set()
        assert caught.value.wait(WAIT)
        assert seen[-1] is DeadlineSignal

    def test_errors_travel_by_pickle(self):
        error = DeadlineExceeded("f", 1.5, "file.py:3 in f")
        twin = pickle.loads(pickle.dumps(error))
        assert (twin.name, twin.deadline, twin.where, twin.abandoned) == ("f", 1.5, "file.py:3 in f", True)
        assert str(twin) == str(error)
        assert twin.wait(0)

    def test_random_deadlines_around_the_end_of_the_call(self):
        seed = random.randrange(2**32)
        print("seed", seed)
        rng = random.Random(seed)

        def work(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
            return "value"

        def many():
            outcomes = set()
            for _ in range(150):
                try:
                    outcomes.add(call_with_timeout(work, (rng.uniform(0, 0.004),), {}, 0.002))
                except DeadlineExceeded as error:
                    outcomes.add("abandoned" if error.abandoned else "stopped")
            return outcomes

        assert in_thread(many) <= {"value", "stopped", "abandoned"}


class TestPermits:
    def run_in_pool(self, pool, function):
        outcome, done = [], threading.Event()

        def job():
            try:
                outcome.append(function())
            finally:
                done.set()

        pool.submit(job)
        assert done.wait(WAIT)
        return outcome[0]

    def test_a_call_has_its_callers_permit_and_gives_it_up_while_it_waits(self):
        pool = WorkerPool(1, "pool")

        def child_wait():
            child = threading.Event()
            pool.submit(child.set)
            with released():
                return child.wait(WAIT)

        assert self.run_in_pool(pool, lambda: call_with_timeout(child_wait, (), {}, WAIT))
        assert self.run_in_pool(pool, lambda: (pool.running, current_permit().held)) == (1, True)
        assert pool.shutdown(timeout=WAIT) == []
        assert pool.running == 0

    @pytest.mark.parametrize("depth", [1, 2, 3])
    @pytest.mark.parametrize("waits", [False, True])
    def test_an_abandoned_call_gives_its_permit_up(self, depth, waits):
        pool, leave, lock = WorkerPool(1, "pool"), threading.Event(), threading.Lock()
        lock.acquire()
        ends = []

        def stuck():
            if waits:
                with released():
                    lock.acquire()
            else:
                lock.acquire()
            lock.release()

        def nest(level):
            if level == 1:
                return stuck()
            return call_with_timeout(nest, (level - 1,), {}, WAIT)

        def task():
            try:
                call_with_timeout(nest, (depth,), {}, 0.02)
            except DeadlineExceeded as error:
                ends.append(error)
            return pool.running, current_permit().held

        assert self.run_in_pool(pool, task) == (1, True)
        assert self.run_in_pool(pool, lambda: pool.running) == 1
        lock.release()
        assert ends[0].wait(WAIT)
        assert self.run_in_pool(pool, lambda: (pool.running, current_permit().held)) == (1, True)
        pool.shutdown(timeout=WAIT)
        assert pool.running == 0
        leave.set()

    # A strike may pass to a thread that is being started by the one that is struck (thread_calls._aimed); it dies unborn,
    # which Python reports.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_random_nests_of_deadlines_leave_no_permit_behind(self):
        seed = random.randrange(2**32)
        print("seed", seed)
        rng, pool, all_done = random.Random(seed), WorkerPool(3, "pool"), threading.Event()
        lock, odd, left = threading.Lock(), [], 120

        def spin_for(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass

        def wait_for(seconds):
            with released():
                time.sleep(seconds)

        def nest(depth, choice):
            if depth == 0:
                work = choice.choice([spin_for, time.sleep, wait_for])
                return work(choice.uniform(0, 0.005) if choice.random() < 0.9 else 0.1)
            try:
                return call_with_timeout(nest, (depth - 1, choice), {}, choice.uniform(0.0005, 0.006))
            except DeadlineExceeded:
                return None

        def job(choice):
            nonlocal left
            try:
                call_with_timeout(nest, (choice.randrange(3), choice), {}, choice.uniform(0.0005, 0.008))
            except DeadlineExceeded:
                pass
            except BaseException as error:
                odd.append(error)
            if not current_permit().held or pool.running > 3:
                odd.append("permits")
            with lock:
                left -= 1
                if not left:
                    all_done.set()

        for _ in range(120):
            pool.submit(lambda choice=random.Random(rng.random()): job(choice))
        assert all_done.wait(WAIT)
        assert odd == []
        end = time.monotonic() + WAIT
        while (pool.running or pool._busy) and time.monotonic() < end:
            time.sleep(0.005)
        assert pool.running == 0


def test_the_grace_is_short():
    assert GRACE_SECONDS <= 0.05
