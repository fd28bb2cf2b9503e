"""Deadlines of calls in the main thread, by alarm, each in a process of its own: the tests' thread need not be the main one."""

import subprocess
import sys
import textwrap

WAIT = 10.0


def run_main(code):
    """Run code in the main thread of a fresh interpreter; gives its output."""
    script = "import os, signal, threading, time, random\nfrom riverrun.engine.timeouts import *\n"
    script += "from riverrun.engine.thread_calls import DeadlineSignal\nfrom riverrun.base.interrupts import gate\n"
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
