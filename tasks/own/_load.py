"""Tasks by the name of what holds them: "my_project.tasks:letters"."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

from learned_opt._checks import shown
from learned_opt._modules import blame, import_name, module_name

from .._spec import AnySpec
from ..suites import EvalTask, Suite
from ._spec import OwnSpec

EXAMPLE = "my_project.tasks:letters"


def load_task(
    where: str, num_steps: int | None = None, *, what: str = "--task"
) -> tuple[EvalTask, ...]:
    """The tasks that "module:name", or "file.py:name", holds.

    The name is that of a task (see `from_functions`), a `FamilySpec`, a list of them, a `Suite`, or
    a function without arguments that returns one of these. The module is found from the working
    directory too. The same name gives the same tasks every time. One without a name= is called as
    the module calls it; in a list, where it does not, by a number.

    Args:
      where: "module:name".
      num_steps: steps of a run of each, in place of their own.
      what: asks for them; messages begin with it.

    Raises:
      ValueError: it cannot be imported, or is something else; one sentence.
    """
    found = import_name(where, what, EXAMPLE)
    name = where.rpartition(":")[2]
    if callable(found) and not isinstance(found, type):
        try:
            found = _made(found)
        except Exception as error:
            raise ValueError(f"{what} {where} raised {blame(error)}") from error
    if isinstance(found, Suite):
        found = found.entries
    items = found if isinstance(found, list | tuple) else [found]
    titles, tasks = _titles(where, items), []
    for i, item in enumerate(items, 1):
        title = titles.get(id(item)) or (name if len(items) == 1 else f"{name}-{i}")
        tasks.append(_task(item, title, f"{what} {where}"))
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"{what} {where} must hold tasks of different names, got "
            f"{', '.join(names) or 'none'}; give each its name="
        )
    if num_steps is not None:
        tasks = [dataclasses.replace(task, horizon=num_steps) for task in tasks]
    return tuple(tasks)


def _titles(where: str, items: Sequence[Any]) -> dict[int, str]:
    """What the module calls those of a list that are globals of it too, by id."""
    module = sys.modules[module_name(where.partition(":")[0])]
    wanted, found = {id(item) for item in items}, {}
    for name, value in vars(module).items():
        if id(value) in wanted and not name.startswith("_"):
            found.setdefault(id(value), name)
    return found


@functools.cache
def _made(function: Callable[[], Any]) -> Any:
    return function()


def _task(item: Any, title: str, where: str) -> EvalTask:
    if isinstance(item, AnySpec):
        return EvalTask(title, item)
    if not isinstance(item, EvalTask):
        raise ValueError(
            f"{where} must be a task, a FamilySpec, a list of them, a suite, or a function that "
            f"returns one, got {shown(item)}"
        )
    spec = item.spec
    if isinstance(spec, OwnSpec) and not spec.given_name:
        return _named(item, title)
    return item


@functools.cache
def _named(item: EvalTask, title: str) -> EvalTask:
    assert isinstance(item.spec, OwnSpec)
    return dataclasses.replace(item, name=title, spec=item.spec.named(title))
