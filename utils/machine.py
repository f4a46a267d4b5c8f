"""What this machine has, and where a model runs: decided here and nowhere else."""
import os
import platform
from importlib.metadata import version


def device():
    """The torch.device to train on: a CUDA GPU, else Apple's, else the processor."""
    import torch
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def precision(place, wanted=None):
    """The number format to compute in on a device: bfloat16 on a CUDA GPU, float32 elsewhere.

    wanted: "float32" or "bfloat16" to decide otherwise. On processors without matrix units for
    it bfloat16 is several times slower than float32.
    """
    import torch
    if wanted not in (None, "float32", "bfloat16"):
        raise ValueError(f"precision={wanted!r}: choose float32 or bfloat16")
    return getattr(torch, wanted or ("bfloat16" if place.type == "cuda" else "float32"))


def use_cores(most=4):
    """Let torch compute on several cores, most of them at most, from here on; returns how many.

    A kernel of the course starts with one, which is faster for small models; one as large as
    SmolLM2 gains. On a machine that is busy with something else it may lose.
    """
    import torch
    torch.set_num_threads(max(torch.get_num_threads(), min(most, os.cpu_count() or 1)))
    return torch.get_num_threads()


def megabytes(place):
    """Memory in use, in MB: the most that tensors took on a GPU, of the process elsewhere."""
    if place.type == "cuda":
        import torch
        return torch.cuda.max_memory_allocated(place) / 1e6
    import psutil
    return psutil.Process().memory_info().rss / 1e6


def describe():
    """List of (what, value) about processor, memory, GPU and versions of this machine."""
    import torch
    place = device()
    gpu = torch.cuda.get_device_name() if place.type == "cuda" else \
        "Apple GPU" if place.type == "mps" else "none, and none is needed"
    return [("system", f"{platform.system()} on {platform.machine()}"),
            ("processor cores", str(os.cpu_count())),
            ("memory", memory()), ("GPU", gpu),
            ("Python", platform.python_version()),
            *((name, version(name)) for name in ("torch", "jupyterlab", "plotly"))]


def memory():
    """Main memory in words: gigabytes, or "unknown" where the system does not tell."""
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB"
    except (AttributeError, ValueError, OSError):
        return "unknown"
