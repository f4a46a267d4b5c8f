"""Right and wrong answers to the exercises of lecture 11."""
import collections
import difflib
import functools
import math

import torch
import torch.nn.functional as F
from torch import nn

from utils.audio import mel_filters
from utils.checks import c11_listening
from utils.transformer import Block, Config, Stack, Transformer, sinusoidal


# 11.1 -----------------------------------------------------------------------------------------
def patchify(img, p):
    B, C, H, W = img.shape
    parts = img.reshape(B, C, H // p, p, W // p, p).permute(0, 2, 4, 1, 3, 5)
    return parts.reshape(B, (H // p) * (W // p), C * p * p)


def unpatchify(patches, p, H, W):
    B, N, D = patches.shape
    parts = patches.reshape(B, H // p, W // p, D // p ** 2, p, p)
    return parts.permute(0, 3, 1, 4, 2, 5).reshape(B, -1, H, W)


def patchify_by_loop(img, p):
    B, C, H, W = img.shape
    return torch.stack([torch.stack([img[b, :, i:i + p, j:j + p].flatten()
                                     for i in range(0, H, p) for j in range(0, W, p)])
                        for b in range(B)])


def unpatchify_by_loop(patches, p, H, W):
    B, N, D = patches.shape
    out = patches.new_zeros(B, D // p ** 2, H, W)
    for n in range(N):
        i, j = n // (W // p) * p, n % (W // p) * p
        out[:, :, i:i + p, j:j + p] = patches[:, n].view(B, -1, p, p)
    return out


def patchify_by_unfold(img, p):
    return img.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def cut(order=(0, 2, 4, 1, 3, 5), split=lambda H, W, p: (H // p, p, W // p, p),
        end=lambda x, img: x):
    """patchify with another order of axes, split or end."""
    def answer(img, p):
        B, C, H, W = img.shape
        parts = img.reshape(B, C, *split(H, W, p)).permute(order)
        return end(parts.reshape(B, (H // p) * (W // p), C * p * p), img)
    return answer, unpatchify


def first(answer):
    return answer, unpatchify


def second(answer):
    return patchify, answer


def joined(split, order):
    def answer(x, p, H, W):
        B, N, D = x.shape
        sizes = {"h": H // p, "w": W // p, "c": D // p ** 2, "p": p, "q": p}
        return x.reshape(B, *[sizes[s] for s in split]).permute(order).reshape(B, -1, H, W)
    return patchify, answer


def half_fold(x, p, H, W):
    return F.fold(x.reshape(x.shape[0], x.shape[2], x.shape[1]), (H, W), p, stride=p)


def square_only(x, p, H, W):
    side = math.isqrt(x.shape[1])
    parts = x.reshape(len(x), side, side, -1, p, p)
    return parts.permute(0, 3, 1, 4, 2, 5).reshape(len(x), -1, side * p, side * p)


def snake(x, img):
    rows = max(img.shape[2] // math.isqrt(x.shape[2] // img.shape[1]), 1)
    x = x.reshape(len(x), rows, -1, x.shape[2]).clone()
    x[:, 1::2] = x[:, 1::2].flip(2)
    return x.flatten(1, 2)


def patchify_in_place(img, p):
    return patchify(img.mul_(1.5), p) / 1.5


# 11.2 -----------------------------------------------------------------------------------------
SHAPE = Config(vocab_size=1, d_model=32, n_layers=2, n_heads=4)


class TinyViT(nn.Module):
    def __init__(self, d_in, T, n_classes, position=True):
        super().__init__()
        self.embed, self.head = nn.Linear(d_in, 32), nn.Linear(32, n_classes)
        self.places = nn.Parameter(0.02 * torch.randn(T, 32)) if position else None
        self.blocks = Stack(SHAPE, causal=False)

    def embedded(self, x):
        x = self.embed(x)
        return x if self.places is None else x + self.places

    def encode(self, x):
        return self.blocks(self.embedded(x))

    def forward(self, x):
        return self.head(self.encode(x).mean(1))


class ByTorch(nn.Module):
    """torch's own encoder, post-norm, an embedding as the table; a norm after the mean."""

    def __init__(self, d_in, T, n_classes, position=True):
        super().__init__()
        self.embed = nn.Linear(d_in, 24)
        layer = nn.TransformerEncoderLayer(24, 3, 48, dropout=0, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        if position:
            self.places = nn.Embedding(T, 24)
        self.position = position
        self.head = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, n_classes))

    def encode(self, x):
        x = self.embed(x)
        if self.position:
            x = x + self.places(torch.arange(x.shape[1]))
        return self.blocks(x)

    def forward(self, x):
        return self.head(self.encode(x).sum(1) / x.shape[1])


class ByHand(nn.Module):
    """One head and a layer written out, with waves as positions."""

    def __init__(self, d_in, T, n_classes, position=True):
        super().__init__()
        self.embed = nn.Linear(d_in, 32)
        self.q, self.k, self.v = (nn.Linear(32, 32) for _ in range(3))
        self.wide, self.narrow = nn.Linear(32, 64), nn.Linear(64, 32)
        self.head = nn.Linear(32, n_classes)
        self.register_buffer("waves", sinusoidal(T, 32) * position)

    def encode(self, x):
        x = self.embed(x) + self.waves
        scores = self.q(x) @ self.k(x).mT / 32 ** 0.5
        x = x + scores.softmax(-1) @ self.v(x)
        return x + self.narrow(F.gelu(self.wide(x)))

    def forward(self, x):
        return torch.einsum("btd->bd", self.head(self.encode(x))) / x.shape[1]


def vit(encode=None, forward=None, init=None):
    class Variant(TinyViT):
        def __init__(self, d_in, T, n_classes, position=True):
            super().__init__(d_in, T, n_classes, position)
            if init:
                init(self, d_in, T, n_classes, position)
    if encode:
        Variant.encode = encode
    if forward:
        Variant.forward = forward
    return Variant


def sets(**parts):
    """An end of __init__ that replaces attributes: name=f(d_in, T, n_classes, position)."""
    def init(self, *given):
        for name, make in parts.items():
            if name in self._parameters:
                del self._parameters[name]
            setattr(self, name, make(*given))
    return vit(init=init)


def along_the_batch(s, *given):
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0)
    s.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def with_batch_norm(s, *given):
    s.norm = nn.BatchNorm1d(32)


def in_a_list(s, *given):
    s.loose = [Block(SHAPE), Block(SHAPE)]


def through_the_list(s, x):
    x = s.embedded(x)
    for block in s.loose:
        x = block(x)
    return x


def with_class_token(s, *given):
    s.token = nn.Parameter(torch.randn(32))


def token_first(s, x):
    return s.blocks(torch.cat([s.token.expand(len(x), 1, 32), s.embedded(x)], 1))


def two_encoders(s, d_in, T, n_classes, position):
    s.other = Stack(SHAPE, causal=False)


def flat_head(s, d_in, T, n_classes, position):
    s.head = nn.Linear(32 * T, n_classes)


def with_conv(s, *given):
    s.conv = nn.Conv1d(32, 32, 3, padding=1)


# 11.3 -----------------------------------------------------------------------------------------
def outer_product_mean(msa):
    return torch.einsum("sia,sjb->ijab", msa, msa) / msa.shape[0]


def outer_by_loop(msa):
    S, L, c = msa.shape
    rows = []
    for i in range(L):
        for j in range(L):
            rows.append(sum(torch.outer(m[i], m[j]) for m in msa) / S)
    return torch.stack(rows).view(L, L, c, c)


def outer_by_product(msa):
    S, L, c = msa.shape
    flat = msa.reshape(S, L * c)
    return (flat.T @ flat / S).view(L, c, L, c).transpose(1, 2)


def outer_by_broadcast(msa):
    return (msa[:, :, None, :, None] * msa[:, None, :, None, :]).mean(0)


def contact_scores(msa):
    alone = msa.mean(0)
    apart = alone[:, None, :, None] * alone[None, :, None, :]
    return (outer_product_mean(msa) - apart).square().sum((2, 3))


def mutual_information(msa):
    both, alone = outer_product_mean(msa), msa.mean(0)
    apart = alone[:, None, :, None] * alone[None, :, None, :]
    return torch.special.xlogy(both, both / apart.clamp(min=1e-12)).sum((2, 3))


def covariance_norm(msa):
    d = msa - msa.mean(0)
    cov = torch.einsum("sia,sjb->ijab", d, d) / (len(msa) - 1)
    return cov.flatten(2).norm(dim=-1)


def corrected(msa):
    """Average product correction (Dunn 2008)."""
    score = covariance_norm(msa)
    return score - score.mean(0) * score.mean(1, keepdim=True) / score.mean()


def outer(answer):
    return answer, contact_scores


def scores(answer):
    return outer_product_mean, answer


def upper_only(msa):
    out = outer_product_mean(msa)
    return out * torch.ones(out.shape[:2]).triu()[:, :, None, None]


def as_numbers(msa):
    return torch.corrcoef(msa.argmax(-1).double().T).abs().nan_to_num()


def entropy_score(msa):
    p = msa.mean(0)
    h = -torch.special.xlogy(p, p).sum(-1)
    return h[:, None] + h


def symmetric_noise(msa):
    L = msa.shape[1]
    noise = torch.rand(L, L, generator=torch.Generator().manual_seed(3))
    return noise + noise.T


def covariance(msa):
    alone = msa.mean(0)
    return outer_product_mean(msa) - alone[:, None, :, None] * alone[None, :, None, :]


# 11.4 -----------------------------------------------------------------------------------------
def triangle_update(z, Wa, Wb):
    return torch.einsum("ikd,jkd->ijd", z @ Wa, z @ Wb)


def triangle_by_loop(z, Wa, Wb):
    L, a, b = len(z), z @ Wa, z @ Wb
    rows = []
    for i in range(L):
        for j in range(L):
            total = 0
            for k in range(L):
                total = total + a[i, k] * b[j, k]
            rows.append(total)
    return torch.stack(rows).view(L, L, -1)


def triangle_by_product(z, Wa, Wb):
    a, b = (z @ Wa).permute(2, 0, 1), (z @ Wb).permute(2, 0, 1)         # (d, L, L)
    return (a @ b.mT).permute(1, 2, 0)


def triangle_by_broadcast(z, Wa, Wb):
    return ((z @ Wa)[:, None] * (z @ Wb)[None]).sum(2)


def edges(names="ikd,jkd->ijd", end=lambda out, z, a, b: out, swap=False, act=lambda t: t):
    def answer(z, Wa, Wb):
        a, b = act(z @ Wa), act(z @ Wb)
        if swap:
            a, b = b, a
        return end(torch.einsum(names, a, b), z, a, b)
    return answer


def no_ends(z, Wa, Wb):
    L, a, b = len(z), z @ Wa, z @ Wb
    out = torch.zeros(L, L, Wa.shape[1], dtype=z.dtype)
    for i in range(L):
        for j in range(L):
            for k in range(L):
                if k not in (i, j):
                    out[i, j] += a[i, k] * b[j, k]
    return out


def no_weights(z, Wa, Wb):
    return torch.einsum("ikd,jkd->ijd", z, z)


def triangle_in_place(z, Wa, Wb):
    return torch.einsum("ikd,jkd->ijd", z.mul_(2) @ Wa, z @ Wb) / 4


# 11.5 -----------------------------------------------------------------------------------------
def log_mel(wave, sr, n_mels, hop):
    n_fft = sr // 40
    spectrum = torch.stft(wave, n_fft, hop, window=torch.hann_window(n_fft).to(wave),
                          return_complex=True)
    power = spectrum.abs()[:, :len(wave) // hop] ** 2
    return (mel_filters(n_mels, n_fft, sr).to(power) @ power).clamp(min=1e-10).log10()


def log_mel_by_frames(wave, sr, n_mels, hop):
    n_fft, T = sr // 40, len(wave)
    side = n_fft // 2
    padded = torch.cat([wave[1:side + 1].flip(0), wave, wave[-side - 1:-1].flip(0)])
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(n_fft) / n_fft)
    columns, filters = [], mel_filters(n_mels, n_fft, sr).to(wave)
    for i in range(T // hop):
        s = torch.fft.rfft(padded[i * hop:i * hop + n_fft] * window)
        columns.append(filters @ (s.real ** 2 + s.imag ** 2))
    return torch.log10(torch.maximum(torch.stack(columns, 1), wave.new_tensor(1e-10)))


def log_mel_by_waves(wave, sr, n_mels, hop):
    """No FFT: products with cosines and sines."""
    n_fft = sr // 40
    rows = F.pad(wave[None], (n_fft // 2, n_fft // 2), mode="reflect")[0].unfold(0, n_fft, hop)
    rows = rows[:len(wave) // hop] * torch.hann_window(n_fft).to(wave)
    angle = 2 * math.pi * torch.outer(torch.arange(n_fft), torch.arange(n_fft // 2 + 1)) / n_fft
    power = (rows @ angle.cos().to(wave)) ** 2 + (rows @ angle.sin().to(wave)) ** 2
    bands = power @ mel_filters(n_mels, n_fft, sr).to(wave).mT
    return bands.clamp(1e-10).log().mT / math.log(10)


def log_mel_in_single(wave, sr, n_mels, hop):
    return log_mel(wave.float(), sr, n_mels, hop)


def heard(n_fft=lambda sr, hop: sr // 40, window=torch.hann_window, power=2,
          count=lambda T, h: T // h, filters=lambda f: f,
          log=lambda m: m.clamp(min=1e-10).log10(), wave=lambda w: w,
          mode="reflect", center=True, end=lambda m: m, between=lambda s: s, start=0):
    """log_mel with one part replaced."""
    def answer(w, sr, n_mels, hop):
        n, T = n_fft(sr, hop), len(w)
        s = torch.stft(wave(w), n, hop, window=window(n).to(w), center=center, pad_mode=mode,
                       return_complex=True).abs() ** power
        last = count(T, hop)
        bands = filters(mel_filters(n_mels, n, sr).to(s)) @ between(
            s[:, start:None if last is None else start + last])
        return end(log(bands))
    return answer


def even_bands(f):
    step = f.shape[1] // len(f)
    out = torch.zeros_like(f)
    for m in range(len(f)):
        out[m, m * step:(m + 1) * step] = 1 / step
    return out


def all_frequencies(wave, sr, n_mels, hop):
    n = sr // 40
    s = torch.stft(wave, n, hop, window=torch.hann_window(n).to(wave), return_complex=True)
    return (s.abs()[:, :len(wave) // hop] ** 2).clamp(min=1e-10).log10()


def dynamic_range(m):
    m = m.clamp(min=1e-10).log10()
    return torch.maximum(m, m.max() - 8)


def whisper_scale(m):
    return (dynamic_range(m) + 4) / 4


def log_mel_in_place(wave, sr, n_mels, hop):
    return log_mel(wave.mul_(0.5), sr, n_mels, hop) + 2 * math.log10(2)


# 11.6 -----------------------------------------------------------------------------------------
def edit_distance(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (x != y)))
        row = new
    return row[-1]


def cer(ref, hyp):
    return edit_distance(ref, hyp) / max(len(ref), 1)


def distance_by_table(a, b):
    D = torch.zeros(len(a) + 1, len(b) + 1, dtype=torch.long)
    D[:, 0], D[0] = torch.arange(len(a) + 1), torch.arange(len(b) + 1)
    D = D.tolist()
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            D[i][j] = min(D[i - 1][j] + 1, D[i][j - 1] + 1,
                          D[i - 1][j - 1] + (0 if a[i - 1] == b[j - 1] else 1))
    return torch.tensor(D[len(a)][len(b)])


def distance_by_recursion(a, b):
    @functools.cache
    def ways(i, j):
        if not i or not j:
            return i + j
        if a[i - 1] == b[j - 1]:
            return ways(i - 1, j - 1)
        return 1 + min(ways(i - 1, j), ways(i, j - 1), ways(i - 1, j - 1))
    return ways(len(a), len(b))


def distance_without_memory(a, b):
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return distance_without_memory(a[1:], b[1:])
    return 1 + min(distance_without_memory(a[1:], b), distance_without_memory(a, b[1:]),
                   distance_without_memory(a[1:], b[1:]))


def edited(swap=1, insert=1, delete=1, top=lambda n: list(range(n + 1)), left=lambda i: i,
           end=lambda row: row[-1], same=lambda x, y: x == y):
    """edit_distance with other costs, edges or end."""
    def answer(a, b):
        row = top(len(b))
        for i, x in enumerate(a, 1):
            new = [left(i)]
            for j, y in enumerate(b, 1):
                new.append(min(row[j] + delete, new[-1] + insert,
                               row[j - 1] + (0 if same(x, y) else swap)))
            row = new
        return end(row)
    return answer, cer


def damerau(a, b):
    D = [[i + j if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            D[i][j] = min(D[i - 1][j] + 1, D[i][j - 1] + 1, D[i - 1][j - 1] + (
                a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                D[i][j] = min(D[i][j], D[i - 2][j - 2] + 1)
    return D[-1][-1]


def bag(a, b):
    a, b = collections.Counter(a), collections.Counter(b)
    return max((a - b).total(), (b - a).total())


def greedy(a, b):
    i = j = cost = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            i, j = i + 1, j + 1
            continue
        cost += 1
        if len(a) - i > len(b) - j:
            i += 1
        elif len(b) - j > len(a) - i:
            j += 1
        else:
            i, j = i + 1, j + 1
    return cost + len(a) - i + len(b) - j


def by_difflib(a, b):
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for kind, i1, i2, j1, j2 in blocks if kind != "equal")


def zipped(a, b):
    return sum(x != y for x, y in zip(a, b)) + abs(len(a) - len(b))


def apart(answer):
    return answer, cer


def rate(answer):
    return edit_distance, answer


# 11.7 -----------------------------------------------------------------------------------------
START, END = c11_listening.START, c11_listening.END


class Listener(nn.Module):
    """Two Stacks of the course, learned places for the text, waves for the sound."""

    def __init__(self, n_mels, vocab_size):
        super().__init__()
        c = Config(vocab_size, d_model=32, n_layers=1, n_heads=4)
        self.near = nn.Conv1d(n_mels, 32, 3, padding=1)
        self.pace = nn.Conv1d(32, 32, 3, stride=2, padding=1)
        self.ears, self.voice = Stack(c, causal=False), Stack(c, causal=True, cross=True)
        self.letters, self.head = nn.Embedding(vocab_size, 32), nn.Linear(32, vocab_size)
        self.places = nn.Parameter(torch.randn(64, 32))
        self.register_buffer("waves", sinusoidal(64, 32))

    def heard(self, mels):
        x = F.gelu(self.pace(F.gelu(self.near(mels)))).mT
        return x + self.waves[:x.shape[1]]

    def encode(self, mels):
        return self.ears(self.heard(mels))

    def written(self, ids, memory):
        return self.head(self.voice(self.letters(ids) + self.places[:ids.shape[1]],
                                    memory=memory))

    def forward(self, mels, ids):
        return self.written(ids, self.encode(mels))


class ByTransformer(nn.Module):
    """The course's Transformer whole, with larger first weights; waves for both."""

    def __init__(self, n_mels, vocab_size):
        super().__init__()
        self.near = nn.Conv1d(n_mels, 32, 3, padding=1)
        self.pace = nn.Conv1d(32, 32, 3, stride=2, padding=1)
        self.text = Transformer(Config(vocab_size, 32, n_layers=1, n_heads=4, max_len=64,
                                       kind="encoder-decoder", position="sinusoidal"))
        for p in self.text.parameters():
            if p.dim() == 2:
                p.data *= 4
        self.text.embedding.weight.data *= 5

    def encode(self, mels):
        x = F.gelu(self.pace(F.gelu(self.near(mels)))).mT
        return self.text.encoder(x + self.text.waves[:x.shape[1]])

    def forward(self, mels, ids):
        return self.text(ids, memory=self.encode(mels))


class ByTorchListener(nn.Module):
    """torch's own layers, an embedding of positions for both."""

    def __init__(self, n_mels, vocab_size, d=32):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(n_mels, d, 3, 1, 1), nn.GELU(),
                                  nn.Conv1d(d, d, 3, 2, 1), nn.GELU())
        self.times = nn.Parameter(torch.randn(64, d))
        self.places = nn.Parameter(torch.randn(64, d))
        self.letters = nn.Embedding(vocab_size, d)
        how = {"dropout": 0, "batch_first": True, "norm_first": True}
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 64, **how), 1,
                                             enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(d, 4, 64, **how), 1)
        self.head = nn.Linear(d, vocab_size)

    def encode(self, mels):
        x = self.stem(mels).transpose(1, 2)
        return self.encoder(x + self.times[:x.shape[1]])

    def forward(self, mels, ids):
        L = ids.shape[1]
        later = torch.ones(L, L, dtype=torch.bool).triu(1)
        x = self.letters(ids) + self.places[:L]
        return self.head(self.decoder(x, self.encode(mels), tgt_mask=later))


@torch.no_grad()
def transcribe(model, mels, most):
    ids = torch.full((len(mels), 1), START)
    for _ in range(most):
        ids = torch.cat([ids, model(mels, ids)[:, -1:].argmax(-1)], 1)
    rows = [[*row, END] for row in ids[:, 1:].tolist()]
    return [row[:row.index(END)] for row in rows]


def transcribe_one_by_one(model, mels, most):
    out = []
    with torch.no_grad():
        for mel in mels:
            said = []
            while len(said) < most:
                new = int(model(mel[None], torch.tensor([[START, *said]]))[0, -1].argmax())
                if new == END:
                    break
                said.append(new)
            out.append(said)
    return out


def listener(encode=None, forward=None, init=None):
    class Variant(Listener):
        def __init__(self, n_mels, vocab_size):
            super().__init__(n_mels, vocab_size)
            if init:
                init(self, n_mels, vocab_size)
    if encode:
        Variant.encode = encode
    if forward:
        Variant.forward = forward
    return Variant, transcribe


def says(end=lambda row, most: row[:row.index(END)], steps=lambda most: most, pick=None,
         start=START, stop=False):
    """transcribe with another end of each row, number of steps or choice."""
    @torch.no_grad()
    def answer(model, mels, most):
        ids = torch.full((len(mels), 1), start)
        for _ in range(steps(most)):
            logits = model(mels, ids)[:, -1:]
            ids = torch.cat([ids, (pick or (lambda x: x.argmax(-1)))(logits)], 1)
            if stop and bool((ids[:, -1] == END).any()):
                break
        return [end([*row, END], most) for row in ids[:, 1:].tolist()]
    return Listener, answer


def same_pace(s, *given):
    s.pace = nn.Conv1d(32, 32, 3, padding=1)


def causal_encoder(s, *given):
    s.ears.causal = True


def seeing_decoder(s, *given):
    s.voice.causal = False


def no_waves(s, *given):
    s.waves = 0 * s.waves


def random_waves(s, *given):
    del s._buffers["waves"]
    s.waves = torch.randn(64, 32)


def without_encoder(s, *given):
    del s.ears


def no_places(s, *given):
    del s.places
    s.register_buffer("places", torch.zeros(64, 32))


def decoder_alone(s, n_mels, vocab_size):
    s.voice = Stack(Config(1, 32, 2, 4), causal=True)


def with_dropout(s, n_mels, vocab_size):
    c = Config(vocab_size, 32, n_layers=1, n_heads=4, dropout=0.1)
    s.voice = Stack(c, causal=True, cross=True)


def small_start(s, *given):
    for p in s.parameters():
        p.data *= 0.02


def untrained(s, *given):
    s.requires_grad_(False)
    s.head.requires_grad_(True)


def sound_norm(s, *given):
    s.norm = nn.BatchNorm1d(32)


def mean_of_memory(s, mels, ids):
    return s.written(ids, s.encode(mels).mean(1, keepdim=True))


def last_id_only(s, mels, ids):
    memory = s.encode(mels)
    return torch.cat([s.written(ids[:, t:t + 1], memory) for t in range(ids.shape[1])], 1)


RIGHT = {
    "11.1": {"axes": (patchify, unpatchify),
             "loops": (patchify_by_loop, unpatchify_by_loop),
             "torch's unfold and fold": (lambda img, p: F.unfold(img, p, stride=p).mT,
                                         lambda x, p, H, W: F.fold(x.mT, (H, W), p, stride=p)),
             "pixel shuffle": (lambda img, p: F.pixel_unshuffle(img, p).flatten(2).mT,
                               lambda x, p, H, W: F.pixel_shuffle(x.mT.unflatten(
                                   2, (H // p, W // p)), p)),
             "tensor.unfold": (patchify_by_unfold, unpatchify),
             "einsum": (lambda img, p: torch.einsum("bchpwq->bhwcpq", img.reshape(
                 *img.shape[:2], img.shape[2] // p, p, img.shape[3] // p, p)).flatten(3).flatten(
                     1, 2), unpatchify)},
    "11.2": {"course": TinyViT, "torch": ByTorch, "by hand": ByHand,
             "sinusoidal, large": sets(places=lambda d_in, T, n, p: nn.Parameter(
                 sinusoidal(T, 32)) if p else None)},
    "11.3": {"einsum": (outer_product_mean, contact_scores),
             "loops": (outer_by_loop, covariance_norm),
             "one product": (outer_by_product, mutual_information),
             "broadcast": (outer_by_broadcast, corrected)},
    "11.4": {"einsum": triangle_update, "loops": triangle_by_loop,
             "matrix products": triangle_by_product, "broadcast": triangle_by_broadcast},
    "11.5": {"stft": log_mel, "frames": log_mel_by_frames, "cosines and sines": log_mel_by_waves,
             "in single": log_mel_in_single},
    "11.6": {"rows": (edit_distance, cer),
             "table": (distance_by_table, lambda ref, hyp: torch.tensor(cer(ref, hyp))),
             "recursion with memory": (distance_by_recursion, lambda ref, hyp: cer(ref, hyp))},
    "11.7": {"course": (Listener, transcribe), "Transformer": (ByTransformer, transcribe),
             "torch": (ByTorchListener, transcribe_one_by_one)}}

WRONG = {
    "11.1": {
        "reshape alone": (first(lambda img, p: img.reshape(
            img.shape[0], -1, img.shape[1] * p * p)), "reshaped"),
        "no permutation": (cut((0, 1, 2, 3, 4, 5)), "reshaped"),
        "column by column": (cut((0, 4, 2, 1, 3, 5)), "columns"),
        "channels last": (cut((0, 2, 4, 3, 5, 1)), "channels-last"),
        "turned inside": (cut((0, 2, 4, 1, 5, 3)), "turned"),
        "row, channel, column": (cut((0, 2, 4, 3, 1, 5)), "interleaved"),
        "all turned": (cut((0, 4, 2, 1, 5, 3)), "columns-turned"),
        "pixels apart": (cut((0, 3, 5, 1, 2, 4), lambda H, W, p: (p, H // p, p, W // p)),
                         "strided"),
        "H and W exchanged": (cut(split=lambda H, W, p: (W // p, p, H // p, p)), "sizes-swapped"),
        "unfold, reshaped": (first(lambda img, p: F.unfold(img, p, stride=p).reshape(
            patchify(img, p).shape)), "unfold"),
        "unfold, not transposed": (first(lambda img, p: F.unfold(img, p, stride=p)), "transposed"),
        "overlap": (first(lambda img, p: F.unfold(img, p).mT), "overlap"),
        "p by p patches": (first(lambda img, p: img.reshape(len(img), p * p, -1)),
                           "grid"),
        "a patch for each channel": (first(lambda img, p: patchify(img.reshape(
            -1, 1, *img.shape[2:]), p).reshape(len(img), -1, p * p)), "per-channel"),
        "not flat": (first(lambda img, p: patchify(img, p).unflatten(2, (-1, p, p))), "not-flat"),
        "a grid of patches": (first(lambda img, p: patchify(img, p).unflatten(
            1, (img.shape[2] // p, -1))), "not-flat"),
        "batch joined": (first(lambda img, p: patchify(img, p).flatten(0, 1)), "no-batch"),
        "first image": (first(lambda img, p: patchify(img[:1], p)), "no-batch"),
        "batch mixed": (cut(end=lambda x, img: x.transpose(0, 1).reshape(x.shape)), "batch"),
        "reversed": (cut(end=lambda x, img: x.flip(1)), "reversed"),
        "snake": (cut(end=lambda x, img: snake(x, img)), "snake"),
        "scaled": (cut(end=lambda x, img: x / 255), "scaled"),
        "standardised": (cut(end=lambda x, img: (x - x.mean()) / x.std()), "scaled"),
        "means": (first(lambda img, p: F.avg_pool2d(img, p).flatten(2).mT), "mean"),
        "sorted": (cut(end=lambda x, img: x.sort(-1)[0]), "order"),
        "patch means off": (cut(end=lambda x, img: x - x.mean(-1, keepdim=True)), "value"),
        "in single": (cut(end=lambda x, img: x.float()), "dtype"),
        "detached": (cut(end=lambda x, img: x.detach()), "detached"),
        "a list": (first(lambda img, p: list(patchify(img, p))), "type"),
        "changes img": (first(patchify_in_place), "mutates"),
        "three channels only": (first(lambda img, p: patchify(img, p).reshape(
            len(img), -1, 3 * p * p)), "shape"),
        "back: reshape": (second(lambda x, p, H, W: x.reshape(len(x), -1, H, W)), "back-reshaped"),
        "back: columns": (joined("whcpq", (0, 3, 2, 4, 1, 5)), "back-columns"),
        "back: channels last": (joined("hwpqc", (0, 5, 1, 3, 2, 4)), "back-channels-last"),
        "back: turned": (joined("hwcqp", (0, 3, 1, 5, 2, 4)), "back-turned"),
        "back: pixels apart": (joined("hwcpq", (0, 3, 4, 1, 5, 2)), "back-strided"),
        "back: fold": (second(half_fold), "back-fold"),
        "back: W and H": (second(lambda x, p, H, W: unpatchify(x, p, H, W).mT),
                          "back-sizes-swapped"),
        "back: square": (second(square_only), "back-shape"),
        "back: square turned": (second(lambda x, p, H, W: unpatchify(x, p, H, W).mT if H == W
                                       else unpatchify(x, p, H, W)), "back-order"),
        "back: mean": (second(lambda x, p, H, W: unpatchify(x, p, H, W) / x.shape[1]),
                       "back-mean"),
        "back: mirrored": (second(lambda x, p, H, W: unpatchify(x, p, H, W).flip(3)),
                           "back-reversed"),
        "back: one image": (second(lambda x, p, H, W: unpatchify(x[:1], p, H, W).expand(
            len(x), -1, -1, -1)), "back-batch"),
        "back: rounded": (second(lambda x, p, H, W: unpatchify(x.float(), p, H, W).double()),
                          "inexact"),
        "back: no channels": (second(lambda x, p, H, W: unpatchify(x, p, H, W).mean(1)),
                              "back-shape"),
        "back: detached": (second(lambda x, p, H, W: unpatchify(x, p, H, W).detach()),
                           "detached"),
        "exchanged": ((unpatchify, patchify), "crash")},
    "11.2": {
        "positions always": (sets(places=lambda d, T, n, p: nn.Parameter(
            0.02 * torch.randn(T, 32))), "position-anyway"),
        "waves always": (vit(lambda s, x: s.blocks(s.embedded(x) + sinusoidal(
            x.shape[1], 32).to(x))), "position-anyway"),
        "a convolution": (vit(lambda s, x: s.blocks(s.conv(s.embedded(x).mT).mT), init=with_conv),
                          "position-anyway"),
        "positions never": (sets(places=lambda *a: None), "no-position"),
        "one place for all": (sets(places=lambda d, T, n, p: nn.Parameter(torch.randn(32))
                                   if p else None), "no-position"),
        "turned round": (sets(places=lambda d, T, n, p: None if p else nn.Parameter(
            torch.randn(T, 32))), "position-anyway"),
        "after the blocks": (vit(lambda s, x: s.blocks(s.embed(x)) + (
            0 if s.places is None else s.places)), "late-position"),
        "half of the places": (sets(places=lambda d, T, n, p: nn.Parameter(torch.randn(
            (T + 1) // 2, 32)).repeat(2, 1)[:T] if p else None), "not-saved"),
        "places by pairs": (vit(lambda s, x: s.blocks(s.embed(x) + (
            0 if s.places is None else s.places[torch.arange(x.shape[1]) // 2]))), "twins"),
        "causal": (sets(blocks=lambda *a: Stack(SHAPE, causal=True)), "causal"),
        "no attention": (vit(lambda s, x: s.blocks.norm(F.gelu(s.embedded(x)))), "no-mixing"),
        "rows apart": (vit(lambda s, x: torch.cat([s.blocks(row[:, None]) for row in s.embedded(
            x).unbind(1)], 1)), "no-mixing"),
        "first row": (vit(forward=lambda s, x: s.head(s.encode(x)[:, 0])), "first-row"),
        "last row": (vit(forward=lambda s, x: s.head(s.encode(x)[:, -1])), "last-row"),
        "sum": (vit(forward=lambda s, x: s.head(s.encode(x).sum(1))), "sum"),
        "largest": (vit(forward=lambda s, x: s.head(s.encode(x).amax(1))), "pooling"),
        "flat": (vit(forward=lambda s, x: s.head(s.encode(x).flatten(1)), init=flat_head),
                 "pooling"),
        "mean of the softmax": (vit(forward=lambda s, x: s.head(s.encode(x)).softmax(-1).mean(1)),
                                "softmax"),
        "all rows": (vit(forward=lambda s, x: s.head(s.encode(x))), "every-row"),
        "shares": (vit(forward=lambda s, x: s.head(s.encode(x).mean(1)).softmax(-1)), "softmax"),
        "mean over features": (vit(forward=lambda s, x: s.encode(x).mean(2)), "logits"),
        "pooled by encode": (vit(lambda s, x: s.blocks(s.embedded(x)).mean(1),
                                 lambda s, x: s.head(s.encode(x))), "rows"),
        "class token": (vit(token_first, lambda s, x: s.head(s.encode(x)[:, 0]),
                            with_class_token), "rows"),
        "two ways": (vit(forward=lambda s, x: s.head(s.blocks(s.embedded(x)).mean(1))),
                     "encode-unused"),
        "batch second": (vit(init=along_the_batch), "batch"),
        "batch norm": (vit(lambda s, x: s.norm(s.blocks(s.embedded(x)).mT).mT,
                           init=with_batch_norm), "batch"),
        "mean of all logits off": (vit(forward=lambda s, x: s.head(
            s.encode(x).mean(1)) - s.head(s.encode(x).mean(1)).mean(0)), "batch"),
        "logits in another order": (vit(forward=lambda s, x: s.head(s.encode(x).mean(1)).flip(0)),
                                    "batch"),
        "batch mean": (vit(lambda s, x: TinyViT.encode(s, x - x.mean(0))), "batch"),
        "dropout": (vit(lambda s, x: F.dropout(TinyViT.encode(s, x), 0.1)), "random"),
        "noise": (vit(forward=lambda s, x: s.head(s.encode(x).mean(1)) + torch.randn(
            len(x), 1)), "random"),
        "layers in a list": (vit(through_the_list, init=in_a_list), "not-saved"),
        "a plain tensor": (sets(places=lambda d, T, n, p: torch.randn(T, 32) if p else None),
                           "not-saved"),
        "a spare encoder": (vit(init=two_encoders), "unused"),
        "detached rows": (vit(lambda s, x: TinyViT.encode(s, x.detach())), "detached"),
        "detached encoder": (vit(forward=lambda s, x: s.head(s.encode(x).detach().mean(1))),
                             "detached"),
        "a softmax at the end": (vit(forward=lambda s, x: (s.head(s.encode(x).mean(
            1)) * 1e-4).softmax(-1) * 0 + 1), "constant"),
        "untrained places": (sets(places=lambda d, T, n, p: nn.Parameter(1e-5 * torch.randn(
            T, 32), requires_grad=False) if p else None), "unused"),
        "no module": (lambda *a: lambda x: x, "type"),
        "no encode": (lambda d, T, n, p=True: nn.Linear(d, n), "type"),
        "an instance": (TinyViT(4, 6, 10), "type"),
        "without default names": (lambda d, T, n: TinyViT(d, T, n), "crash")},
    "11.3": {
        "sum": (outer(lambda m: torch.einsum("sia,sjb->ijab", m, m)), "sum"),
        "outer of the means": (outer(lambda m: torch.einsum(
            "ia,jb->ijab", m.mean(0), m.mean(0))), "means-first"),
        "b before a": (outer(lambda m: outer_product_mean(m).mT), "transposed"),
        "i and j": (outer(lambda m: outer_product_mean(m).transpose(0, 1)), "transposed"),
        "covariance": (outer(covariance), "centred"),
        "S - 1": (outer(lambda m: outer_product_mean(m) * len(m) / (len(m) - 1)
                        if len(m) > 1 else outer_product_mean(m)), "one-less"),
        "over places": (outer(lambda m: torch.einsum("sia,sjb->ijab", m, m) / m.shape[1]),
                        "divisor"),
        "over letters": (outer(lambda m: torch.einsum("sia,sjb->ijab", m, m) / m.shape[2]),
                         "divisor"),
        "first sequence": (outer(lambda m: outer_product_mean(m[:1])), "one-sequence"),
        "next sequence": (outer(lambda m: torch.einsum("sia,sjb->ijab", m, m.roll(1, 0)) / len(m)),
                          "neighbours"),
        "without the query": (outer(lambda m: outer_product_mean(m[1:]) if len(m) > 1
                                    else outer_product_mean(m)), "one-missing"),
        "upper half": (outer(upper_only), "half"),
        "no diagonal": (outer(lambda m: outer_product_mean(m) * (1 - torch.eye(m.shape[1]))[
            ..., None, None]), "no-diagonal"),
        "squared": (outer(lambda m: outer_product_mean(m).square()), "squared"),
        "shares": (outer(lambda m: outer_product_mean(m).flatten(2).softmax(-1).view(
            outer_product_mean(m).shape)), "shares"),
        "not averaged": (outer(lambda m: torch.einsum("sia,sjb->sijab", m, m)), "no-mean"),
        "elementwise": (outer(lambda m: torch.einsum("sia,sja->ija", m, m) / len(m)),
                        "elementwise"),
        "inner product": (outer(lambda m: torch.einsum("sia,sja->ij", m, m) / len(m)),
                          "contracted"),
        "one place": (outer(lambda m: torch.einsum("sia,sib->iab", m, m) / len(m)), "same-place"),
        "flat": (outer(lambda m: outer_product_mean(m).flatten(2)), "flat"),
        "L, c, L, c": (outer(lambda m: outer_product_mean(m).transpose(1, 2)), "axes"),
        "pairs of sequences": (outer(lambda m: torch.einsum("sia,tib->stab", m, m)), "axis"),
        "in single": (outer(lambda m: outer_product_mean(m.float())), "dtype"),
        "detached": (outer(lambda m: outer_product_mean(m.detach())), "detached"),
        "changes msa": (outer(lambda m: outer_product_mean(m.sub_(0.1)) + 0.01), "mutates"),
        "a list": (outer(lambda m: outer_product_mean(m).tolist()), "type"),
        "norm of the products": (scores(lambda m: outer_product_mean(m).flatten(2).norm(dim=-1)),
                                 "conserved"),
        "largest product": (scores(lambda m: outer_product_mean(m).amax((2, 3))), "conserved"),
        "conserved places": (scores(lambda m: -entropy_score(m)), "conserved"),
        "variable places": (scores(entropy_score), "variable"),
        "differences summed": (scores(lambda m: covariance(m).sum((2, 3))), "cancels"),
        "products summed": (scores(lambda m: outer_product_mean(m).sum((2, 3))), "cancels"),
        "the same letter": (scores(lambda m: torch.einsum("ijaa->ij", outer_product_mean(m))),
                            "identity"),
        "numbers": (scores(as_numbers), "letters-as-numbers"),
        "distance": (scores(lambda m: -(torch.arange(m.shape[1])[:, None] - torch.arange(
            m.shape[1])).abs().double()), "distance"),
        "sign": (scores(lambda m: -contact_scores(m)), "reversed"),
        "upper half of scores": (scores(lambda m: contact_scores(m).triu()), "not-symmetric"),
        "scores of letters": (scores(lambda m: covariance(m).square()), "scores-shape"),
        "row of scores": (scores(lambda m: contact_scores(m).sum(0)), "scores-shape"),
        "log of 0": (scores(lambda m: (outer_product_mean(m).log() * outer_product_mean(
            m)).sum((2, 3))), "not-finite"),
        "half of the family": (scores(lambda m: contact_scores(m[:len(m) // 2])),
                               "scores-order"),
        "first letters": (scores(lambda m: covariance(m)[:, :, :4, :4].square().sum((2, 3))),
                          "letters-as-numbers"),
        "near places": (scores(lambda m: contact_scores(m) * (1 + 0.01 * torch.exp(-(
            torch.arange(m.shape[1])[:, None] - torch.arange(m.shape[1])).abs()))), "places"),
        "at random": (scores(symmetric_noise), "contacts")},
    "11.4": {
        "incoming": (edges("kid,kjd->ijd"), "incoming"),
        "matrix product": (edges("ikd,kjd->ijd"), "chain"),
        "back": (edges("kid,jkd->ijd"), "chain-back"),
        "i and j": (edges("jkd,ikd->ijd"), "exchanged"),
        "Wa and Wb": (edges(swap=True), "exchanged"),
        "Wa twice": (lambda z, Wa, Wb: triangle_update(z, Wa, Wa), "one-weight"),
        "no third corner": (edges("ijd,ijd->ijd"), "no-third"),
        "two corners": (edges("ikd,jld->ijd"), "both-sums"),
        "mean": (edges(end=lambda o, z, a, b: o / len(z)), "mean"),
        "scaled": (edges(end=lambda o, z, a, b: o / len(z) ** 0.5), "scaled"),
        "by channels": (edges(end=lambda o, z, a, b: o / a.shape[2] ** 0.5), "scaled"),
        "k not i or j": (no_ends, "no-ends"),
        "last k missing": (lambda z, Wa, Wb: triangle_update(z[:, :-1], Wa, Wb), "one-missing"),
        "first k missing": (lambda z, Wa, Wb: triangle_update(z[:, 1:], Wa, Wb), "one-missing"),
        "edge added": (edges(end=lambda o, z, a, b: o + a), "residual"),
        "symmetric": (edges(end=lambda o, z, a, b: (o + o.transpose(0, 1)) / 2), "symmetric"),
        "no diagonal": (edges(end=lambda o, z, a, b: o * (1 - torch.eye(len(z)))[..., None]),
                        "no-diagonal"),
        "adds": (lambda z, Wa, Wb: ((z @ Wa)[:, None] + (z @ Wb)[None]).sum(2), "adds"),
        "gate": (edges(act=torch.sigmoid), "gated"),
        "gate at the end": (edges(end=lambda o, z, a, b: o.sigmoid()), "gated"),
        "attention": (lambda z, Wa, Wb: torch.einsum("ikd,jkd->ijd", (z @ Wa).softmax(1), z @ Wb),
                      "softmax"),
        "largest": (lambda z, Wa, Wb: ((z @ Wa)[:, None] * (z @ Wb)[None]).amax(2), "maximum"),
        "channels in all": (edges(end=lambda o, z, a, b: o.sum(-1, keepdim=True).expand_as(o)),
                            "channels-mixed"),
        "channels summed": (edges("ikd,jkd->ij"), "contracted"),
        "all channels": (edges("ikd,jke->ijde"), "outer"),
        "no sum": (lambda z, Wa, Wb: (z @ Wa)[:, None] * (z @ Wb)[None], "no-sum"),
        "no weights": (no_weights, "shape"),
        "in single": (lambda z, Wa, Wb: triangle_update(z.float(), Wa.float(), Wb.float()),
                      "dtype"),
        "relu": (edges(act=F.relu), "value"),
        "cut off": (edges(end=lambda o, z, a, b: o.clamp(-50, 50)), "value"),
        "detached": (edges(end=lambda o, z, a, b: o.detach()), "detached"),
        "one edge detached": (lambda z, Wa, Wb: torch.einsum(
            "ikd,jkd->ijd", z @ Wa, (z @ Wb).detach()), "gradient"),
        "a list": (edges(end=lambda o, z, a, b: o.tolist()), "type"),
        "changes z": (triangle_in_place, "mutates")},
    "11.5": {
        "no window": (heard(window=torch.ones), "no-window"),
        "symmetric window": (heard(window=lambda n: torch.hann_window(n, False)), "window-ends"),
        "Hamming": (heard(window=torch.hamming_window), "value"),
        "window twice": (heard(window=lambda n: torch.hann_window(n) ** 2), "window-twice"),
        "size": (heard(power=1), "amplitude"),
        "natural log": (heard(log=lambda m: m.clamp(min=1e-10).log()), "natural-log"),
        "log2": (heard(log=lambda m: m.clamp(min=1e-10).log2()), "base-two"),
        "decibel": (heard(log=lambda m: 10 * m.clamp(min=1e-10).log10()), "decibel"),
        "no log": (heard(log=lambda m: m), "no-log"),
        "log(1 + m)": (heard(log=torch.log1p), "log-one-plus"),
        "log first": (heard(between=lambda s: s.clamp(min=1e-10).log10(), log=lambda m: m),
                      "log-first"),
        "zeros at the ends": (heard(mode="constant"), "zero-padded"),
        "repeated ends": (heard(mode="replicate"), "repeated"),
        "longer frames": (heard(n_fft=lambda sr, hop: 4 * hop), "other-frame"),
        "shorter frames": (heard(n_fft=lambda sr, hop: 2 * hop), "other-frame"),
        "400 always": (heard(n_fft=lambda sr, hop: 400), "other-frame"),
        "one frame more": (heard(count=lambda T, h: None), "one-more"),
        "not centred": (heard(center=False, count=lambda T, h: None), "not-centred"),
        "first frame dropped": (heard(start=1), "first-missing"),
        "half of the frames": (heard(count=lambda T, h: T // h // 2), "frames"),
        "silence": (heard(log=torch.log10), "silence"),
        "a little more": (heard(log=lambda m: (m + 1e-6).log10()), "silence-value"),
        "added floor": (heard(log=lambda m: (m + 1e-10).log10()), "floor"),
        "higher floor": (heard(log=lambda m: m.clamp(min=1e-8).log10()), "silence-value"),
        "peaks of 1": (heard(filters=lambda f: f / f.amax(1, keepdim=True)), "peaks"),
        "sums of 1": (heard(filters=lambda f: f / f.sum(1, keepdim=True)), "filters-mean"),
        "even bands": (heard(filters=even_bands), "no-mel"),
        "all frequencies": (all_frequencies, "no-mel"),
        "bands last": (heard(end=lambda m: m.T), "transposed"),
        "Whisper's range": (heard(log=whisper_scale), "whisper"),
        "range alone": (heard(log=dynamic_range), "range"),
        "peak of the wave": (heard(wave=lambda w: w / w.abs().max().clamp(min=1e-9)), "normalised"),
        "mean off": (heard(end=lambda m: m - m.mean()), "normalised"),
        "power over n": (lambda w, sr, n, hop: heard(between=lambda s: s / (sr // 40))(
            w, sr, n, hop), "divided"),
        "upside down": (heard(end=lambda m: m.flip(0)), "upside-down"),
        "backwards": (heard(end=lambda m: m.flip(1)), "backwards"),
        "sign": (heard(end=lambda m: -m), "sign"),
        "no DC": (heard(wave=lambda w: w - w.mean()), "value"),
        "dither": (heard(wave=lambda w: w + 1e-7 * torch.randn(len(w))), "random"),
        "louder at most 1": (heard(wave=lambda w: w.clamp(-1, 1)), "value"),
        "pre-emphasis": (heard(wave=lambda w: torch.cat([w[:1], w[1:] - 0.97 * w[:-1]])), "value"),
        "rounded": (heard(end=lambda m: m.round(decimals=1)), "value"),
        "complex": (heard(end=lambda m: m + 0j), "type"),
        "a list": (heard(end=lambda m: m.tolist()), "type"),
        "changes wave": (log_mel_in_place, "mutates")},
    "11.6": {
        "place by place": (apart(zipped), "position"),
        "Hamming": (apart(lambda a, b: sum(x != y for x, y in zip(a, b))), "position"),
        "lengths": (apart(lambda a, b: abs(len(a) - len(b))), "length"),
        "bag": (apart(bag), "bag"),
        "sets": (apart(lambda a, b: len(set(a) ^ set(b))), "bag"),
        "substitution 2": (edited(swap=2), "substitution"),
        "substitution 0": (edited(swap=0), "length"),
        "transposition": (apart(damerau), "transposition"),
        "top row 0": (edited(top=lambda n: [0] * (n + 1)), "free-start"),
        "left column 0": (edited(left=lambda i: 0), "free-start"),
        "least of the row": (edited(end=min), "free-end"),
        "last letters": (apart(lambda a, b: edit_distance(a[:-1], b[:-1])), "one-early"),
        "first letters": (apart(lambda a, b: edit_distance(a[1:], b[1:])), "first-missing"),
        "in common": (apart(lambda a, b: max(len(a), len(b)) - (len(a) + len(b) - edited(
            swap=2)[0](a, b)) // 2), "common"),
        "greedy": (apart(greedy), "greedy"),
        "difflib": (apart(by_difflib), "value"),
        "words": (apart(lambda a, b: edit_distance(a.split(), b.split())), "words"),
        "capitals": (edited(same=lambda x, y: x.lower() == y.lower()), "normalised"),
        "stripped": (apart(lambda a, b: edit_distance(a.strip(), b.strip())), "normalised"),
        "no spaces": (apart(lambda a, b: edit_distance(a.replace(" ", ""), b.replace(" ", ""))),
                      "normalised"),
        "same or not": (apart(lambda a, b: int(a != b)), "same-or-not"),
        "divided at once": (apart(cer), "divided"),
        "insertion free": (edited(insert=0, top=lambda n: [0] * (n + 1)), "one-way"),
        "deletion free": (edited(delete=0, left=lambda i: 0), "one-way"),
        "bytes": (apart(lambda a, b: edit_distance(a.encode(), b.encode())), "unicode"),
        "at most 9": (apart(lambda a, b: min(edit_distance(a, b), 9)), "long"),
        "at most 60": (apart(lambda a, b: min(edit_distance(a, b), 60)), "long"),
        "no memory": (apart(distance_without_memory), "slow"),
        "text": (apart(lambda a, b: str(edit_distance(a, b))), "type"),
        "no letters": (apart(lambda a, b: edit_distance(a, b) if a and b else 1 / 0), "crash"),
        "over hyp": (rate(lambda r, h: edit_distance(r, h) / max(len(h), 1)), "by-hyp"),
        "exchanged roles": (rate(lambda r, h: cer(h, r)), "by-hyp"),
        "over the longer": (rate(lambda r, h: edit_distance(r, h) / max(len(r), len(h), 1)),
                            "by-longest"),
        "over both": (rate(lambda r, h: 2 * edit_distance(r, h) / max(len(r) + len(h), 1)),
                      "by-longest"),
        "at most 1": (rate(lambda r, h: min(1.0, cer(r, h))), "clipped"),
        "accuracy": (rate(lambda r, h: 1 - cer(r, h)), "accuracy"),
        "percent": (rate(lambda r, h: 100 * cer(r, h)), "percent"),
        "edits": (rate(edit_distance), "not-divided"),
        "words in rate": (rate(lambda r, h: edit_distance(r.split(), h.split()) / max(
            len(r.split()), 1)), "words"),
        "whole": (rate(lambda r, h: edit_distance(r, h) // max(len(r), 1)), "rounded"),
        "two digits": (rate(lambda r, h: round(cer(r, h), 2)), "rounded"),
        "one more letter": (rate(lambda r, h: edit_distance(r, h) / (len(r) + 1)), "plus-one"),
        "right or wrong": (rate(lambda r, h: float(r != h)), "same-or-not"),
        "lower case": (rate(lambda r, h: cer(r.lower(), h.lower())), "rate"),
        "difflib's ratio": (rate(lambda r, h: 1 - difflib.SequenceMatcher(None, r, h).ratio()),
                            "rate"),
        "empty ref": (rate(lambda r, h: edit_distance(r, h) / len(r)), "crash"),
        "empty is 1": (rate(lambda r, h: cer(r, h) if r else 1.0), "empty"),
        "empty is 0": (rate(lambda r, h: cer(r, h) if r else 0.0), "empty"),
        "rate as text": (rate(lambda r, h: f"{cer(r, h):.2f}"), "type"),
        "exchanged": ((cer, edit_distance), "divided")},
    "11.7": {
        "no stride": (listener(init=same_pace), "stride"),
        "channels first": (listener(lambda s, mels: Listener.encode(s, mels).mT), "encoded"),
        "pooled": (listener(lambda s, mels: Listener.encode(s, mels).mean(1)), "encoded"),
        "causal encoder": (listener(init=causal_encoder), "blind-encoder"),
        "no encoder": (listener(lambda s, mels: s.heard(mels), init=without_encoder),
                       "blind-encoder"),
        "decoder sees all": (listener(init=seeing_decoder), "leak"),
        "no memory": (listener(forward=lambda s, mels, ids: s.written(ids, 0 * s.encode(mels))),
                      "deaf"),
        "a decoder alone": (listener(init=decoder_alone), "deaf"),
        "first row of memory": (listener(forward=lambda s, mels, ids: s.written(
            ids, s.heard(mels)[:, :1])), "half-deaf"),
        "half of the sound": (listener(lambda s, mels: Listener.encode(s, torch.cat(
            [mels[:, :, :12], 0 * mels[:, :, 12:]], 2))), "half-deaf"),
        "each id alone": (listener(forward=last_id_only), "forgets"),
        "no places in the text": (listener(init=no_places), "no-order"),
        "no waves": (listener(init=no_waves), "no-time"),
        "waves of noise": (listener(init=random_waves), "not-saved"),
        "dropout": (listener(init=with_dropout), "random"),
        "batch norm": (listener(lambda s, mels: s.norm(Listener.encode(s, mels).mT).mT,
                                init=sound_norm), "batch"),
        "mean of the batch": (listener(lambda s, mels: Listener.encode(s, mels - mels.mean(0))),
                                 "batch"),
        "encoder detached": (listener(forward=lambda s, mels, ids: s.written(
            ids, s.encode(mels).detach())), "unused"),
        "one row of logits": (listener(forward=lambda s, mels, ids: Listener.forward(
            s, mels, ids)[:, -1]), "logits"),
        "shares": (listener(forward=lambda s, mels, ids: Listener.forward(
            s, mels, ids).softmax(-1)), "softmax"),
        "shares over time": (listener(forward=lambda s, mels, ids: Listener.forward(
            s, mels, ids).softmax(1)), "leak"),
        "hidden rows": (listener(forward=lambda s, mels, ids: s.voice(s.letters(
            ids) + s.places[:ids.shape[1]], memory=s.encode(mels))), "logits"),
        "mean of the sound": (listener(forward=mean_of_memory), "mean-of-sound"),
        "small start": (listener(init=small_start), "does-not-learn"),
        "hardly trained": (listener(init=untrained), "unused"),
        "no encode": ((lambda n, v: nn.Linear(n, v), transcribe), "type"),
        "keeps START": (says(lambda row, most: [START, *row[:row.index(END)]]), "keeps-start"),
        "keeps END": (says(lambda row, most: row[:row.index(END) + 1][:most]), "keeps-end"),
        "keeps both": (says(lambda row, most: [START, *row[:row.index(END) + 1]]), "keeps-both"),
        "goes on": (says(lambda row, most: row[:most]), "keeps-end"),
        "END left out": (says(lambda row, most: [i for i in row[:most] if i != END]),
                         "goes-on"),
        "one step short": (says(steps=lambda most: most - 1), "one-short"),
        "one step more": (says(steps=lambda most: most + 1), "most"),
        "last letter dropped": (says(lambda row, most: row[:max(row.index(END) - 1, 0)]),
                                "one-short"),
        "stops at the first END": (says(stop=True), "decode"),
        "second best": (says(pick=lambda x: x.topk(2)[1][..., 1]), "decode"),
        "sampled": (says(pick=lambda x: torch.multinomial((x[:, 0] / 9).softmax(-1), 1)), "decode"),
        "sampled, cool": (says(pick=lambda x: torch.multinomial((3 * x[:, 0]).softmax(-1), 1)),
                          "decode"),
        "shifted ids": (listener(forward=lambda s, mels, ids: s.written(
            F.pad(ids[:, :-1], (1, 0)), s.encode(mels))), "forgets"),
        "starts with a letter": (says(start=0), "decode"),
        "one text for all": ((Listener, lambda m, mels, most: transcribe(
            m, mels[:1].expand_as(mels), most)), "one-text"),
        "first sound": ((Listener, lambda m, mels, most: transcribe(m, mels[:1], most)),
                        "decode-count"),
        "a flat list": ((Listener, lambda m, mels, most: sum(transcribe(m, mels, most), [])),
                        "decode-count"),
        "letters": ((Listener, lambda m, mels, most: [c11_listening.text_of(
            row) for row in transcribe(m, mels, most)]), "type"),
        "exchanged": ((transcribe, Listener), "crash")}}
