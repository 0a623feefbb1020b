import torch


def traced(tensor):
    """Whether a graph is being traced: values are not at hand."""
    return torch.compiler.is_compiling() or torch.compiler.is_exporting() or tensor.device.type == "meta"


def custom_gradient(forward, backward):
    """`forward`'s first result, differentiated by `backward`; every tensor it depends on must be an argument.

    Args:
        forward: tensors -> (result, tuple of tensors that `backward` needs).
        backward: (that tuple, gradient of the result) -> tuple of gradients, one an argument.
    """

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            result, kept = forward(*tensors)
            ctx.save_for_backward(*kept)
            return result

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, upstream):
            return backward(ctx.saved_tensors, upstream)

    return Function.apply
