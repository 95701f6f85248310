"""Tensors that say they are on a device, hold their numbers on the host, and refuse to be mixed with others."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from .driver import Block, SimulatedGpu, current_stream, gpu_of

_FRESH = ("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::new_empty_strided")
_READS = ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::is_nonzero")
_MAY_COPY = ("aten::to", "aten::type_as")
"""Composite operations that reach a mode whole in inference mode."""
_NOT_A_NUMBER = 0xFF


class GpuTensor(Tensor):
    """A tensor of a simulated device."""

    numbers: Tensor
    block: Block

    @staticmethod
    def __new__(cls, numbers: Tensor, block: Block) -> "GpuTensor":
        """Wrap numbers that lie in some memory."""
        tensor = Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=torch.device("cuda", block.gpu.index),
        )
        tensor.numbers, tensor.block = numbers, block
        return tensor

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        """Show the numbers, without counting it as a copy."""
        return f"GpuTensor({self.numbers}, cuda:{self.block.gpu.index})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch; those that look for a real device, where no dispatch can be seen, in another way."""
        if func is scaled_dot_product_attention:
            gpu = args[0].block.gpu
            gpu.launched([tensor.block for tensor in args[:3]])
            return _wrapped(func(*_numbers(args), **_numbers(kwargs or {})), gpu)
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]).to(args[0].device), *args[2:])
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute what involves such a tensor."""
        return _computed_outside_inference_mode(func, args, kwargs or {})


class Operations(TorchDispatchMode):
    """Catches the operations of a thread that make tensors on a device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute an operation."""
        return _computed_outside_inference_mode(func, args, kwargs or {})


class Literals(TorchFunctionMode):
    """Makes tensors of Python's numbers on the host, then copies them, as torch does where no mode can see it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch."""
        given = dict(kwargs or {})
        if func is torch.tensor and _is_gpu(given.get("device")):
            return func(*args, **{**given, "device": "cpu"}).to(given["device"])
        return func(*args, **given)


def _computed_outside_inference_mode(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute an operation; what involves a device outside of inference mode, so that views of any operand can be made."""
    if not any(isinstance(leaf, GpuTensor) or _is_gpu(leaf) for leaf in _leaves(args, kwargs)):
        return func(*args, **kwargs)
    with torch.inference_mode(False), torch.no_grad():
        return _computed(func, args, kwargs)


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in _leaves(args, kwargs) if isinstance(leaf, Tensor)]
    theirs = [tensor for tensor in tensors if isinstance(tensor, GpuTensor)]
    device = kwargs.get("device")
    name = func.overloadpacket._qualified_op_name
    if name in _MAY_COPY:
        with Operations():
            return func.decompose(*args, **kwargs)
    if name == "aten::_has_compatible_shallow_copy_type":  # asked by `Module.to`
        return False
    if name == "aten::_to_copy":
        return _to_copy(func, args[0], kwargs)
    if name == "aten::copy_":
        return _copy(func, *args)
    gpu = gpu_of(device) if _is_gpu(device) else theirs[0].block.gpu
    if not name.endswith("_like"):  # of which only the shape matters
        _refuse_mixed(name, gpu, tensors)
    if not func.is_view and name not in _FRESH:
        gpu.launched([tensor.block for tensor in theirs])
    if name in _READS:
        gpu.synchronize()
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = func(*_numbers(args), **_numbers(kwargs))
    if device is not None and not _is_gpu(device):
        return found
    if name in _FRESH:
        found.untyped_storage().fill_(_NOT_A_NUMBER)
    if isinstance(found, (tuple, list)):
        return type(found)(_wrapped(each, gpu, theirs) if isinstance(each, Tensor) else each for each in found)
    return _wrapped(found, gpu, theirs) if isinstance(found, Tensor) else found


def _wrapped(found: Tensor, gpu: SimulatedGpu, operands: Sequence[GpuTensor] = ()) -> GpuTensor:
    """Wrap a result: an operand that was changed in place is itself, a view has its block, all else has one of its own."""
    address = found.untyped_storage().data_ptr()
    for operand in operands:
        if operand.numbers is found:
            return operand
        if address and operand.numbers.untyped_storage().data_ptr() == address:
            return GpuTensor(found, operand.block)
    block = gpu.allocate(found.untyped_storage().nbytes())
    block.launch = 0 if current_stream(gpu) is not gpu.default else gpu.launches
    return GpuTensor(found, block)


def _to_copy(func: Any, source: Tensor, kwargs: dict[str, Any]) -> Tensor:
    """Copy to another device or dtype."""
    device = kwargs.get("device", source.device)
    found = func(_numbers(source), **{**kwargs, "device": torch.device("cpu")})
    if found is source or (isinstance(source, GpuTensor) and found is source.numbers):
        found = found.clone()
    if isinstance(source, GpuTensor) and not _is_gpu(device):
        _to_host(source, found)
        return found
    gpu = gpu_of(device)
    if isinstance(source, GpuTensor):
        if source.block.gpu is not gpu:
            source.block.gpu.synchronize()
        source.block.gpu.launched([source.block])
    else:
        gpu.to_device += found.nbytes
    gpu.launched([])
    return _wrapped(found, gpu)


def _copy(func: Any, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy into a tensor, at once or when a stream comes to it."""
    to, numbers = _numbers(target), _numbers(source)
    if not isinstance(target, GpuTensor):
        assert isinstance(source, GpuTensor)
        _to_host(source, source.numbers)
        func(to, numbers)
        return target
    gpu = target.block.gpu
    if isinstance(source, GpuTensor):
        gpu.launched([target.block, source.block])
    else:
        gpu.launched([])
        gpu.to_device += numbers.nbytes
    stream = current_stream(gpu)
    later = non_blocking and stream is not gpu.default and gpu.is_registered(numbers.data_ptr())
    if later:
        stream.copy(numbers.data_ptr(), numbers.nbytes, lambda: func(to, numbers))
    else:
        func(to, numbers)
    return target


def _to_host(source: GpuTensor, found: Tensor) -> None:
    gpu = source.block.gpu
    gpu.launched([source.block])
    gpu.synchronize()
    gpu.to_host += found.nbytes


def _refuse_mixed(name: str, gpu: SimulatedGpu, tensors: list[Tensor]) -> None:
    """Refuse what a real device refuses; a single number of the host may be an operand of a device's kernel."""
    for tensor in tensors:
        there = isinstance(tensor, GpuTensor)
        if (there and tensor.block.gpu is not gpu) or (not there and tensor.ndim > 0 and tensor.device.type != "meta"):
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but got {tensor.device} beside cuda:{gpu.index} in {name}"
            )


def _leaves(args: Any, kwargs: dict[str, Any]) -> Iterator[Any]:
    """List the arguments of an operation; a list is the only thing that they can be in."""
    for each in (*args, *kwargs.values()):
        if isinstance(each, (tuple, list)):
            yield from each
        else:
            yield each


def _numbers(given: Any) -> Any:
    """Return the numbers of tensors on a device, also of those in lists and of keyword arguments."""
    if isinstance(given, GpuTensor):
        return given.numbers
    if isinstance(given, (tuple, list)):
        return type(given)(map(_numbers, given))
    if isinstance(given, dict):
        return {key: _numbers(value) for key, value in given.items()}
    return given


def _is_gpu(device: Any) -> bool:
    """Tell whether something names a device of this kind."""
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.startswith("cuda")
