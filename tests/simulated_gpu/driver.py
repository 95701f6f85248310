"""Memory, streams and events of simulated devices."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

ALIGNMENT_NBYTES = 512
"""What torch's allocator rounds sizes up to."""


@dataclass(eq=False)
class Block:
    """Memory of one tensor on a device, and of all views of it. It is free with its last reference."""

    gpu: "SimulatedGpu"
    nbytes: int
    stream: "Stream"
    launch: int = 0
    """Number of the last kernel that uses it."""

    def __del__(self) -> None:
        self.gpu.free(self)


@dataclass(eq=False)
class _Copy:
    """A copy from page-locked memory, on its way."""

    begin: int
    end: int
    run: Callable[[], object] | None

    def arrive(self) -> None:
        if self.run is not None:
            self.run()
            self.run = None


@dataclass(eq=False)
class SimulatedGpu:
    """One device. Sizes are in bytes."""

    index: int
    total: int
    capability: tuple[int, int] = (9, 0)
    allocated: int = 0
    peak: int = 0
    to_device: int = 0
    """Bytes copied to the device."""
    to_host: int = 0
    """Bytes copied from the device."""
    waits: int = 0
    """Times that the host waited for kernels."""
    hazards: list[str] = field(default_factory=list[str])
    last: int | None = None
    """Number of the last kernel before the device is lost."""
    launches: int = 0
    """Kernels so far; those after `done` may still be running, as far as the host knows."""
    done: int = 0
    page_locked_by: list[str] = field(default_factory=list[str])
    """Names of the threads that have page-locked memory."""
    registered: dict[int, int] = field(default_factory=dict[int, int])
    """Page-locked memory of the host: sizes by address; the devices share it."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.streams = list[Stream]()
        self.default = Stream(self)
        self._freed: list[tuple[Stream, int]] = []
        """Streams of memory that was freed before the kernels that use it were known to have ended, and their last one."""

    def allocate(self, nbytes: int) -> Block:
        """Return memory, for use in the current stream first.

        Raises:
            torch.OutOfMemoryError: the limit would be exceeded.
        """
        rounded = -(-nbytes // ALIGNMENT_NBYTES) * ALIGNMENT_NBYTES
        with self.lock:
            if self.allocated + rounded > self.total:
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {rounded} bytes. GPU {self.index} has {self.total} of which "
                    f"{self.total - self.allocated} are free."
                )
            self.allocated += rounded
            self.peak = max(self.peak, self.allocated)
            stream = current_stream(self)
            seen = max(self.done, stream.seen)
            if any(freed is stream and stream is not self.default and launch > seen for freed, launch in self._freed):
                self.hazards.append("memory was used again in a stream while kernels of another may still read it")
            self._freed = [(freed, launch) for freed, launch in self._freed if launch > self.done]
        return Block(self, rounded, stream)

    def free(self, block: Block) -> None:
        """Take memory back."""
        with self.lock:
            self.allocated -= block.nbytes
            if block.launch > self.done:
                self._freed.append((block.stream, block.launch))

    def launched(self, blocks: list[Block]) -> None:
        """Note a kernel in the default stream that uses some memory.

        Raises:
            torch.AcceleratorError: the device is lost.
        """
        if self.last is not None and self.launches >= self.last:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        self.launches += 1
        for block in blocks:
            block.launch = self.launches

    def lose(self, after: int = 0) -> None:
        """Lose the device after so many more kernels."""
        self.last = self.launches + after

    def synchronize(self) -> None:
        """Have the host wait for all kernels."""
        self.waits += self.launches > self.done
        self.done = self.launches
        self.default.complete()

    def note_host_freed(self, begin: int, nbytes: int) -> None:
        """Note that page-locked memory of the host is given back."""
        for copy in (copy for stream in self.streams for copy in stream.copies):
            if begin < copy.end and copy.begin < begin + nbytes:
                self.hazards.append("memory of the host was given back while it was being copied")

    def is_registered(self, address: int) -> bool:
        """Tell whether memory of the host is page-locked."""
        return any(begin <= address < begin + nbytes for begin, nbytes in self.registered.items())


class Stream:
    """Kernels and copies in their order."""

    def __init__(self, device: Any = None) -> None:
        self.gpu = device if isinstance(device, SimulatedGpu) else gpu_of(device)
        self.gpu.streams.append(self)
        self.seen = 0
        """Last kernel of the default stream that all later work of this stream comes after."""
        self.copies: list[_Copy] = []
        self._waited: list[Event] = []

    def copy(self, begin: int, nbytes: int, run: Callable[[], object]) -> None:
        """Begin a copy from page-locked memory."""
        self.copies.append(_Copy(begin, begin + nbytes, run))

    def record_event(self, event: "Event | None" = None) -> "Event":
        """Mark what this stream was given so far."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        """Have later work of this stream come after an event; the host goes on."""
        for copy in event.copies:
            copy.arrive()
        self.seen = max(self.seen, event.launch)
        self._waited.append(event)

    def wait_stream(self, stream: "Stream") -> None:
        """Have later work of this stream come after what another was given."""
        self.wait_event(stream.record_event())

    def complete(self) -> None:
        """Do what is outstanding: the host waits for it."""
        for copy in self.copies:
            copy.arrive()
        self.copies.clear()
        for event in self._waited:
            event.complete()
        self._waited.clear()


class Event:
    """A place in a stream."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.timed = enable_timing
        self.copies: list[_Copy] = []
        self.launch = 0
        self._at = 0.0
        self._stream: Stream | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Mark this place in a stream."""
        self._stream = stream or current_stream(gpu_of(torch.device("cuda")))
        self.copies = list(self._stream.copies)
        self.launch = self._stream.gpu.launches if self._stream is self._stream.gpu.default else self._stream.seen
        self._at = time.perf_counter()

    def synchronize(self) -> None:
        """Have the host wait until the stream is here."""
        assert self._stream is not None
        gpu = self._stream.gpu
        gpu.waits += self.launch > gpu.done
        gpu.done = max(gpu.done, self.launch)
        self.complete()

    def complete(self) -> None:
        """Do the copies before this place."""
        assert self._stream is not None
        for copy in self.copies:
            copy.arrive()
        self._stream.copies = [copy for copy in self._stream.copies if copy not in self.copies]

    def elapsed_time(self, end: "Event") -> float:
        """Return the milliseconds up to another event."""
        assert self.timed
        assert end.timed
        return (end._at - self._at) * 1000


class _Current(threading.local):
    index = 0
    stream: Stream | None = None


_current = _Current()
_gpus: list[SimulatedGpu] = []


def gpu_of(device: Any = None) -> SimulatedGpu:
    """Return a device by torch's name of it; without a number, the one of this thread."""
    index = device if isinstance(device, int) or device is None else torch.device(device).index
    return _gpus[_current.index if index is None else index]


def current_stream(gpu: SimulatedGpu) -> Stream:
    """Return the stream of this thread."""
    stream = _current.stream
    return stream if stream is not None and stream.gpu is gpu else gpu.default


def set_device(device: Any) -> None:
    """Choose the device of this thread, which must have a number, as in torch."""
    if not isinstance(device, int) and torch.device(device).index is None:
        raise ValueError(f"Expected a torch.device with a specified index or an integer, but got: {device}")
    _current.index = gpu_of(device).index


@contextmanager
def in_stream(stream: Stream) -> Iterator[None]:
    """Choose the stream of this thread."""
    before, _current.stream = _current.stream, stream
    try:
        yield
    finally:
        _current.stream = before


@contextmanager
def installed(gpus: list[SimulatedGpu]) -> Iterator[None]:
    """Let torch's names find these devices."""
    _gpus.extend(gpus)
    try:
        yield
    finally:
        _gpus.clear()
