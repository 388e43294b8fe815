"""On the path of the vLLM tests only, subprocesses included.

PyPI's torchvision is built for CUDA: beside a CPU build of torch its operators cannot be loaded, and the
package then stumbles over two of them that it describes unconditionally. Image processors use none of them,
so their names are declared before it is imported.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class DeclareOperators(MetaPathFinder):
    library: Any = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision" and self.library is None:
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                self.library.define(f"{operator}(Tensor boxes, Tensor scores, float iou) -> Tensor")


sys.meta_path.insert(0, DeclareOperators())
