"""Things that open and close, drawn by code at any degree of openness."""

from __future__ import annotations

from PIL import Image, ImageDraw

_SIDE = 160
_OVERSAMPLE = 2
_DARK = (28, 26, 32, 255)

OPENINGS = ("door", "curtain", "eye", "mouth", "box")


def _darker(rgb: tuple[int, int, int], factor: float) -> tuple[int, int, int, int]:
    return (int(rgb[0] * factor), int(rgb[1] * factor), int(rgb[2] * factor), 255)


def draw_opening(name: str, rgb: tuple[int, int, int], openness: float) -> Image.Image:
    """A thing as an RGBA image.

    Args:
        name: One of `OPENINGS`.
        rgb: Its colour.
        openness: 0 shut to 1 wide open.
    """
    side = _SIDE * _OVERSAMPLE
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    fill, shade, shut = (*rgb, 255), _darker(rgb, 0.6), 1.0 - openness

    def at(*values: float) -> list[float]:
        return [value * (side - 1) for value in values]

    if name == "door":
        draw.rectangle(at(0.14, 0.02, 0.86, 1.0), fill=_darker(rgb, 0.45))
        draw.rectangle(at(0.2, 0.08, 0.8, 1.0), fill=_DARK)
        edge, lean = 0.2 + 0.6 * (0.12 + 0.88 * shut), 0.07 * openness
        draw.polygon(at(0.2, 0.08, edge, 0.08 + lean, edge, 1.0 - lean, 0.2, 1.0), fill=fill, outline=shade)
        draw.ellipse(at(edge - 0.08, 0.54, edge - 0.03, 0.59), fill=(235, 205, 90, 255))
    elif name == "curtain":
        draw.rectangle(at(0.04, 0.06, 0.96, 0.97), fill=(214, 230, 242, 255), outline=_DARK, width=side // 60)
        width = 0.09 + 0.37 * shut
        for left, right in ((0.04, 0.04 + width), (0.96 - width, 0.96)):
            draw.rectangle(at(left, 0.04, right, 0.99), fill=fill)
            for fold in range(1, 4):
                x = left + (right - left) * fold / 4
                draw.line(at(x, 0.04, x, 0.99), fill=shade, width=side // 70)
        draw.rectangle(at(0.0, 0.0, 1.0, 0.05), fill=shade)
    elif name == "eye":
        draw.ellipse(at(0.02, 0.2, 0.98, 0.8), fill=shade)
        half = 0.02 + 0.26 * openness
        white = Image.new("L", image.size, 0)
        ImageDraw.Draw(white).ellipse(at(0.06, 0.5 - half, 0.94, 0.5 + half), fill=255)
        ball = Image.new("RGBA", image.size, (246, 246, 242, 255))
        inner = ImageDraw.Draw(ball)
        inner.ellipse(at(0.32, 0.32, 0.68, 0.68), fill=fill)
        inner.ellipse(at(0.42, 0.42, 0.58, 0.58), fill=_DARK)
        image.paste(ball, (0, 0), white)
    elif name == "mouth":
        half = 0.03 + 0.4 * openness
        draw.ellipse(at(0.08, 0.5 - half - 0.07, 0.92, 0.5 + half + 0.07), fill=fill)
        draw.ellipse(at(0.14, 0.5 - half, 0.86, 0.5 + half), fill=_DARK)
        if half > 0.12:
            draw.rectangle(at(0.32, 0.5 - half + 0.03, 0.68, 0.5 - half + 0.09), fill=(250, 250, 245, 255))
    elif name == "box":
        draw.polygon(at(0.12, 0.5, 0.88, 0.5, 0.82, 0.98, 0.18, 0.98), fill=fill, outline=shade)
        draw.ellipse(at(0.12, 0.44, 0.88, 0.56), fill=_DARK)
        lift = 0.36 * openness  # the lid turns about its left end
        draw.polygon(at(0.1, 0.42, 0.88 - 0.25 * openness, 0.42 - lift, 0.9 - 0.25 * openness, 0.52 - lift, 0.12, 0.52),
                     fill=shade, outline=_DARK)  # fmt: skip
    else:
        raise AssertionError(f"no drawing for opening {name!r}")
    return image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
