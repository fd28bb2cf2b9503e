"""Run as a process: flows and tasks that do what no good code does, each in a forked child of its own.

`python -m tests.faults.hostile` prints {case: exit code}. What is wrong in a child ends it with an AssertionError, exit code 1.
"""

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from riverrun import flow, get_run_logger, tags, task

LONG = "n" * 10_000
CASES: dict[str, Callable[[], Any]] = {}


def case(fn: Callable[[], Any]) -> Callable[[], Any]:
    CASES[fn.__name__] = fn
    return fn


@task
def work(x: int = 1) -> int:
    return x


def flow_of(name: str, body: Callable[..., Any]) -> Any:
    return flow(name=name, validate_parameters=False)(body)


@case
def long_and_odd_names() -> None:
    @task(name=LONG, tags=[LONG], task_run_name=LONG, version=LONG, description=LONG)
    def named() -> None:
        get_run_logger().error("message %s", LONG)
        raise ValueError(LONG)

    def body() -> None:
        with tags("surrogate \ud800", "nul \0", "", LONG):
            assert named(return_state=True).name == "Failed"
        get_run_logger().error("nul \0 surrogate \ud800")

    flow_of("long_and_odd_names", body)()


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("str")

    __repr__ = __str__


@case
def raises_what_cannot_be_told() -> None:
    @task
    def fail() -> None:
        raise Mute

    def body(x: Any) -> str:
        for state in (fail(return_state=True), fail.submit().state):
            assert state is not None
        fail()
        return "never"

    try:
        flow_of("raises_what_cannot_be_told", body)(Mute())
    except Mute:
        return
    raise AssertionError


@case
def changes_the_process() -> None:
    @task
    def change() -> None:
        sys.settrace(lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.chdir("/")
        os.environ.clear()
        sys.stderr = sys.stdout = None  # type: ignore[assignment]
        time.time = lambda: 0  # type: ignore[assignment]
        random.seed(0)

    def body() -> int:
        change()
        return sum(work.map(range(10)).result())

    assert flow_of("changes_the_process", body)() == 45
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@case
def closes_descriptors_and_takes_their_numbers() -> None:
    place = Path(os.environ["RIVERRUN_HOME"]) / "of the user"
    place.mkdir()
    taken: list[int] = []

    @task
    def take() -> None:
        os.closerange(3, 256)
        for number in range(20):
            fd = os.open(place / str(number), os.O_RDWR | os.O_CREAT)
            os.write(fd, b"of the user")
            taken.append(fd)

    def body() -> int:
        take()
        return sum(work(x) for x in range(3000)) + sum(work.map(range(10)).result())

    assert flow_of("closes_descriptors_and_takes_their_numbers", body)() == sum(range(3000)) + 45
    from riverrun.client import journal

    assert journal.flush()
    journal.close()
    for number, fd in enumerate(taken):
        assert (place / str(number)).read_bytes() == b"of the user"
        if sys.version_info >= (3, 13) or number > 5:  # before, the `mmap` module closes its copies by number
            os.write(fd, b"!")


@case
def closes_everything() -> None:
    def body() -> int:
        os.closerange(0, 256)
        return sum(work(x) for x in range(500))

    assert flow_of("closes_everything", body)() == sum(range(500))


@case
def leaves_at_once() -> None:
    @task
    def leave() -> None:
        os._exit(5)

    def body() -> None:
        work()
        leave()

    flow_of("leaves_at_once", body)()


@case
def leaves_a_thread() -> None:
    def later() -> None:
        time.sleep(0.05)
        work(7)

    def body() -> None:
        threading.Thread(target=later).start()

    flow_of("leaves_a_thread", body)()


@case
def recurses() -> None:
    @task
    def deeper(n: int) -> int:
        return deeper(n + 1)

    @task
    def at_the_limit() -> int:
        def descend(n: int) -> int:
            try:
                return descend(n + 1)
            except RecursionError:
                return work(n)

        return descend(0)

    def body() -> int:
        state = deeper(0, return_state=True)
        assert state.name == "Failed" and "recursion" in (state.message or "")
        assert at_the_limit() > 100
        return work(3)

    assert flow_of("recurses", body)() == 3


@case
def has_no_memory() -> None:
    @task
    def huge() -> bytearray:
        return bytearray(10**15)

    def body() -> str:
        return str(huge(return_state=True).message)

    assert "MemoryError" in flow_of("has_no_memory", body)()


@case
def runs_in_two_threads() -> None:
    def body(n: int) -> int:
        return sum(work.map(range(n)).result()) + sum(work(x) for x in range(n))

    results: list[int] = []
    run = flow_of("runs_in_two_threads", body)
    threads = [threading.Thread(target=lambda n=n: results.append(run(n))) for n in (20, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [380, 870]


@case
def gathers_a_hundred_flows() -> None:
    @task
    async def awork(x: int) -> int:
        await asyncio.sleep(0.001)
        return x

    async def body(n: int) -> int:
        return await awork(n) + await awork.submit(n) + work(n)  # type: ignore[misc]

    run = flow_of("gathers_a_hundred_flows", body)

    async def main() -> int:
        return sum(await asyncio.gather(*(run(n) for n in range(100))))

    assert asyncio.run(main()) == 3 * sum(range(100))


@case
def nests_loops() -> None:
    @task
    async def awork(x: int) -> int:
        return x

    async def inner() -> int:
        return await awork(3)

    @task
    def on_a_loop() -> int:
        return int(asyncio.run(flow_of("inner", inner)()))

    def body() -> list[int]:
        return [on_a_loop.submit().result(), on_a_loop()]

    assert flow_of("nests_loops", body)() == [3, 3]


@case
def swallows_the_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)

    @task
    def swallow() -> str:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return "swallowed"
        return "missed"

    def body() -> list[Any]:
        return [swallow(), work()]

    assert flow_of("swallows_the_interrupt", body)() == ["swallowed", 1]


def leave(*_args: Any) -> None:
    sys.exit(3)


async def aleave() -> None:
    sys.exit(3)


def exits() -> None:
    """Each of these ends the process with the code 3."""
    t, at = task(leave), task(aleave)
    bodies: dict[str, Callable[[], Any]] = {
        "exit in a flow": leave,
        "exit in a task": lambda: t(),
        "exit in a submitted task": lambda: t.submit().result(),
        "exit in a subflow": lambda: flow(leave)(),
        "exit in a hook of a task": lambda: task(lambda: 1, name="hooked", on_completion=[leave])(),
    }
    for name, body in bodies.items():
        CASES[name] = flow_of(name, body)

    async def in_a_task() -> None:
        await at()

    async def in_a_submitted_task() -> None:
        await at.submit()  # type: ignore[misc]

    for name, abody in {
        "exit in an async flow": aleave,
        "exit in an async task": in_a_task,
        "exit in a submitted async task": in_a_submitted_task,
    }.items():
        CASES[name] = lambda run=flow_of(name, abody): asyncio.run(run())


def main() -> None:
    exits()
    codes = {}
    for name, call in CASES.items():
        pid = os.fork()
        if not pid:
            try:
                call()
            except SystemExit:
                raise
            except BaseException:
                traceback.print_exc()
                sys.exit(1)
            sys.exit(0)
        codes[name] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
