"""Charts as SVG for an HTML page, whose style gives the colours, so that they follow light and dark. A leaf."""

from collections.abc import Callable, Sequence
import io
import math
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
  from matplotlib import axes as axes_lib

SIZE = (5.0, 2.9)  # Inches of 72 units: near the size it is shown at, so that text keeps its size on a phone.
# Colours that nothing else has, exchanged for the page's own ones in the text of the drawing.
COLORS = {
  'ink': '#010101',
  'grid': '#020202',
  'series-1': '#030303',
  'series-2': '#040404',
  'series-3': '#050505',
}
_MARGIN = 0.02  # Of the axis, beside the first and the last round.
_FEW_POINTS = 40  # Up to here every measurement is marked by a dot.
_WIDE_SHARE = 0.05  # From this span on whole percents tell the ticks apart.


class Series(NamedTuple):
  """One line: its label and a value for each round, NaN where there is none."""

  label: str
  values: Sequence[float]


class Chart(NamedTuple):
  """What a chart shows.

  Attributes:
    series: The lines, at most three.
    unit: 'percent' for shares, 'bytes', or '' for plain numbers.
    limit: A level that the lines are to be read against, with its label.
    from_zero: Whether the axis starts at zero.
  """

  series: Sequence[Series]
  unit: str = ''
  limit: tuple[str, float] | None = None
  from_zero: bool = False


def draw(name: str, rounds: Sequence[float], chart: Chart) -> str:
  """Returns an inline SVG over the rounds, or '' if there is nothing to show.

  Args:
    name: Distinguishes this drawing's element ids from those of others on the page.
    rounds: The round of each value.
    chart: What to draw; a series without a value is not drawn.
  """
  if not any(math.isfinite(value) for series in chart.series for value in series.values):
    return ''

  def fill(axes: 'axes_lib.Axes') -> None:
    _draw_lines(axes, rounds, chart)
    _set_scales(axes, rounds, chart)

  return draw_axes(name, fill)


def draw_pairs(name: str, pairs: Sequence[tuple[float, float]], labels: tuple[str, str]) -> str:
  """Returns an inline SVG with a point for each pair of shares, and the line on which both are equal; '' without pairs.

  Args:
    name: As for `draw`.
    pairs: Two shares of the same thing, for example its accuracy before and after.
    labels: What the first one (across) and the second one (up) are.
  """
  if not pairs:
    return ''

  def fill(axes: 'axes_lib.Axes') -> None:
    from matplotlib import ticker

    across, up = zip(*pairs, strict=True)
    ends = [min(*across, *up) - _MARGIN, max(*across, *up) + _MARGIN]
    axes.plot(ends, ends, color=COLORS['ink'], lw=1.2, ls=(0, (5, 3)), label='no change')
    # Points that cover each other look darker.
    axes.plot(across, up, 'o', color=COLORS['series-1'], ms=4, alpha=0.5, mew=0, label='one user')
    axes.set(xlim=ends, ylim=ends)
    for axis, label in zip((axes.xaxis, axes.yaxis), labels, strict=True):
      axis.set_label_text(label, color=COLORS['ink'])
      axis.set_major_locator(ticker.MaxNLocator(5))
      axis.set_major_formatter(ticker.PercentFormatter(1, decimals=0 if ends[1] - ends[0] > _WIDE_SHARE else 1))

  return draw_axes(name, fill)


def draw_axes(
  name: str,
  fill: Callable[['axes_lib.Axes'], None],
  size: tuple[float, float] = SIZE,
  grid: Literal['x', 'y', ''] = 'y',
) -> str:
  """Returns an inline SVG with axes.

  Args:
    name: As for `draw`.
    fill: Draws on the axes; what it labels is in the legend.
    size: Width and height, in inches of 72 units.
    grid: Across which axis there are lines: `x`, `y` or `` for none.
  """
  import matplotlib  # Here, so that importing this module is cheap.
  from matplotlib import figure as figure_lib

  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name, 'font.size': 11}):
    figure = figure_lib.Figure(size, layout='constrained')
    axes = figure.subplots()
    fill(axes)
    _style(axes, grid)
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None, 'Creator': None})
  return _inline(buffer.getvalue(), name)


def _draw_lines(axes: 'axes_lib.Axes', rounds: Sequence[float], chart: Chart) -> None:
  for index, series in enumerate(chart.series, 1):
    points = [(x, y) for x, y in zip(rounds, series.values, strict=True) if math.isfinite(y)]
    if points:
      marker = 'o' if len(points) <= _FEW_POINTS else ''
      color = COLORS[f'series-{index}']
      axes.plot(*zip(*points, strict=True), color=color, label=series.label, marker=marker, ms=3, lw=1.8)
  if chart.limit:
    label, level = chart.limit
    axes.axhline(level, color=COLORS['ink'], lw=1.2, ls=(0, (5, 3)), label=label)


def _set_scales(axes: 'axes_lib.Axes', rounds: Sequence[float], chart: Chart) -> None:
  from matplotlib import ticker

  last = max(1, *rounds)
  axes.set_xlim(-_MARGIN * last, (1 + _MARGIN) * last)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
  axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
  axes.set_xlabel('round', color=COLORS['ink'])
  if chart.from_zero:
    axes.set_ylim(bottom=0, top=None if axes.get_ylim()[1] > 0 else 1)
  if chart.unit == 'percent':
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0 if high - low > _WIDE_SHARE else 1))
  elif chart.unit == 'bytes':
    axes.yaxis.set_major_formatter(ticker.EngFormatter('B'))


def _style(axes: 'axes_lib.Axes', grid: Literal['x', 'y', '']) -> None:
  columns = 2 if len(axes.get_lines()) > 3 else 3  # Four would not fit.
  if axes.get_legend_handles_labels()[0]:
    axes.legend(
      loc='lower left',
      bbox_to_anchor=(-0.01, 1.0),
      ncols=columns,
      frameon=False,
      labelcolor=COLORS['ink'],
      handlelength=1.4,
      columnspacing=1.4,
      borderpad=0.2,
      borderaxespad=0.2,
    )
  if grid:
    axes.grid(axis=grid, color=COLORS['grid'], lw=0.8)
  axes.set_axisbelow(True)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(COLORS['grid'])
  axes.tick_params(colors=COLORS['ink'], length=0)


def _inline(svg: str, name: str) -> str:
  """Cuts a drawing down to an element of the page: its colours by name, ids of its own, no size, no style."""
  svg = svg[svg.index('<svg') :]
  svg = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>', '', svg, flags=re.DOTALL)
  svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', svg, count=1)
  svg = svg.replace('xlink:href', 'href')
  svg = re.sub(r'\bid="', f'id="{name}-', svg)
  svg = re.sub(r'(href="#|url\(#)', rf'\1{name}-', svg)
  svg = re.sub('font-family: [^;"]*;? ?', '', svg)
  for color, value in COLORS.items():
    svg = svg.replace(value, f'var(--{color})')
  return svg
