"""Run as a process: flows beside a server that dies and comes back, with riverrun or with the unmodified Prefect client.

`python under_kills.py SDK STYLE TRUTH STOP`: rounds of tasks until the file STOP is there. What has been done goes into the file
TRUTH, each line with one system call after the fact. It knows nothing of riverrun but what users know.
"""

import importlib
import os
import sys
import time
from pathlib import Path

sdk = importlib.import_module(sys.argv[1])
runtime = importlib.import_module(f"{sys.argv[1]}.runtime")
STYLE, STOP = sys.argv[2], Path(sys.argv[4])
truth = os.open(sys.argv[3], os.O_APPEND | os.O_WRONLY | os.O_CREAT, 0o600)
WIDTH = 12


def seen(*words: object) -> None:
    os.write(truth, (" ".join(map(str, words)) + "\n").encode())


@sdk.task
def unit(number: int) -> int:
    sdk.get_run_logger().info("unit %s", number)
    time.sleep(0.03)
    seen("unit", runtime.task_run.id, number)
    return number


@sdk.flow
def rounds() -> int:
    seen("flow", runtime.flow_run.id)
    total = 0
    while not STOP.exists():
        numbers = range(total, total + WIDTH)
        if STYLE == "sequential":
            done = [unit(number) for number in numbers]
        elif STYLE == "threads":
            done = [future.result() for future in [unit.submit(number) for number in numbers]]
        else:
            done = unit.map(numbers).result()
        assert done == list(numbers)
        total += WIDTH
    seen("end", total)
    return total


if __name__ == "__main__":
    rounds()
