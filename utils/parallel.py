"""Several processes, one model: the same loss as one process with the same batch."""
import os
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist


class Processes:
    """This process among those that torchrun started. Each takes its share of every batch.

    shard: False gives each a whole copy whose gradients are averaged (DDP, Li 2020); True gives
    each a part of every tensor, for models too large for one device (FSDP, Zhao 2023).
    """

    def __init__(self, shard=False):
        self.rank, self.size, self.shard = dist.get_rank(), dist.get_world_size(), shard

    def wrap(self, model, place):
        """The model as this way of sharing needs it."""
        if self.shard:
            from torch.distributed.fsdp import fully_shard
            for module in model.modules():
                if type(module).__name__ == "Block":
                    fully_shard(module)
            return fully_shard(model)
        ids = [place.index] if place.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(model, device_ids=ids)

    def last_piece_only(self, model, last):
        """Gradients travel once a step, with its last piece."""
        if self.shard:
            model.set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last else model.no_sync()

    def mean(self, loss):
        """The mean of a number over all processes."""
        dist.all_reduce(loss)
        return loss / self.size


@contextmanager
def processes(shard=False):
    """(world, device) of this process, under torchrun; (None, None) when it stands alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield None, None
        return
    place = torch.device("cpu")
    if torch.cuda.is_available():
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(shard), place
    finally:
        dist.destroy_process_group()
