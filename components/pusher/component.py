"""Pusher: TFX's, except that a version appears whole."""

from __future__ import annotations

from tfx.components.pusher import component
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec

from components.pusher.executor import Executor


class Pusher(component.Pusher):
    """Pushes a blessed model; see :class:`components.pusher.executor.Executor`."""

    EXECUTOR_SPEC = ExecutorClassSpec(Executor)
