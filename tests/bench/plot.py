"""The plot of one-shot transactions over clients, as SVG made by hand."""

from math import ceil, floor, log10

WIDTH, HEIGHT, GAP = 460, 300, 90
LEFT, TOP, BOTTOM = 70, 56, 70
COLOURS = {"vow": "#0b6e4f", "prototype": "#8a8f98"}


def steps(top):
    """Round numbers from 0 to at least `top`, about five."""
    size = 10 ** (len(str(int(max(top, 1)))) - 1)
    for factor in (0.2, 0.5, 1, 2, 5):
        if top / (size * factor) <= 6:
            break
    step = size * factor
    return [step * i for i in range(int(top / step) + 2)]


class Panel:
    """One set of axes. Clients are equally far from each other: each is a multiple of the last."""

    def __init__(self, number, clients, values, log):
        self.x0 = LEFT + number * (WIDTH + GAP)
        self.clients, self.log = clients, log
        if log:
            low, high = min(values), max(values)
            first, last = floor(log10(low)), ceil(log10(high) + 1e-9)
            self.ticks = [10.0**power for power in range(first, last + 1)]
        else:
            self.ticks = steps(max(values))
        self.parts = []

    def x(self, count):
        place = self.clients.index(count)
        return self.x0 + WIDTH * (place + 0.5) / len(self.clients)

    def y(self, value):
        if self.log:
            low, high = log10(self.ticks[0]), log10(self.ticks[-1])
            part = (log10(value) - low) / (high - low)
        else:
            part = value / self.ticks[-1]
        return TOP + HEIGHT * (1 - part)

    def text(self, x, y, text, anchor="middle", extra=""):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{text}</text>'
        )

    def axes(self, title):
        for tick in self.ticks:
            y = self.y(tick)
            self.parts.append(
                f'<line x1="{self.x0}" x2="{self.x0 + WIDTH}" y1="{y:.1f}" y2="{y:.1f}"'
                ' stroke="#e3e5e8"/>'
            )
            self.text(self.x0 - 8, y + 4, f"{tick:,.10g}", "end")
        for count in self.clients:
            self.text(self.x(count), TOP + HEIGHT + 20, f"{count}")
        self.text(self.x0 + WIDTH / 2, TOP + HEIGHT + 42, "clients")
        self.text(self.x0, TOP - 20, title, "start", 'font-weight="600" font-size="14"')

    def line(self, values, colour, dashed=False):
        points = " ".join(f"{self.x(c):.1f},{self.y(v):.1f}" for c, v in values.items())
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.2"{dash}/>'
        )
        for count, value in values.items():
            self.parts.append(
                f'<circle cx="{self.x(count):.1f}" cy="{self.y(value):.1f}" r="3.4"'
                f' fill="{colour}"/>'
            )

    def label(self, values, colour):
        """The values themselves, above their points."""
        for count, value in values.items():
            halo = 'stroke="white" stroke-width="4" paint-order="stroke"'
            self.text(
                self.x(count), self.y(value) - 9, f"{value:,.0f}", extra=f'fill="{colour}" {halo}'
            )


def legend(entries):
    parts, x, y = [], LEFT, TOP + HEIGHT + BOTTOM
    for text, colour, dashed in entries:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        parts.append(
            f'<line x1="{x}" x2="{x + 28}" y1="{y}" y2="{y}" stroke="{colour}"'
            f' stroke-width="2.2"{dash}/>'
            f'<text x="{x + 36}" y="{y + 4}">{text}</text>'
        )
        x += 60 + 7 * len(text)
    return parts


def svg(clients):
    """`clients` is the member of that name of the scenario oneshot."""
    counts = sorted(int(count) for count in clients)

    def series(who, key, scale=1.0):
        return {c: clients[str(c)][who][key] / scale for c in counts}

    rates = {who: series(who, "per_second") for who in COLOURS}
    p50 = {who: series(who, "p50_us", 1000) for who in COLOURS}
    p99 = {who: series(who, "p99_us", 1000) for who in COLOURS}
    left = Panel(0, counts, [v for line in rates.values() for v in line.values()], False)
    times = [v for lines in (p50, p99) for line in lines.values() for v in line.values()]
    right = Panel(1, counts, times, True)
    left.axes("transactions a second")
    right.axes("latency, ms (p50 and p99)")
    for who, colour in COLOURS.items():
        left.line(rates[who], colour)
        left.label(rates[who], colour)
        right.line(p50[who], colour)
        right.line(p99[who], colour, dashed=True)
    entries = [(who, colour, False) for who, colour in COLOURS.items()]
    entries += [("latency: p50", "#22262b", False), ("latency: p99", "#22262b", True)]
    width, height = LEFT + 2 * WIDTH + GAP + 30, TOP + HEIGHT + BOTTOM + 24
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="#22262b">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *left.parts, *right.parts, *legend(entries), "</svg>", "",
    ])  # fmt: skip
