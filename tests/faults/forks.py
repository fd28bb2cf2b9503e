"""Run as a process: a flow that forks (or spawns) in its body or in a task; parent and children go on with tasks of its run.

`python -m tests.faults.forks HOW WHERE` with HOW one of _exit, sys.exit, fork, spawn and WHERE one of flow, task.
"""

import multiprocessing
import os
import sys

from riverrun import flow, task


@task
def work(x: int) -> int:
    return x


@task
def brancher(how: str) -> None:
    branch(how)


def child(how: str, base: int) -> None:
    for x in range(20):
        work(base + x)
    if how in {"_exit", "sys.exit"}:  # a child of multiprocessing has no runner that it may use
        assert [future.result() for future in [work.submit(base + x) for x in range(5)]] == list(range(base, base + 5))
        sys.exit(0) if how == "sys.exit" else os._exit(0)


def branch(how: str) -> None:
    if how in {"fork", "spawn"}:
        processes = [multiprocessing.get_context(how).Process(target=child, args=(how, 1000 * n)) for n in range(3)]
        for process in processes:
            process.start()
        pids = []
    else:
        processes, pids = [], []
        for n in range(3):
            pid = os.fork()
            if not pid:
                child(how, 1000 * n)
            pids.append(pid)
    for x in range(20):
        work(10_000 + x)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0


@flow
def main(how: str, where: str) -> list[int]:
    work.submit(-1).result()  # threads are there before the fork
    (brancher if where == "task" else branch)(how)
    return work.map([1, 2, 3]).result()  # type: ignore[no-any-return]


if __name__ == "__main__":
    assert main(sys.argv[1], sys.argv[2]) == [1, 2, 3]
