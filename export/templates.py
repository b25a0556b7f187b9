"""How the text files of a model folder are made of templates."""

import os

import jinja2


def build_environment(module: str, autoescape: bool) -> jinja2.Environment:
  """Returns an environment for the templates beside a module; a name that a template is not given is an error.

  Args:
    module: The `__file__` of the module.
    autoescape: Whether what is filled in is text in HTML.
  """
  return jinja2.Environment(
    loader=jinja2.FileSystemLoader(os.path.dirname(module)),
    autoescape=autoescape,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
