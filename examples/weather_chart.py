"""The picture of the weather example: monthly temperatures over bars of rain, as plain SVG. Knows nothing of riverrun."""

from html import escape

WIDTH, HEIGHT = 960, 460
LEFT, RIGHT, TOP = 56, 20, 76
BAND, GAP, BARS = 190, 34, 90  # heights: temperatures, the space between, rain

INK, SOFT, LINE = "#1f2933", "#7b8794", "#e4e7eb"
HIGH, LOW, RAIN = "#d64545", "#3e7cb1", "#5b8db8"

STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI',sans-serif;fill:" + INK + "}"
    ".s{font-size:11px;fill:" + SOFT + "}.t{font-size:20px;font-weight:600}.u{font-size:13px;fill:" + SOFT + "}"
    ".l{font-size:12px;font-weight:600}"
)


def draw(months) -> str:
    """An SVG document of `months`, each with year, month, high, low and rain, in order of time."""
    step = (WIDTH - LEFT - RIGHT) / len(months)
    middles = [LEFT + step * (index + 0.5) for index in range(len(months))]
    coldest, hottest = min(m.low for m in months), max(m.high for m in months)
    bottom, top = 5 * (coldest // 5), 5 * (hottest // 5 + 1)
    wettest = 100 * (max(m.rain for m in months) // 100 + 1)
    floor = TOP + BAND + GAP + BARS

    def at_degrees(value: float) -> float:
        return TOP + BAND * (top - value) / (top - bottom)

    def at_rain(value: float) -> float:
        return floor - BARS * value / wettest

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text class="t" x="{LEFT}" y="34">Seattle: dry warm summers, mild wet winters</text>',
        f'<text class="u" x="{LEFT}" y="54">{escape(subtitle(months))}</text>',
    ]
    parts += grid([(at_degrees(v), f"{v:.0f} °C") for v in frange(bottom, top, 5)])
    parts += grid([(at_rain(v), f"{v:.0f} mm") for v in frange(0, wettest, 100)])
    parts += year_marks(months, step, floor)

    highs = [(x, at_degrees(m.high)) for x, m in zip(middles, months, strict=True)]
    lows = [(x, at_degrees(m.low)) for x, m in zip(middles, months, strict=True)]
    parts.append(f'<polygon fill="{HIGH}" fill-opacity=".12" points="{points(highs + lows[::-1])}"/>')
    for line, colour, word in ((highs, HIGH, "mean high"), (lows, LOW, "mean low")):
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round" points="{points(line)}"/>'
        )
        x, y = line[min(6, len(line) - 1)]
        shift = -8 if word == "mean high" else 18
        parts.append(
            f'<text class="l" text-anchor="middle" x="{x:.1f}" y="{y + shift:.1f}" fill="{colour}">{word}</text>'
        )

    for x, month in zip(middles, months, strict=True):
        y = at_rain(month.rain)
        parts.append(
            f'<rect x="{x - step * 0.36:.1f}" y="{y:.1f}" width="{step * 0.72:.1f}" height="{floor - y:.1f}" rx="1.5" '
            f'fill="{RAIN}"><title>{month.year}-{month.month:02}: {month.rain:.0f} mm, {month.wet_days} wet days</title></rect>'
        )
    parts.append(f'<text class="l" x="{LEFT}" y="{TOP + BAND + GAP - 8}" style="fill:{RAIN}">rain a month</text>')
    parts.append(
        f'<text class="s" x="{LEFT}" y="{HEIGHT - 12}">Data: NOAA (public domain). Drawn by a riverrun task.</text>'
    )
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def subtitle(months) -> str:
    """One line that says what is seen."""
    hottest = max(months, key=lambda m: m.high)
    wettest = max(months, key=lambda m: m.rain)
    return (
        f"{months[0].year}-{months[-1].year}, monthly. "
        f"Warmest: {hottest.year}-{hottest.month:02} ({hottest.high:.1f} °C by day); "
        f"wettest: {wettest.year}-{wettest.month:02} ({wettest.rain:.0f} mm)"
    )


def grid(marks: list[tuple[float, str]]) -> list[str]:
    """Horizontal lines with their labels."""
    return [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"/>'
        f'<text class="s" text-anchor="end" x="{LEFT - 8}" y="{y + 4:.1f}">{label}</text>'
        for y, label in marks
    ]


def year_marks(months, step: float, floor: float) -> list[str]:
    """A line where each year begins, and its number below."""
    marks = []
    for index, month in enumerate(months):
        if month.month == 1:
            x = LEFT + step * index
            marks.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor + 6}" stroke="{LINE}"/>')
            marks.append(f'<text class="l" x="{x + 4:.1f}" y="{floor + 20}">{month.year}</text>')
    return marks


def points(line: list[tuple[float, float]]) -> str:
    """The `points` attribute of a polyline."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in line)


def frange(start: float, stop: float, step: float) -> list[float]:
    """Start, start + step ... up to and including stop."""
    return [start + step * index for index in range(int((stop - start) / step) + 1)]
