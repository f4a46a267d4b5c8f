"""Networks that read letter by letter: how far a gradient reaches, how to reverse a word."""
import functools

import torch
import torch.nn.functional as F
from torch import nn

LETTERS = "abcdefgh"


def spell(ids):
    """ids (T,) as a word, such as [3, 0, 2] -> "dac"."""
    return "".join(LETTERS[i] for i in ids)


def read(word):
    """A word as ids (1, T). Raises ValueError for an empty word or a letter outside a to h."""
    unseen = sorted(set(word) - set(LETTERS))
    if not word or unseen:
        raise ValueError(f"the word {word!r} holds {unseen or 'no letter'}: "
                         f"write one or more of the letters {LETTERS[0]} to {LETTERS[-1]}")
    return torch.tensor([[LETTERS.index(c) for c in word]])


def grad_by_lag(net, x):
    """How strongly the last state depends on the input k steps before it, for each lag k.

    net: (1, T, d_in) -> (states (1, T, d), anything), as nn.RNN and nn.GRU with batch_first are;
    x: (T, d_in). Returns (T,): entry k is the norm of the gradient of the last state's sum for
    x[T - 1 - k]. Source: Bengio, Simard and Frasconi 1994.
    """
    x = x.detach().clone().requires_grad_()
    last = net(x[None])[0][0, -1]                               # (d,)
    gradient, = torch.autograd.grad(last.sum(), x)              # (T, d_in)
    return gradient.norm(dim=1).flip(0)


def turning(size, d, seed):
    """A random rotation times `size`, (d, d) float64: it stretches every vector by `size`."""
    rng = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(d, d, generator=rng, dtype=torch.float64))
    return size * q * r.diagonal().sign()


def recurrent(kind, size=1.0, bias=0.0, d_in=4, d=16, seed=0):
    """nn.RNN or nn.GRU in float64 with seeded weights, ready for grad_by_lag.

    kind: "rnn", whose Wh is a rotation times `size`; or "gru", as torch makes it, with `bias` added
    to its update gate: at 4 the gate keeps 98 % of the state at each step.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = {"rnn": nn.RNN, "gru": nn.GRU}[kind](d_in, d, batch_first=True).double()
    with torch.no_grad():
        if kind == "rnn":
            net.weight_hh_l0.copy_(turning(size, d, seed))
            net.bias_hh_l0.zero_()
            net.bias_ih_l0.zero_()
        else:
            net.bias_ih_l0[d:2 * d] += bias                     # rows: reset, update, new
    return net


def reversal_batch(B, T, rng, n_letters=len(LETTERS)):
    """B random words of T letters and the same words backwards: two (B, T) of ids.

    Raises ValueError for an empty word or an empty alphabet.
    """
    if B < 1 or T < 1 or n_letters < 1:
        raise ValueError(f"reversal of B={B} words of T={T} from {n_letters} letters: "
                         "all three must be 1 or more")
    source = torch.randint(n_letters, (B, T), generator=rng)
    return source, source.flip(1)


class Reverser(nn.Module):
    """An encoder reads a word, a decoder writes another; with attention or through one vector.

    Encoder: a GRU in both directions, d / 2 numbers each, so its states H are (B, T, d). Decoder: a
    GRU that starts from the encoder's last states and reads the letters written so far. With
    attention each decoder state s scores each h_j by v . tanh(Wq s + Wh h_j). Source of the score:
    Bahdanau, Cho and Bengio 2015; the order "state first, then look" is Luong, Pham, Manning 2015.
    """

    def __init__(self, attention, d=32, n_letters=len(LETTERS)):
        super().__init__()
        self.attention, self.start = attention, n_letters       # the start sign: one more id
        self.letter = nn.Embedding(n_letters + 1, d)
        self.encoder = nn.GRU(d, d // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(d, d, batch_first=True)
        if attention:
            self.Wq, self.Wh = nn.Linear(d, d), nn.Linear(d, d, bias=False)
            self.v = nn.Linear(d, 1, bias=False)
        self.head = nn.Linear(2 * d if attention else d, n_letters)

    def encode(self, source):
        """ids (B, T) -> states H (B, T, d) and the one vector handed on, (1, B, d)."""
        H, last = self.encoder(self.letter(source))             # last: (2, B, d / 2)
        return H, torch.cat([last[0], last[1]], dim=-1)[None]

    def look(self, S, H):
        """Decoder states S (B, L, d) over H (B, T, d) -> contexts (B, L, d), weights (B, L, T)."""
        scores = self.v((self.Wq(S)[:, :, None] + self.Wh(H)[:, None]).tanh())[..., 0]
        weights = scores.softmax(-1)
        return weights @ H, weights

    def answer(self, S, H):
        """Decoder states (B, L, d) -> logits (B, L, n_letters), weights (B, L, T) or None."""
        if not self.attention:
            return self.head(S), None
        contexts, weights = self.look(S, H)
        return self.head(torch.cat([S, contexts], dim=-1)), weights

    def forward(self, source, target):
        """Training: the decoder is given the right letters before each one (teacher forcing)."""
        H, vector = self.encode(source)
        before = torch.cat([torch.full_like(target[:, :1], self.start), target[:, :-1]], dim=1)
        return self.answer(self.decoder(self.letter(before), vector)[0], H)

    @torch.no_grad()
    def write(self, source):
        """Use: the decoder reads its own letters. ids (B, T) -> ids (B, T), weights or None."""
        H, state = self.encode(source)
        letter, out, looks = torch.full_like(source[:, :1], self.start), [], []
        for _ in range(source.shape[1]):
            S, state = self.decoder(self.letter(letter), state)  # (B, 1, d)
            logits, weights = self.answer(S, H)
            letter = logits.argmax(-1)                          # (B, 1)
            out.append(letter)
            looks.append(weights)
        return torch.cat(out, 1), torch.cat(looks, 1) if self.attention else None


@functools.cache
def learn_reversal(T, attention, seed, steps=250, B=32, lr=1e-2):
    """A Reverser after so many steps of AdamW on fresh words of T letters (made once, then kept).

    Seeded, and torch's global random state is left as found.
    """
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Reverser(attention)
    adamw = torch.optim.AdamW(model.parameters(), lr=lr, fused=True)
    for _ in range(steps):
        source, target = reversal_batch(B, T, rng)
        adamw.zero_grad()
        F.cross_entropy(model(source, target)[0].flatten(0, 1), target.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
    return model.eval()


def letters_right(model, T, seed=99):
    """Share of letters right on 500 fresh words of T letters, the decoder reading its own."""
    source, target = reversal_batch(500, T, torch.Generator().manual_seed(seed))
    return (model.write(source)[0] == target).double().mean().item()
