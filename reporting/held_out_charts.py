"""Charts of held-out users: how many have which accuracy, and which classes are taken for which."""

from contracts import held_out_figures
from reporting import bar_charts


def draw(figures: held_out_figures.Figures | None, least: int = 1) -> dict[str, str]:
  """Returns the histogram of users by accuracy and the confusion matrix by name, each '' if there is none to show.

  Args:
    figures: What was measured, if it was.
    least: What is of fewer users is not drawn.
  """
  if not figures:
    return {'users': '', 'confusion': ''}
  names = [figures.name(label) for label in range(figures.matrix_size)]
  return {
    'users': bar_charts.draw_histogram('users-by-accuracy', figures.count_by_accuracy(least), 'held-out users'),
    'confusion': bar_charts.draw_matrix('confusion', figures.to_matrix(least), names) if names else '',
  }
