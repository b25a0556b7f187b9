"""Bar charts for a page that is read in light and in dark, on a screen or a phone, and in plain text. A leaf."""

import base64
from collections.abc import Callable, Mapping, Sequence
import io
import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
  from matplotlib import axes as axes_lib

_WIDTH, _HEIGHT, _ROW_HEIGHT = 4.2, 2.5, 0.34  # Inches.
_TEXT_WIDTH = 40  # Characters of the longest bar.
# From this ratio on between the highest bar and the lowest the low ones would not be seen.
_WIDE_RANGE = 100


class _Theme(NamedTuple):
  ink: str
  line: str
  bar: str


class Drawing(NamedTuple):
  """The same chart for both kinds of page, as `data:` addresses of SVG images."""

  light: str
  dark: str


_LIGHT = _Theme('#3d444d', '#dfe1e0', '#2563c9')
_DARK = _Theme('#c3cad3', '#363d46', '#78a9ff')


def list_bars(labels: Sequence[str], counts: Sequence[int]) -> list[str]:
  """Returns a line of text for each bar: its label, its number, and the bar, which shows as soon as there is one."""
  if not counts:
    return []
  widths = (max(map(len, labels)), len(f'{max(counts):,}'))
  unit = max(1, *counts) / _TEXT_WIDTH
  return [
    f'{label:>{widths[0]}}  {count:>{widths[1]},} {"#" * math.ceil(count / unit)}'.rstrip()
    for label, count in zip(labels, counts, strict=True)
  ]


def draw_sizes(edges: Sequence[int], counts: Sequence[int], title: str, unit: str) -> Drawing:
  """Draws a histogram whose edges grow by ratios; the counts too are log-scaled where they lie far apart."""

  def draw(axes: 'axes_lib.Axes', theme: _Theme) -> None:
    from matplotlib import ticker

    axes.bar(edges[:-1], counts, _widths(edges), align='edge', color=theme.bar, edgecolor=theme.line, lw=0.6)
    axes.set_xscale('log')
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:,.0f}'))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    if max(counts) >= _WIDE_RANGE * min(filter(None, counts)):
      axes.set_yscale('log')
      axes.set_ylim(bottom=0.7)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f'{value:,.0f}'))
    _label(axes, theme, title, unit)

  return _draw(draw, _HEIGHT)


def draw_shares(edges: Sequence[float], counts: Sequence[int], title: str, unit: str) -> Drawing:
  """Draws a histogram of shares between 0 and 1."""

  def draw(axes: 'axes_lib.Axes', theme: _Theme) -> None:
    from matplotlib import ticker

    axes.bar(edges[:-1], counts, _widths(edges), align='edge', color=theme.bar, edgecolor=theme.line, lw=0.6)
    axes.set_xlim(0, 1)
    axes.tick_params(axis='x', pad=8)
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(1))
    axes.yaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    _label(axes, theme, title, unit)

  return _draw(draw, _HEIGHT)


def draw_reasons(reasons: Mapping[str, int]) -> Drawing:
  """Draws a bar for each reason, from the top, with its number at its end."""

  def draw(axes: 'axes_lib.Axes', theme: _Theme) -> None:
    names = [name.replace('_', ' ') for name in reasons]
    bars = axes.barh(names, list(reasons.values()), height=0.6, color=theme.bar)
    axes.bar_label(bars, [f'{count:,}' for count in reasons.values()], padding=4, color=theme.ink)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    axes.spines['bottom'].set_visible(False)

  return _draw(draw, 0.2 + _ROW_HEIGHT * len(reasons))


def _widths(edges: Sequence[float]) -> list[float]:
  return [high - low for low, high in itertools.pairwise(edges)]


def _label(axes: 'axes_lib.Axes', theme: _Theme, title: str, unit: str) -> None:
  axes.set_xlabel(title, color=theme.ink)
  axes.set_ylabel(unit, color=theme.ink)
  axes.grid(axis='y', color=theme.line, lw=0.8)


def _draw(draw: Callable[['axes_lib.Axes', _Theme], None], height: float) -> Drawing:
  return Drawing(_draw_once(draw, _LIGHT, height), _draw_once(draw, _DARK, height))


def _draw_once(draw: Callable[['axes_lib.Axes', _Theme], None], theme: _Theme, height: float) -> str:
  import matplotlib  # Here, so that importing this module is cheap.
  from matplotlib import figure as figure_lib

  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'pocketfed', 'font.size': 11}):
    figure = figure_lib.Figure((_WIDTH, height), layout='constrained')
    axes = figure.subplots()
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.spines['bottom'].set_color(theme.line)
    axes.tick_params(which='both', colors=theme.ink, length=0)
    axes.set_axisbelow(True)
    draw(axes, theme)
    buffer = io.BytesIO()
    figure.savefig(buffer, format='svg', transparent=True, metadata={'Date': None, 'Creator': None})
  return 'data:image/svg+xml;base64,' + base64.b64encode(buffer.getvalue()).decode()
