"""The first thing that a newcomer sees: the weather example and the tour of `make demo`."""

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SEED_OF_TRUTH = {2012: 1226, 2013: 828, 2014: 1233, 2015: 1139}  # mm of rain a year, by awk over the file


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo printed, and its folder."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "RIVERRUN_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py"), "--output", str(folder / "output"), "--port", "0"],
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
    )
    riverrun = Path(sys.executable).with_name("riverrun")
    serving = folder / "home" / "on_schedule.pid"
    if serving.exists():
        os.kill(int(serving.read_text()), signal.SIGTERM)
        wait_until_gone(int(serving.read_text()))
    stopped = subprocess.run([riverrun, "server", "stop"], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    return done.stdout, folder


def wait_until_gone(pid: int) -> None:
    """Until a process that is nobody's child here has ended."""
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            return
        assert time.monotonic() < deadline, "what serves the example goes on after SIGTERM"
        time.sleep(0.05)


@pytest.mark.timeout(120)
def test_the_tour_shows_what_it_promises(tour: tuple[str, Path]) -> None:
    printed, _ = tour
    assert printed.count("simulated, attempt") >= 2
    assert "no official normals" in printed
    for word in ("Cached", "Completed", "Failed", "year-2015", "summarise"):
        assert word in printed
    summary = {line.split()[0]: line for line in printed.splitlines() if " ms  " in line}
    assert summary["summarise"].split()[1] == "48"
    assert summary["read"].split()[2] == "3"  # attempts
    assert "1 Cached" in summary["usual_year"]
    assert "1 Failed" in summary["official_normals"]


@pytest.mark.timeout(120)
def test_the_table_tells_the_truth(tour: tuple[str, Path]) -> None:
    _, folder = tour
    table = (folder / "output" / "seattle-weather.md").read_text(encoding="utf-8")
    for year, rain in SEED_OF_TRUTH.items():
        assert f"| {year} |" in table
        assert f"| {rain} mm |" in table


@pytest.mark.timeout(120)
def test_the_chart_is_a_picture(tour: tuple[str, Path]) -> None:
    _, folder = tour
    root = ET.parse(folder / "output" / "seattle-weather.svg").getroot()
    bars = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if rect.find("{*}title") is not None]
    assert len(bars) == 48


@pytest.mark.timeout(120)
def test_nothing_but_the_two_folders_is_made(tour: tuple[str, Path]) -> None:
    _, folder = tour
    assert {path.name for path in folder.iterdir()} == {"home", "output"}


@pytest.mark.timeout(120)
def test_the_example_is_left_on_a_schedule(tour: tuple[str, Path]) -> None:
    printed, folder = tour
    served = printed[printed.index("On a schedule") :]
    assert "seattle-weather/every-minute  ready" in served
    assert "every 60 s" in served
    assert "| Completed" in served
    assert f"kill {(folder / 'home' / 'on_schedule.pid').read_text()}" in served
