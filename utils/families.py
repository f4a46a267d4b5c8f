"""One block, several families: the masks, the masked language model, and a judge of gaps."""
import torch
import torch.nn.functional as F

FAMILIES = {"encoder": "Encoder (BERT): every word sees every word",
            "decoder": "Decoder (GPT): every word sees itself and what came before",
            "prefix": "Prefix decoder: every word sees the prefix, then as a decoder",
            "encoder-decoder": "Encoder-decoder (T5): an open source, and a decoder that also sees "
                               "the source across"}


def family_mask(family, source, target, prefix=None):
    """Which of source + target words sees which, (T, T) bool, True where word i may look at j.

    prefix: words that see each other in the prefix family; the source unless given. An
    encoder-decoder's target sees the source by cross-attention, not by self-attention.
    Raises ValueError for a family that FAMILIES lacks.
    """
    if family not in FAMILIES:
        raise ValueError(f"family={family!r}: choose one of {', '.join(FAMILIES)}")
    T = source + target
    back = torch.ones(T, T, dtype=torch.bool).tril()
    if family == "encoder":
        return torch.ones_like(back)
    if family == "decoder":
        return back
    mutual = source if prefix is None or family == "encoder-decoder" else min(prefix, T)
    back[:mutual, :mutual] = True
    return back


class Masked:
    """Batches of a masked language model from batches of a decoder: step -> (inputs, labels).

    corrupt: (ids (B, T), generator) -> (inputs, labels); labels are -100 where nothing is asked.
    The same step gives the same batch.
    """

    def __init__(self, batches, corrupt, seed=0):
        self.batches, self.corrupt, self.seed = batches, corrupt, seed

    def __call__(self, step):
        ids, _ = self.batches(step)
        return self.corrupt(ids, torch.Generator().manual_seed(self.seed * 1_000_003 + step))


@torch.no_grad()
def gap_scores(model, windows, at, symbols):
    """Score of each symbol in a gap by the whole text that it would make: (n, symbols) nats, < 0.

    A decoder's way to use what stands right of the gap: log P(text with the symbol in it), for
    every symbol in turn. windows: (n, T) ids, whose id at position `at` >= 1 is not looked at.
    """
    place = model.embedding.weight.device
    scores = torch.empty(len(windows), symbols)
    for row, text in enumerate(windows.to(place)):
        texts = text.repeat(symbols, 1)                                     # (symbols, T)
        texts[:, at] = torch.arange(symbols, device=place)
        hidden = model.hidden(texts[:, :-1])[:, at - 1:]                    # from the gap on
        nats = F.cross_entropy(model.head(hidden).flatten(0, 1), texts[:, at:].flatten(),
                               reduction="none").view(symbols, -1)
        scores[row] = -nats.sum(1).cpu()
    return scores
