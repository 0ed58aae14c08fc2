"""The landing page's picture: what the first chapter is about, drawn in a few lines of SVG."""

import math

_PATHS = 15
_WIDTH, _HEIGHT = 720, 190


def front_picture() -> str:
    """Paths from noise (left) to data (right): the same ends twice, joined by bent and then by straight paths."""
    halves = "".join(_half(offset, bend) for offset, bend in ((0, 1.0), (_WIDTH / 2, 0.0)))
    words = "".join(
        f'<text x="{x:g}" y="{_HEIGHT - 12}" text-anchor="middle">{text}</text>'
        for x, text in ((_WIDTH * 0.25, "a bent path takes many steps"), (_WIDTH * 0.75, "a straight one takes few"))
    )
    return (
        f'<svg class="front" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Paths from a cloud of noise to '
        f'points on an arc, bent on the left and straight on the right.">{halves}{words}</svg>'
    )


def _half(offset: float, bend: float) -> str:
    drawn = []
    # a sunflower spiral looks like noise and is the same each time; from top to bottom, as the data are
    spiral = [(2.399963 * i, 40 * math.sqrt((i + 0.5) / _PATHS)) for i in range(_PATHS)]
    spiral.sort(key=lambda place: place[1] * math.sin(place[0]))
    for i, (angle, radius) in enumerate(spiral):
        share = i / (_PATHS - 1)
        x0, y0 = offset + 70 + radius * math.cos(angle), 84 + 1.4 * radius * math.sin(angle)
        x1, y1 = offset + 262 + 34 * math.sin(math.pi * share), 26 + 116 * share
        swing = bend * 62 * math.cos(angle)
        x2, x3 = x0 + (x1 - x0) / 3, x0 + (x1 - x0) * 2 / 3
        y2, y3 = y0 + (y1 - y0) / 3 + swing, y0 + (y1 - y0) * 2 / 3 - 0.6 * swing
        drawn.append(
            f'<path class="path" d="M{x0:.1f} {y0:.1f}C{x2:.1f} {y2:.1f} {x3:.1f} {y3:.1f} {x1:.1f} {y1:.1f}"/>'
            f'<circle class="noise" cx="{x0:.1f}" cy="{y0:.1f}" r="2.6"/>'
            f'<circle class="data" cx="{x1:.1f}" cy="{y1:.1f}" r="3.4"/>'
        )
    return "".join(drawn)
