"""Where a TFF computation runs that is called outside of a runtime: nowhere."""

from typing import Any, NoReturn

import tensorflow_federated as tff


class NoContext(tff.framework.SyncContext):
  """Refuses to run anything; TFF's own default starts a server that nobody would know of."""

  def invoke(self, comp: Any, arg: Any) -> NoReturn:
    raise RuntimeError(f'Expected a computation to be called by a runtime, found {comp} called by itself.')


def forget_server() -> None:
  """Takes TFF's server, if there is one, away from computations that are called from now on."""
  tff.framework.set_default_context(NoContext())
