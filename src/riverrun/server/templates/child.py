"""The process in which costly values are settled: reads one request from its input, writes the outcome, and may be killed.

`python -m riverrun.server.templates.child`. Limits begin after the imports, so that a slow machine does not eat them up.
"""

import os
import resource
import signal
import sys
from pathlib import Path

import msgspec

from riverrun.server.templates import jinja
from riverrun.server.templates.settle import Request, settle_here
from riverrun.wire.schedules import Schedule

SECONDS = 1.0
#: beside what the interpreter has taken already
MEMORY = 64 * 1024 * 1024


def _limit() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = int(used.ru_utime + used.ru_stime + SECONDS) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        size = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    os.nice(10)  # requests come first
    # the default action of SIGALRM ends the process, whatever it is doing
    signal.setitimer(signal.ITIMER_REAL, SECONDS)


def main() -> None:
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    # what is imported on first use is imported before the memory is limited
    jinja.render("{{ 1 }}", {})
    settle_here(
        Request(value={}, schema={"type": "object"}, schedules=[Schedule(cron="* * * * *", timezone="Europe/Berlin")])
    )
    _limit()
    outcome = settle_here(request, lambda text: jinja.render(text, {}))
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
