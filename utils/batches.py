"""Text as numbers, cut into the windows that a language model learns from."""
import torch
import torch.nn.functional as F


class Characters:
    """A vocabulary of characters, in order of their code; encode and decode undo each other."""

    def __init__(self, text):
        self.symbols = sorted(set(text))
        self.ids = {symbol: i for i, symbol in enumerate(self.symbols)}

    def __len__(self):
        return len(self.symbols)

    def encode(self, text):
        """Text -> list of ids. Raises ValueError naming the first character that has none."""
        try:
            return [self.ids[symbol] for symbol in text]
        except KeyError as error:
            raise ValueError(f"the vocabulary of {len(self)} characters lacks {error}") from None

    def decode(self, ids):
        """Ids -> text."""
        return "".join(self.symbols[i] for i in ids)


class Batches:
    """Random windows of a long text; step s gives the same batch whatever happened before it.

    ids: (n,) integers; context: tokens a window; batch: windows a step. Calling it with a step
    returns inputs and targets, both (batch, context), targets one token later.
    Raises ValueError for a text that is not longer than one window.
    """

    def __init__(self, ids, context, batch, seed=0):
        self.ids, self.seed, self.batch = torch.as_tensor(ids), seed, batch
        if len(self.ids) <= context:
            raise ValueError(f"a text of {len(self.ids)} tokens has no window of {context} and "
                             "a next token: give a longer text or a smaller context")
        self.windows = self.ids.unfold(0, context + 1, 1)       # (n - context, context + 1)

    def __call__(self, step):
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        found = self.windows[torch.randint(len(self.windows), (self.batch,), generator=rng)]
        return found[:, :-1], found[:, 1:]


def padded(rows, fill=0, length=None):
    """Lists of ids -> (n, length) tensor, `fill` behind the shorter ones."""
    length = length or max(map(len, rows))
    return torch.tensor([[*row] + [fill] * (length - len(row)) for row in rows])


def epoch_rows(n, batch, step, seed=0):
    """Which of n examples a step learns from, (batch,): each at most once an epoch, in new order.

    The same step gives the same rows; what does not fill a batch waits for another epoch.
    """
    epoch, at = divmod(step, n // batch)
    rng = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(n, generator=rng)[at * batch:(at + 1) * batch]


def lm_loss(model, inputs, targets):
    """Mean nats per token of targets (B, T) under a model; a target of -100 does not count."""
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


@torch.no_grad()
def held_out(model, ids, context, most=400):
    """Mean nats per token on `most` windows spread evenly over a text, in eval mode."""
    ids = torch.as_tensor(ids)
    windows = ids.unfold(0, context + 1, context)               # targets do not overlap
    chosen = windows[torch.linspace(0, len(windows) - 1, min(most, len(windows))).long()]
    place, training, total = next(model.parameters()).device, model.training, 0.0
    model.eval()
    for part in chosen.split(64):
        part = part.to(place)
        total += lm_loss(model, part[:, :-1], part[:, 1:]).item() * len(part)
    model.train(training)
    return total / len(chosen)
