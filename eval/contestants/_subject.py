"""What is judged: an artifact, or a function of somebody's, see `factory_subject`."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import optax

import learned_opt
from learned_opt import Artifact
from learned_opt.tasks import EvalTask

from ..running import Identity, Runner, Trial, artifact_identity
from ._protocol import UNTUNED


@dataclasses.dataclass(frozen=True)
class Subject:
    """A complete optimizer that is told the number of steps and, if it asks for them, epochs.

    Attributes:
      name: for people.
      kind: what it comes from.
      identity: what its runs depend on.
      make: number of steps -> the optimizer, whose updates are added; with `uses_epochs` it also
        takes how often the run sees each example.
      card: provenance; empty for a factory.
      horizon_free: it never uses the number of steps.
      traced: `make` takes the number of steps traced too.
    """

    name: str
    kind: Literal["artifact", "factory"]
    identity: Identity
    make: Callable[..., optax.GradientTransformationExtraArgs]
    card: dict[str, Any]
    horizon_free: bool = False
    traced: bool = True
    uses_epochs: bool = False

    def runner(self) -> Runner:
        """What trains with it; hyper-parameters change nothing."""
        return Runner(
            lambda hyper, *told: self.make(*told), traced=self.traced, epochs=self.uses_epochs
        )

    def on(self, task: EvalTask) -> optax.GradientTransformationExtraArgs:
        """The optimizer as it runs on a task."""
        return self.runner().built(Trial(task, UNTUNED, 0))

    @property
    def trials(self) -> int:
        """Settings that were tried on a task before this one was chosen, as the card says."""
        return int(self.card.get("trials", 0))

    @property
    def digest(self) -> str:
        """The hash that sets it apart."""
        facts = self.identity.facts
        return facts["artifact"] if self.kind == "artifact" else facts["source"]

    def to_json(self) -> dict[str, Any]:
        """As in `report.json`."""
        return {
            "name": self.name,
            "kind": self.kind,
            "identity": self.digest if self.kind == "artifact" else self.identity.facts["factory"],
            "digest": self.digest,
            "card": self.card,
            "trials": self.trials,
            "horizon_free": self.horizon_free,
            "uses_epochs": self.uses_epochs,
        }


def artifact_subject(artifact: Artifact) -> Subject:
    """A learned optimizer as it ships: no learning rate, no weight decay.

    It is told the number of steps, at each step the loss, and how often the run will see each
    example if it makes use of that.
    """
    return Subject(
        artifact.card.get("name", "learned"),
        "artifact",
        artifact_identity(artifact),
        lambda num_steps, epochs=None: learned_opt.learned(
            artifact, num_steps=num_steps, epochs=epochs
        ),
        artifact.card,
        artifact.optimizer.horizon_free,
        uses_epochs=artifact.optimizer.uses_epochs,
    )
