"""Text from a language model: one token after the other, each drawn from what the model says."""
import math

import torch

from .transformer import Cache


def sharpened(logits, temperature=1.0, top_k=None, top_p=None):
    """Probabilities (..., vocab_size) after temperature and cuts; what was cut off has exactly 0.

    temperature: 0 gives all to the largest. top_k: only the k largest stay (ties with the last
    one too). top_p: the fewest tokens stay that together have at least p (Holtzman 2020).
    Raises ValueError outside temperature >= 0, top_k >= 1, 0 < top_p <= 1.
    """
    if temperature < 0 or top_k is not None and top_k < 1 or \
            top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"temperature={temperature}, top_k={top_k}, top_p={top_p}: needed are "
                         "temperature >= 0, top_k >= 1 and 0 < top_p <= 1")
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        least = logits.topk(top_k, -1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    probabilities = logits.softmax(-1)
    if top_p is not None and top_p < 1:
        ordered, index = probabilities.sort(-1, descending=True)
        late = ordered.cumsum(-1) - ordered >= top_p            # enough came before this one
        cut = torch.zeros_like(late).scatter(-1, index, late)
        probabilities = probabilities.masked_fill(cut, 0)
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    return probabilities


def draw(probabilities, rngs):
    """One id per row (B,): each row has its own generator, so that no row disturbs another."""
    u = torch.stack([torch.rand((), generator=rng) for rng in rngs]).to(probabilities)
    heights = probabilities.cumsum(-1)
    found = torch.searchsorted(heights, (u * heights[:, -1])[:, None], right=True)[:, 0]
    return found.clamp(max=probabilities.shape[-1] - 1)


@torch.inference_mode()
def generate(model, prompts, max_new, temperature=1.0, top_k=None, top_p=None, seed=0, stop=(),
             cached=True, on_token=None, adjust=None):
    """Continue each prompt by up to max_new tokens; returns the new ids, one list per prompt.

    model: a decoder Transformer, run in eval mode. prompts: lists of ids, of any lengths, none
    empty. stop: ids that end a row (each kept as its row's last). seed: row i draws with seed + i,
    so that its text does not depend on its neighbours. cached: keep keys and values; otherwise
    every token computes everything again, with the same result. A text longer than the model's
    max_len loses its first half, again and again. on_token(ids (B,)) is called for each token.
    adjust(last ids (B,), logits (B, vocab_size)) -> logits changes what is drawn from.
    """
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError("each prompt needs one token or more to start from")
    weight, limit, length = model.embedding.weight, model.config.max_len, max(map(len, prompts))
    rngs = [torch.Generator().manual_seed(seed + row) for row in range(len(prompts))]
    ids = torch.full((len(prompts), length + max_new), -1, device=weight.device)
    for row, prompt in zip(ids, prompts):               # prompts end together; -1 before them
        row[length - len(prompt):length] = torch.as_tensor(prompt, device=weight.device)
    pad = (ids[:, :length] < 0).sum(1) if min(map(len, prompts)) < length else None
    stops = torch.as_tensor(list(stop), device=weight.device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=weight.device)
    left, cache, end, training = max(0, length - limit), None, length, model.training
    model.eval()
    while end < length + max_new:
        if end - left > limit:
            left, cache = end - max(1, limit // 2), None
        given = ids[:, left:end]
        if cached and cache is not None:
            given = ids[:, end - 1:end]
        elif cached:
            size = min(limit, length + max_new - left)
            cache = Cache(model.config, len(prompts), size, weight.device, weight.dtype)
        hidden = model.hidden(given, cache=cache,
                              pad=None if pad is None else (pad - left).clamp(min=0))
        logits = model.head(hidden[:, -1])                              # (B, vocab_size)
        if adjust is not None:
            logits = adjust(ids[:, end - 1], logits)
        ids[:, end] = logits.argmax(-1) if temperature == 0 else draw(
            sharpened(logits.float(), temperature, top_k, top_p), rngs)
        end += 1
        if on_token is not None:
            on_token(ids[:, end - 1])
        if len(stops):
            ended |= torch.isin(ids[:, end - 1], stops)
            if bool(ended.all()):
                break
    model.train(training)
    return [_until(row, stop) for row in ids[:, length:end].tolist()]


def _until(row, stop):
    """A row up to its first stop token, which stays."""
    for at, token in enumerate(row):
        if token in stop:
            return row[:at + 1]
    return row
