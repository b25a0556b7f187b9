"""What a message suggests for a wrong name. A leaf."""

from collections.abc import Iterable
import difflib


def suggest(found: str, known: Iterable[str], otherwise: str = '') -> str:
  """Returns the question or the list that leads from a wrong name to a right one.

  Args:
    found: The wrong name.
    known: The right ones.
    otherwise: What to say if none of them is near; by default to choose among them.
  """
  names = list(known)
  near = difflib.get_close_matches(found, names, n=1)
  return f'did you mean {near[0]}?' if near else otherwise or f'choose among {", ".join(names)}.'
