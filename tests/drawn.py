"""What is seen of a figure, for tests of how it can be read."""

import itertools

import matplotlib as mpl
from matplotlib.figure import Figure


def lay_out(figure: Figure) -> None:
    """As it is drawn, unless nothing changed since then."""
    if figure.stale:
        figure.draw_without_rendering()


def tick_labels_stand_apart(figure: Figure) -> bool:
    """Whether no two tick labels of an axis touch."""
    lay_out(figure)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            labels = [
                tick.label1.get_window_extent()
                for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
                if low <= tick.get_loc() <= high
                and tick.label1.get_text()
                and tick.label1.get_visible()
            ]
            if any(one.overlaps(other) for one, other in itertools.combinations(labels, 2)):
                return False
    return True


def parts_stand_apart(figure: Figure) -> bool:
    """Whether title, caption, legends and the axes, with their names, leave each other room."""
    lay_out(figure)
    parts = [axes.get_tightbbox() for axes in figure.axes]
    parts += [legend.get_window_extent() for legend in figure.legends]
    parts += [text.get_window_extent() for text in figure.texts if text.get_text()]
    # Half a dot is rounding.
    return not any(
        one.padded(-0.5).overlaps(other.padded(-0.5))
        for one, other in itertools.combinations(parts, 2)
    )


def log_axes_say_so(figure: Figure) -> bool:
    """Whether each named axis on a log scale, or one linear about 0, has that in its name."""
    return all(
        "log scale" in axis.get_label_text()
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if "log" in axis.get_scale() and axis.get_label_text()
    )


def text_is_dark_enough(figure: Figure, contrast: float = 4.5) -> bool:
    """Whether every text outside images has WCAG's contrast for text on white."""
    return all(
        1.05 / (luminance(text.get_color()) + 0.05) >= contrast
        for text in figure.findobj(mpl.text.Text)
        if text.get_text() and not getattr(text.axes, "images", [])
    )


def luminance(color: str) -> float:
    """Relative, as WCAG 2 defines it."""
    linear = [
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4
        for one in mpl.colors.to_rgb(color)
    ]
    return sum(w * one for w, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
