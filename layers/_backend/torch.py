import contextvars
import functools
import warnings

import keras
import torch
from torch._functorch.aot_autograd import aot_function, make_boxed_func
from torch._functorch.compile_utils import fx_graph_cse
from torch.fx.experimental.proxy_tensor import make_fx


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


def static_shapes():
    return False


def split(tensor, sizes, count):
    sizes = sizes.tolist()
    return tensor[: sum(sizes)].split(sizes)


# ODE solvers: see tensorflow.py for what each name does -------------------------------------------------------------


def read(variable):
    # a copy where nobody trains it: assign() is in place, and the backward pass reads the value of the forward pass
    return variable.value if variable.trainable else variable.value.clone()


_TRACING = contextvars.ContextVar("tracing", default=False)


def random_state(tensor):
    if _TRACING.get():
        return None  # the function has been called, and looked at, before it is traced
    state = torch.get_rng_state()
    if tensor.is_cuda:
        state = torch.cat([state, torch.cuda.get_rng_state(tensor.device)])
    return state.numpy().tobytes()


def scalar(value, dtype):
    return float(value)


def count(value):
    return value


def number(tensor):
    return tensor.item()


def pick(condition, first, second):
    return first if condition else second


highest, lowest = max, min


def weighted_sum(weights, tensors):
    total = None
    for weight, tensor in zip(weights, tensors, strict=False):
        if weight != 0 and total is None:
            total = tensor if weight == 1 else weight * tensor
        elif weight != 0:
            total = torch.add(total, tensor, alpha=weight)
    return total


def repeat(count, body, carry, unroll=False):
    for i in range(count):
        carry = body(i, carry)
    return carry


def scan(step, carry, xs, like):
    return keras.ops.scan(step, carry, xs)


def until(more, body, carry, limit):
    while limit and more(carry):
        carry, limit = body(carry), limit - 1
    return carry


def buffer(size, like):
    return [None] * size


def scalar_buffer(size, dtype):
    return [None] * size


def put(buffer, index, value):
    buffer[index] = value
    return buffer


def get(buffer, index):
    return buffer[index]


def complete(arrived, tensors, message):
    if not arrived:
        raise RuntimeError(message)
    return tensors


def vjp(function, primals, cotangent):
    leaves = [leaf.detach().requires_grad_() for leaf in keras.tree.flatten(primals)]
    with torch.enable_grad():
        value = function(*keras.tree.pack_sequence_as(primals, leaves))
    pairs = list(zip(keras.tree.flatten(value), keras.tree.flatten(cotangent), strict=True))
    pairs = [pair for pair in pairs if pair[0].requires_grad]
    found = [None] * len(leaves)
    if pairs:
        outputs, bars = zip(*pairs, strict=True)
        found = torch.autograd.grad(outputs, leaves, bars, allow_unused=True)
    found = [torch.zeros_like(leaf) if one is None else one for one, leaf in zip(found, leaves, strict=True)]
    value = keras.tree.map_structure(torch.Tensor.detach, value)
    return value, keras.tree.pack_sequence_as(primals, found)


def compiled(function, mode, differentiable=False):
    return _Traced(function, mode, differentiable)


class _Traced:
    """`function` of nested tuples of tensors and numbers, as a graph of the operations that it does.

    A call of a Keras layer costs some 0.3 ms on torch, whatever it computes. A graph is made for each shape that
    comes; where that fails, or where the graph is not the function, `function` itself is called, with a warning.
    """

    def __init__(self, function, mode, differentiable):
        self.function, self.mode, self.differentiable = function, mode, differentiable
        self.graphs = {}

    def __call__(self, *args):
        leaves = []
        _flatten(args, leaves)
        like = next(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
        leaves = [
            # contiguous, because a graph's views hold for the strides that it was made with
            leaf.contiguous() if isinstance(leaf, torch.Tensor) else like.new_full((), leaf)
            for leaf in leaves
        ]
        if self.mode is None or like.dtype == torch.float64:  # keras.ops round float64 here and there: a graph does not
            return self.function(*_unflatten(args, iter(leaves)))
        key = like.shape, like.dtype, like.device
        if self.differentiable:
            key = *key, torch.is_grad_enabled(), *(leaf.requires_grad for leaf in leaves)
        found = self.graphs.get(key)
        if found is None:
            found = self.graphs[key] = self._trace(args, leaves)
        graph, structure = found
        if graph is None:
            return self.function(*_unflatten(args, iter(leaves)))
        return _unflatten(structure, iter(graph(*leaves)))

    def _trace(self, args, leaves):
        """(graph of flat tensors, structure of its result), or (None, None)."""
        leaves = [leaf.detach().requires_grad_(leaf.requires_grad and self.differentiable) for leaf in leaves]
        structure = []

        def flat(*leaves):
            result = self.function(*_unflatten(args, iter(leaves)))
            found = []
            _flatten(result, found)
            structure[:] = [_outline(result)]
            return found

        flat(*leaves)  # what is wrong with the function itself is raised here
        token = _TRACING.set(True)
        try:
            if self.differentiable:
                graph = aot_function(flat, fw_compiler=_runner, bw_compiler=_runner)
                graph(*leaves)  # traces
            else:
                with torch.no_grad(), _WithoutValues():
                    graph = _slim(make_fx(flat)(*leaves)).forward
        except Exception as error:
            warnings.warn(
                f"The dynamics cannot be traced, and run slower as they are: {type(error).__name__}: {error}. "
                "compile_dynamics=False says so beforehand.",
                stacklevel=2,
            )
            return None, None
        finally:
            _TRACING.reset(token)
        if self.mode == "inductor":
            graph = torch.compile(graph, dynamic=False)
        return graph, structure[0]


class _WithoutValues(torch.overrides.TorchFunctionMode):
    """Tensors have no values inside: a branch on one would be fixed in the graph by the first value."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.tolist, torch.Tensor.item):
            raise ValueError("its operations depend on the values of tensors")
        return function(*args, **(kwargs or {}))


def _runner(graph, _):
    return make_boxed_func(_slim(graph).forward)


def _slim(module):
    """`module` with fewer operations: none twice, none that only autograd needs, no copy of what is already laid out
    as it asks (Keras hands convolutions another order of axes back and forth), and a product and its sum as one."""
    if any(getattr(getattr(node.target, "_schema", None), "is_mutable", False) for node in module.graph.nodes):
        return module
    aten = torch.ops.aten
    for node in list(module.graph.nodes):
        source = node.args[0] if node.args else None
        if node.target is aten.clone.default:
            while source.target is aten.clone.default:
                source = source.args[0]
            node.args = (source,)
        if node.target is aten.detach.default or (
            node.target is aten.clone.default and _laid_out(source, node.kwargs.get("memory_format"))
        ):
            node.replace_all_uses_with(source)
            module.graph.erase_node(node)
    module.graph = fx_graph_cse(module.graph)
    for node in module.graph.nodes:
        if node.target is not aten.add.Tensor or node.kwargs:
            continue
        for product, other in (node.args, node.args[::-1]):
            if not isinstance(product, torch.fx.Node) or len(product.users) > 1 or not isinstance(other, torch.fx.Node):
                continue
            if product.target is aten.mm.default and _is_vector(other):
                node.target, node.args = aten.addmm.default, (other, *product.args)
            elif product.target is aten.mul.Tensor and all(isinstance(one, torch.fx.Node) for one in product.args):
                node.target, node.args = aten.addcmul.default, (other, *product.args)
            else:
                continue
            break
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _is_vector(node):
    return len(getattr(_metadata(node), "shape", ())) == 1


def _laid_out(node, memory_format):
    found = _metadata(node)
    if memory_format is None or not hasattr(found, "stride"):
        return False
    strides = found.stride() if callable(found.stride) else found.stride
    return torch.empty_strided(found.shape, strides, device="meta").is_contiguous(memory_format=memory_format)


def _metadata(node):
    """What tracing noted of the tensor, shape and strides among it."""
    return node.meta.get("val", node.meta.get("tensor_meta"))


def _flatten(structure, leaves):
    if isinstance(structure, tuple):
        for part in structure:
            _flatten(part, leaves)
    elif structure is not None:
        leaves.append(structure)


def _outline(structure):
    """`structure` without its tensors."""
    if isinstance(structure, tuple):
        return tuple(map(_outline, structure))
    return None if structure is None else True


def _unflatten(structure, leaves):
    if isinstance(structure, tuple):
        return tuple(_unflatten(part, leaves) for part in structure)
    return None if structure is None else next(leaves)


def solver(forward, backward, training):
    def run(x, weights, fixed):
        if x.is_meta:
            return torch.empty_like(x), {}  # Keras asks for the shape
        if backward is None or not (torch.is_grad_enabled() and any(one.requires_grad for one in (x, *weights))):
            return forward(x, weights, fixed, False)[:2]
        return _Solve.apply(forward, backward, fixed, x, *weights)

    return torch.compiler.disable(run)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, forward, backward, fixed, x, *weights):
        result, readings, residuals = forward(x, weights, fixed, True)
        ctx.save_for_backward(*weights)
        ctx.pull = functools.partial(backward, residuals)
        ctx.fixed = fixed
        return result.detach(), readings  # another tensor than the residuals hold: that would be a cycle

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, bar, _):
        bar, bars = ctx.pull(ctx.saved_tensors, ctx.fixed, bar)
        return None, None, None, bar, *bars


def has_fused_attention():
    """Whether Keras's `dot_product_attention` runs a kernel of its own."""
    return True


def has_slow_small_products():
    """Whether sums are faster than small products of matrices; torch's calls cost little."""
    return False
