"""Bar charts as SVG without a drawing library, whose import would slow down every prepare."""

from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, BELOW, ABOVE = 480, 190, 46, 20, 8


def bars(
    values: Sequence[int | float], labels: Sequence[str], *, label: str, marked: Sequence[int | float] = ()
) -> Markup:
    """Draws a bar chart as `<svg>`: a bar from 0 for each value, with label and value as a tooltip.

    Args:
        values: heights of the bars, 0 or more.
        labels: one for each value; the first, the last and one in the middle are written below.
        label: text alternative of the picture, for screen readers.
        marked: values to draw as dots beside the bars, one for each bar, or none.
    """
    top = max([*values, *marked, 1e-12])
    step = (WIDTH - LEFT) / max(len(values), 1)
    wide = max(step * 0.8, 0.5)

    def height(value: int | float) -> float:
        return (HEIGHT - BELOW - ABOVE) * value / top

    ground = HEIGHT - BELOW
    found = [
        Markup(
            '<svg class="chart" role="img" viewBox="0 0 {} {}" width="{}" height="{}" aria-label="{}" '
            'font-size="11" style="max-width: {}px">'
        ).format(WIDTH, HEIGHT, WIDTH, HEIGHT, label, 1.2 * WIDTH)
    ]
    for share in (0.5, 1.0):
        y = ground - height(top * share)
        found.append(
            Markup(
                '<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" stroke="currentColor" stroke-opacity=".14"/>'
                '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(LEFT, WIDTH, y, y, LEFT - 6, y + 4, _short(top * share))
        )
    for place, (value, text) in enumerate(zip(values, labels, strict=True)):
        x = LEFT + step * place + (step - wide) / 2
        beside = f" ({marked[place]:,.4g})" if marked else ""
        found.append(
            Markup(
                '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="#2f7fe0"><title>{}</title></rect>'
            ).format(x, ground - height(value), wide, height(value), f"{text}: {value:,.4g}{beside}")
        )
        if marked:
            found.append(
                Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.6" fill="#e0620d"/>').format(
                    x + wide / 2, ground - height(marked[place])
                )
            )
    for place, anchor in _shown(len(labels)):
        x = LEFT + step * place + (0 if anchor == "start" else step / 2 if anchor == "middle" else step)
        found.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(x, HEIGHT - 5, anchor, labels[place])
        )
    return Markup("").join([*found, Markup("</svg>")])


def _shown(number: int) -> list[tuple[int, str]]:
    if number < 3:
        return [(place, "start") for place in range(number)]
    return [(0, "start"), (number // 2, "middle"), (number - 1, "end")]


def _short(value: int | float) -> str:
    """Shows a number in few characters.

    >>> _short(1_234_000), _short(0.25), _short(4_600)
    ('1.23M', '0.25', '4.6k')
    """
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{sign}"
    return str(escape(f"{value:.3g}"))
