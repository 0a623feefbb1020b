import torch


def traced(tensor):
    """Whether a graph is being traced: values are not at hand."""
    return torch.compiler.is_compiling() or torch.compiler.is_exporting() or tensor.device.type == "meta"
