"""Writes adapters of random numbers in the shapes and sizes of others: a catalogue that knows nothing, for `python -m benchmarks.quality --modules OUT`.

Usage: python -m benchmarks.noise MODULES OUT
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmarks.quality import modules


def main(arguments: Sequence[str] | None = None) -> None:
    """For every adapter below one folder, write one below the other whose numbers are drawn, each tensor with its own standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", type=Path, help="a folder of adapters")
    parser.add_argument("out", type=Path, help="where those of random numbers go")
    options = parser.parse_args(arguments)
    chance = torch.Generator().manual_seed(0)
    found = modules(options.modules)
    if not found:
        parser.error(f"there is no adapter in {options.modules}")
    for number, module in enumerate(found):
        source, target = Path(module.path), options.out / f"noise-{number:02d}"  # no name of a task: none is withheld
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "adapter_config.json", target / "adapter_config.json")
        tensors = load_file(source / "adapter_model.safetensors")
        drawn = {name: (torch.randn(t.shape, generator=chance) * t.float().std()).to(t.dtype) for name, t in tensors.items()}
        save_file(drawn, target / "adapter_model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
