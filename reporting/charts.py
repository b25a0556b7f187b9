"""Line charts as SVG for an HTML page, whose style gives the colours, so that they follow light and dark. A leaf."""

from collections.abc import Sequence
import io
import math
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
  from matplotlib import axes as axes_lib

_SIZE = (5.0, 2.9)  # Inches of 72 units: near the size it is shown at, so that text keeps its size on a phone.
# Colours that nothing else has, exchanged for the page's own ones in the text of the drawing.
_COLORS = {
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
  import matplotlib  # Here, so that importing this module is cheap.
  from matplotlib import figure as figure_lib

  if not any(math.isfinite(value) for series in chart.series for value in series.values):
    return ''
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name, 'font.size': 11}):
    figure = figure_lib.Figure(_SIZE, layout='constrained')
    axes = figure.subplots()
    _draw_lines(axes, rounds, chart)
    _set_scales(axes, rounds, chart)
    _style(axes)
    buffer = io.StringIO()
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None, 'Creator': None})
  return _inline(buffer.getvalue(), name)


def _draw_lines(axes: 'axes_lib.Axes', rounds: Sequence[float], chart: Chart) -> None:
  for index, series in enumerate(chart.series, 1):
    points = [(x, y) for x, y in zip(rounds, series.values, strict=True) if math.isfinite(y)]
    if points:
      marker = 'o' if len(points) <= _FEW_POINTS else ''
      color = _COLORS[f'series-{index}']
      axes.plot(*zip(*points, strict=True), color=color, label=series.label, marker=marker, ms=3, lw=1.8)
  if chart.limit:
    label, level = chart.limit
    axes.axhline(level, color=_COLORS['ink'], lw=1.2, ls=(0, (5, 3)), label=label)


def _set_scales(axes: 'axes_lib.Axes', rounds: Sequence[float], chart: Chart) -> None:
  from matplotlib import ticker

  last = max(1, *rounds)
  axes.set_xlim(-_MARGIN * last, (1 + _MARGIN) * last)
  axes.xaxis.set_major_locator(ticker.MaxNLocator(6, integer=True))
  axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
  axes.set_xlabel('round', color=_COLORS['ink'])
  if chart.from_zero:
    axes.set_ylim(bottom=0, top=None if axes.get_ylim()[1] > 0 else 1)
  if chart.unit == 'percent':
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0 if high - low > _WIDE_SHARE else 1))
  elif chart.unit == 'bytes':
    axes.yaxis.set_major_formatter(ticker.EngFormatter('B'))


def _style(axes: 'axes_lib.Axes') -> None:
  columns = 2 if len(axes.get_lines()) > 3 else 3  # Four would not fit.
  axes.legend(
    loc='lower left',
    bbox_to_anchor=(-0.01, 1.0),
    ncols=columns,
    frameon=False,
    labelcolor=_COLORS['ink'],
    handlelength=1.4,
    columnspacing=1.4,
    borderpad=0.2,
    borderaxespad=0.2,
  )
  axes.grid(axis='y', color=_COLORS['grid'], lw=0.8)
  axes.set_axisbelow(True)
  axes.spines[['top', 'right', 'left']].set_visible(False)
  axes.spines['bottom'].set_color(_COLORS['grid'])
  axes.tick_params(colors=_COLORS['ink'], length=0)


def _inline(svg: str, name: str) -> str:
  """Cuts a drawing down to an element of the page: its colours by name, ids of its own, no size, no style."""
  svg = svg[svg.index('<svg') :]
  svg = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>', '', svg, flags=re.DOTALL)
  svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', svg, count=1)
  svg = svg.replace('xlink:href', 'href')
  svg = re.sub(r'\bid="', f'id="{name}-', svg)
  svg = re.sub(r'(href="#|url\(#)', rf'\1{name}-', svg)
  svg = re.sub('font-family: [^;"]*;? ?', '', svg)
  for color, value in _COLORS.items():
    svg = svg.replace(value, f'var(--{color})')
  return svg
