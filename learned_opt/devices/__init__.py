"""Devices: meshes, work spread over a mesh, options of the compiler, programs that are kept.

`learned_opt.devices._axes` holds the types of arrays that are spread over a mesh, for optimizers.
"""

from ._kept import compiled as compiled
from ._kept import kept_bytes as kept_bytes
from ._kept import programs_folder as programs_folder
from ._kept import remembered as remembered
from ._kept import versions as versions
from ._memory import device_memory as device_memory
from ._mesh import compiler_options as compiler_options
from ._mesh import core_count as core_count
from ._mesh import device_mesh as device_mesh
from ._mesh import map_blocks as map_blocks
from ._mesh import map_lanes as map_lanes
from ._mesh import row_spec as row_spec
from ._mesh import share_of_block as share_of_block
from ._mesh import sum_of_blocks as sum_of_blocks
from ._mesh import use_all_cores as use_all_cores
