"""The weather pipeline, served: every minute, and whenever it is asked for. `make demo` leaves this running.

python examples/on_schedule.py OUTPUT            until Ctrl-C or SIGTERM
riverrun deployment run seattle-weather/every-minute --watch
"""

import sys
from pathlib import Path

from weather import seattle_weather

from riverrun.schedules import Interval

if __name__ == "__main__":
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "output").resolve()
    seattle_weather.serve(
        "every-minute", schedule=Interval(60, catch_up="latest"), parameters={"output": str(output)}, limit=2
    )
