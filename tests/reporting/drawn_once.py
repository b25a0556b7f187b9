"""Charts that are the same in many reports are drawn once: a report has six, which take a second."""

from collections.abc import Sequence

from reporting import charts

draw_anew = charts.draw  # Itself: tests replace its name.
_drawn: dict[str, str] = {}


def draw(name: str, rounds: Sequence[float], chart: charts.Chart) -> str:
  """Does what `charts.draw` does."""
  key = repr((name, list(rounds), chart))
  if key not in _drawn:
    _drawn[key] = draw_anew(name, rounds, chart)
  return _drawn[key]
