"""Four years of Seattle's weather: read, check, map over months, aggregate, draw. A tour of riverrun on real data.

    python examples/weather.py                      everything, into ./output
    riverrun run examples/weather.py:seattle_weather --param years='[2014, 2015]'

What to look for while it runs: a reader that fails twice and is retried, 48 months summarised at once, a subflow for each
year, a step that is computed once and then taken from the cache, and a comparison that fails and is replaced by another.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from weather_chart import draw

from riverrun import allow_failure, flow, get_run_logger, tags, task, unmapped
from riverrun.cache_policies import INPUTS
from riverrun.runtime import task_run

HERE = Path(__file__).parent
DATA = HERE / "data" / "seattle-weather.csv"

SKY = ("sun", "fog", "drizzle", "rain", "snow")


@dataclass(frozen=True)
class Day:
    """One day at the station: millimetres, degrees Celsius, metres per second."""

    day: date
    rain: float
    high: float
    low: float
    wind: float
    sky: str


@dataclass(frozen=True)
class Month:
    """What a month of days comes to."""

    year: int
    month: int
    high: float
    low: float
    rain: float
    wet_days: int
    sunny_days: int
    hottest: Day
    coldest: Day
    wettest: Day


# ------------------------------------------------------------------------------------------------------------ the tasks


@task(retries=3, retry_delay_seconds=[0.3, 0.6, 0.9], tags=["io"])
def read(path: Path) -> list[dict[str, str]]:
    """The rows of the file. The line to the station is a bad one: it drops on the first two attempts."""
    if task_run.run_count <= 2:
        raise ConnectionError(f"the line to the station dropped (simulated, attempt {task_run.run_count})")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@task(log_prints=True)
def validate(rows: list[dict[str, str]]) -> list[Day]:
    """The rows as days; raises with the line number at the first that cannot be true."""
    days = []
    for line, row in enumerate(rows, start=2):
        try:
            day = Day(
                day=datetime.strptime(row["date"], "%Y/%m/%d").date(),
                rain=float(row["precipitation"]),
                high=float(row["temp_max"]),
                low=float(row["temp_min"]),
                wind=float(row["wind"]),
                sky=row["weather"],
            )
        except (KeyError, ValueError) as error:
            raise ValueError(f"line {line} is not a day's weather: {row}") from error
        if day.low > day.high or day.rain < 0 or day.sky not in SKY:
            raise ValueError(f"line {line} cannot be true: {day}")
        days.append(day)
    gaps = [b.day for a, b in pairwise(days) if b.day - a.day != timedelta(days=1)]
    print(f"{len(days)} days from {days[0].day} to {days[-1].day}, {len(gaps)} gaps")
    return days


@task(task_run_name="month-{year}-{month:02}")
def summarise(year: int, month: int, days: list[Day], wet_from: float) -> Month:
    """One month of the station's days."""
    mine = [day for day in days if (day.day.year, day.day.month) == (year, month)]
    return Month(
        year=year,
        month=month,
        high=fmean(day.high for day in mine),
        low=fmean(day.low for day in mine),
        rain=sum(day.rain for day in mine),
        wet_days=sum(day.rain >= wet_from for day in mine),
        sunny_days=sum(day.sky == "sun" for day in mine),
        hottest=max(mine, key=lambda day: day.high),
        coldest=min(mine, key=lambda day: day.low),
        wettest=max(mine, key=lambda day: day.rain),
    )


@task(cache_policy=INPUTS, persist_result=True, log_prints=True)
def usual_year(months: list[Month]) -> dict[int, tuple[float, float]]:
    """The usual (high, rain) of each calendar month. Computed once for the same months, then taken from the cache."""
    print(f"computing the usual year from {len(months)} months")
    by_month = defaultdict(list)
    for month in months:
        by_month[month.month].append(month)
    return {number: (fmean(m.high for m in same), fmean(m.rain for m in same)) for number, same in by_month.items()}


@task
def official_normals(path: Path) -> dict[int, tuple[float, float]]:
    """The weather service's own normals: a file that this repository does not ship, so this fails."""
    with path.open(newline="", encoding="utf-8") as file:
        return {int(row["month"]): (float(row["high"]), float(row["rain"])) for row in csv.DictReader(file)}


@task(task_run_name="extremes-{year}")
def extremes(year: int, months: list[Month]) -> dict[str, Day]:
    """The hottest, coldest and wettest day of a year."""
    return {
        "hottest": max((month.hottest for month in months), key=lambda day: day.high),
        "coldest": min((month.coldest for month in months), key=lambda day: day.low),
        "wettest": max((month.wettest for month in months), key=lambda day: day.rain),
    }


@task(task_run_name="compare-{year}")
def compare(year: int, months: list[Month], usual: dict[int, tuple[float, float]]) -> tuple[float, float]:
    """How much warmer (degrees) and wetter (share) a year was than usual."""
    warmer = fmean(month.high - usual[month.month][0] for month in months)
    wetter = sum(month.rain for month in months) / sum(usual[month.month][1] for month in months) - 1
    return warmer, wetter


@task(tags=["output"])
def chart(months: list[Month], output: Path) -> Path:
    """Draws the months as a picture."""
    target = output / "seattle-weather.svg"
    target.write_text(draw(months), encoding="utf-8")
    return target


@task(tags=["output"])
def report(years: list[dict], months: list[Month], normals: object, output: Path) -> Path:
    """Writes the table of years; says where the normals came from."""
    lines = [
        "# Seattle's weather",
        "",
        "| year | mean high | rain | wet days | sunny days | against usual | hottest | coldest | wettest |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in years:
        mine = [month for month in months if month.year == row["year"]]
        hottest, coldest, wettest = (row["extremes"][kind] for kind in ("hottest", "coldest", "wettest"))
        warmer, wetter = row["against_usual"]
        lines.append(
            f"| {row['year']} | {fmean(m.high for m in mine):.1f} °C | {sum(m.rain for m in mine):.0f} mm "
            f"| {sum(m.wet_days for m in mine)} | {sum(m.sunny_days for m in mine)} | {warmer:+.1f} °C, {wetter:+.0%} rain "
            f"| {hottest.high:.1f} °C, {hottest.day:%d %b} | {coldest.low:.1f} °C, {coldest.day:%d %b} "
            f"| {wettest.rain:.0f} mm, {wettest.day:%d %b} |"
        )
    source = "the mean of the years above" if isinstance(normals, Exception) else "the weather service's normals"
    lines += ["", f"*Usual* is {source}. Data: NOAA, public domain (examples/data/README.md).", ""]
    target = output / "seattle-weather.md"
    target.write_text("\n".join(lines), encoding="utf-8")
    return target


# ------------------------------------------------------------------------------------------------------------ the flows


@flow(flow_run_name="year-{year}")
def one_year(year: int, months: list[Month], usual: dict[int, tuple[float, float]]) -> dict:
    """A subflow: what the report says of one year."""
    against_usual = compare.submit(year, months, usual)
    return {"year": year, "extremes": extremes(year, months), "against_usual": against_usual.result()}


@flow(log_prints=True)
def seattle_weather(
    source: Path = DATA, output: Path = Path("output"), years: list[int] | None = None, wet_from: float = 1.0
) -> list[Path]:
    """The whole pipeline; returns the paths of what it wrote."""
    logger = get_run_logger()
    output.mkdir(parents=True, exist_ok=True)

    days = validate(read(source))
    chosen = years or sorted({day.day.year for day in days})
    calendar = [(year, month) for year in chosen for month in range(1, 13)]

    with tags("monthly"):
        months = summarise.map(
            [year for year, _ in calendar], [month for _, month in calendar], unmapped(days), unmapped(wet_from)
        ).result()

    normals = official_normals.submit(source.with_name("normals.csv"))
    normals.wait()
    if normals.state.is_failed():
        logger.warning("no official normals (%s): taking our own", normals.state.message)
        usual = usual_year(months)
    else:
        usual = normals.result()
    again = usual_year(months)  # the same months once more: Cached
    print(f"the usual July: {again[7][0]:.1f} °C, {again[7][1]:.0f} mm")

    rows = [one_year(year, [month for month in months if month.year == year], usual) for year in chosen]
    picture = chart.submit(months, output)
    table = report.submit(rows, months, allow_failure(normals), output)
    return [picture.result(), table.result()]


if __name__ == "__main__":
    for path in seattle_weather():
        print(path)
