"""Deadlines of sync and async calls, in the main thread and in others, and the calls that cannot be stopped.

Whatever needs the main thread runs in a process of its own: under pytest-xdist the tests' thread need not be it.
"""

import asyncio
import contextvars
import pickle
import random
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from riverrun.engine.pool import WorkerPool, current_permit, released
from riverrun.engine.thread_calls import GRACE_SECONDS, DeadlineSignal
from riverrun.engine.timeouts import DeadlineExceeded, abandoned, acall_with_timeout, call_with_timeout

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
        with pytest.raises(DeadlineExceeded, match=r"spin exceeded its timeout of 0.02 second\(s\)$") as caught:
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


def run_main(code):
    """Run code in the main thread of a fresh interpreter; gives its output."""
    script = "import os, signal, threading, time, random\nfrom riverrun.engine.timeouts import *\n"
    script += "from riverrun.engine.thread_calls import DeadlineSignal\nfrom riverrun.engine.interrupts import gate\n"
    script += "def spin():\n    while True: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", script + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=WAIT * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


class TestInTheMainThread:
    def test_stops_what_only_an_alarm_can_stop(self):
        assert run_main(
            """
            lock = threading.Lock(); lock.acquire()
            waits = [spin, lambda: time.sleep(30), lambda: lock.acquire(), threading.Event().wait, lock.acquire]
            waits.append(lambda: "".join("ab" for _ in iter(int, 1)))
            for wait in waits:
                try: call_with_timeout(wait, (), {}, 0.02)
                except DeadlineExceeded as error: print(error.abandoned)
            print(signal.getsignal(signal.SIGALRM) == signal.SIG_DFL, signal.getitimer(signal.ITIMER_REAL)[0], gate.open)
            """
        ) == ["False"] * 6 + ["True", "0.0", "False"]

    def test_values_errors_and_swallowed_deadlines(self):
        assert run_main(
            """
            print(call_with_timeout(lambda a: a, (1,), {}, 10))
            def bad(): raise TimeoutError("mine")
            try: call_with_timeout(bad, (), {}, 10)
            except TimeoutError as error: print(type(error).__name__, error)
            def swallows():
                try: spin()
                except BaseException: return 5
            try: call_with_timeout(swallows, (), {}, 0.01)
            except DeadlineExceeded: print("swallowed")
            def translates():
                try: spin()
                except BaseException: raise KeyError(1)
            try: call_with_timeout(translates, (), {}, 0.01)
            except DeadlineExceeded as error: print(type(error.__cause__).__name__)
            try: call_with_timeout(print, ("never",), {}, 0)
            except DeadlineExceeded: print("zero")
            """
        ) == ["1", "TimeoutError", "mine", "swallowed", "KeyError", "zero"]

    def test_nested_deadlines(self):
        assert run_main(
            """
            def inner_fires():
                try: call_with_timeout(spin, (), {}, 0.01, "inner")
                except DeadlineExceeded as error: print(error.name)
                return "on"
            print(call_with_timeout(inner_fires, (), {}, 10, "outer"))
            def outer_fires():
                try: call_with_timeout(spin, (), {}, 10, "inner")
                except DeadlineExceeded: print("wrong")
                except BaseException as error: print(type(error).__name__); raise
            try: call_with_timeout(outer_fires, (), {}, 0.01, "outer")
            except DeadlineExceeded as error: print(error.name)
            def both():
                try: call_with_timeout(spin, (), {}, 0.01, "inner")
                except DeadlineExceeded as error: print(error.name)
                spin()
            try: call_with_timeout(both, (), {}, 0.03, "outer")
            except DeadlineExceeded as error: print(error.name)
            def third(): call_with_timeout(lambda: call_with_timeout(spin, (), {}, 9, "c"), (), {}, 0.01, "b")
            try: call_with_timeout(third, (), {}, 5, "a")
            except DeadlineExceeded as error: print(error.name)
            print(signal.getitimer(signal.ITIMER_REAL)[0], gate.pending)
            """
        ) == ["inner", "on", "DeadlineSignal", "outer", "inner", "outer", "b", "0.0", "None"]

    def test_no_alarm_strays_after_the_call(self):
        run_main(
            """
            seed = random.randrange(2**32)
            rng = random.Random(seed)
            def work(seconds):
                end = time.monotonic() + seconds
                while time.monotonic() < end: pass
            deadline = time.monotonic() + 0.7
            fired = rounds = 0
            while time.monotonic() < deadline:
                rounds += 1
                try: call_with_timeout(work, (0.001 + rng.uniform(-0.0003, 0.0003),), {}, 0.001)
                except DeadlineExceeded: fired += 1
                for _ in range(100): pass
                assert not gate.open and gate.pending is None, seed
                assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL, seed
            assert rounds > 10, seed
            """
        )

    def test_a_deadline_that_strikes_riverruns_own_code_waits_for_the_gate(self):
        assert run_main(
            """
            def engine_code():
                gate.open = False
                end = time.monotonic() + 0.05
                while time.monotonic() < end: pass
                print(type(gate.pending).__name__)
                gate.open = True
            try: call_with_timeout(engine_code, (), {}, 0.01)
            except DeadlineExceeded: print("late")
            print(gate.pending)
            """
        ) == ["DeadlineSignal", "late", "None"]

    def test_a_pending_signal_is_raised_before_the_call(self):
        assert run_main(
            """
            gate.pending = KeyboardInterrupt()
            try: call_with_timeout(print, ("never",), {}, 1)
            except KeyboardInterrupt: print("interrupted", gate.pending)
            """
        ) == ["interrupted", "None"]

    def test_the_users_own_alarm_is_left_alone(self):
        assert run_main(
            """
            rings = []
            def mine(*args): rings.append(1)
            signal.signal(signal.SIGALRM, mine)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            try: call_with_timeout(spin, (), {}, 0.05)
            except DeadlineExceeded as error: print(error.abandoned)
            print(len(rings), signal.getsignal(signal.SIGALRM) is mine)
            main = threading.main_thread()
            print(call_with_timeout(lambda: threading.current_thread() is main, (), {}, 5))
            """
        ) == ["False", "1", "True", "False"]

    def test_a_timer_set_with_the_default_action_is_left_alone(self):
        assert run_main(
            """
            signal.setitimer(signal.ITIMER_REAL, 60)
            try: call_with_timeout(spin, (), {}, 0.02)
            except DeadlineExceeded: print("stopped")
            print(signal.getitimer(signal.ITIMER_REAL)[0] > 50)
            """
        ) == ["stopped", "True"]

    def test_a_user_who_takes_the_alarm_inside_keeps_it(self):
        assert run_main(
            """
            def mine(*args): pass
            def takes(): signal.signal(signal.SIGALRM, mine)
            call_with_timeout(takes, (), {}, 5)
            print(signal.getsignal(signal.SIGALRM) is mine)
            """
        ) == ["True"]

    def test_an_interrupt_while_it_waits_for_the_thread_stops_the_call(self):
        assert run_main(
            """
            def mine(*args): pass
            signal.signal(signal.SIGALRM, mine)
            signal.signal(signal.SIGINT, lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
            stopped = threading.Event()
            def work():
                try:
                    threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
                    spin()
                finally:
                    stopped.set()
            try: call_with_timeout(work, (), {}, 9)
            except KeyboardInterrupt: print("interrupted", stopped.wait(5))
            """
        ) == ["interrupted", "True"]

    def test_a_forked_child_has_no_deadline(self):
        assert run_main(
            """
            def forks():
                child = os.fork()
                if child == 0:
                    time.sleep(0.1)
                    os._exit(0 if signal.getitimer(signal.ITIMER_REAL)[0] == 0.0 else 1)
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(call_with_timeout(forks, (), {}, 10))
            """
        ) == ["0"]


class TestCoroutines:
    def run(self, coroutine):
        return asyncio.run(coroutine)

    def test_value_error_and_arguments(self):
        async def add(a, b):
            return a + b

        async def bad():
            raise LookupError("x")

        assert self.run(acall_with_timeout(add, (1,), {"b": 2}, WAIT)) == 3
        with pytest.raises(LookupError):
            self.run(acall_with_timeout(bad, (), {}, WAIT))

    def test_cancels_at_the_deadline(self):
        ends = []

        async def sleeper():
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

        with pytest.raises(DeadlineExceeded, match="sleeper exceeded its timeout of 0.01"):
            self.run(acall_with_timeout(sleeper, (), {}, 0.01))
        assert ends == ["cancelled"]

    def test_zero_does_not_begin(self):
        async def never():
            raise AssertionError

        with pytest.raises(DeadlineExceeded):
            self.run(acall_with_timeout(never, (), {}, 0))

    def test_the_users_own_timeouts_and_cancellations_pass(self):
        async def own_timeout():
            async with asyncio.timeout(0.001):
                await asyncio.sleep(WAIT)

        async def own_error():
            raise TimeoutError("mine")

        async def own_cancel():
            raise asyncio.CancelledError("mine")

        for function in (own_timeout, own_error):
            with pytest.raises(TimeoutError) as caught:
                self.run(acall_with_timeout(function, (), {}, WAIT))
            assert not isinstance(caught.value, DeadlineExceeded)
        with pytest.raises(asyncio.CancelledError):
            self.run(acall_with_timeout(own_cancel, (), {}, WAIT))

    def test_a_cancellation_from_outside_stays_one(self):
        async def sleeper():
            await asyncio.sleep(WAIT)

        async def main():
            task = asyncio.ensure_future(acall_with_timeout(sleeper, (), {}, WAIT))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return task.cancelled()

        assert self.run(main())

    def test_swallowing_or_translating_the_cancellation_still_timed_out(self):
        async def swallows():
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                return "fine"

        async def translates():
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                raise KeyError(1) from None

        with pytest.raises(DeadlineExceeded):
            self.run(acall_with_timeout(swallows, (), {}, 0.01))
        with pytest.raises(DeadlineExceeded) as caught:
            self.run(acall_with_timeout(translates, (), {}, 0.01))
        assert isinstance(caught.value.__cause__, KeyError)

    def test_code_that_blocked_the_loop_past_its_deadline_timed_out(self):
        async def blocks():
            time.sleep(0.02)
            return "late"

        with pytest.raises(DeadlineExceeded):
            self.run(acall_with_timeout(blocks, (), {}, 0.005))

    def test_nested(self):
        async def sleeper():
            await asyncio.sleep(WAIT)

        async def outer():
            try:
                await acall_with_timeout(sleeper, (), {}, 0.01, "inner")
            except DeadlineExceeded as error:
                assert error.name == "inner"
            await acall_with_timeout(sleeper, (), {}, WAIT, "second")

        with pytest.raises(DeadlineExceeded) as caught:
            self.run(acall_with_timeout(outer, (), {}, 0.05, "outer"))
        assert caught.value.name == "outer"

    def test_a_coroutine_that_goes_on_is_reported(self, monkeypatch, caplog):
        monkeypatch.setattr("riverrun.engine.timeouts.STUBBORN_SECONDS", 0.01)

        async def stubborn():
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)

        with caplog.at_level("WARNING", logger="riverrun.timeouts"), pytest.raises(DeadlineExceeded):
            self.run(acall_with_timeout(stubborn, (), {}, 0.01))
        assert "stubborn was cancelled at its timeout of 0.01 second(s) but goes on" in caplog.text


def test_the_grace_is_short():
    assert GRACE_SECONDS <= 0.05
