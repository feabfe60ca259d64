"""Meta-trained optimizers as files."""

from ._artifact import RECOMMENDED as RECOMMENDED
from ._artifact import ZOO as ZOO
from ._artifact import Artifact as Artifact
from ._artifact import ArtifactError as ArtifactError
from ._artifact import available as available
from ._artifact import load as load
from ._older import NOMINAL as NOMINAL
from ._older import current as current
