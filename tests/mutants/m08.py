"""Right and wrong answers to the exercises of lecture 08."""
import math
import re
from collections import Counter

import torch
import torch.nn.functional as F

from utils.checks import c08_equal_kl as equal

inf = math.inf


# 08.1 -----------------------------------------------------------------------------------------
def sft(mask=lambda place, n: place >= n, end=lambda each, m: each[m].mean(), lengths=lambda n: n,
        shift=1, logits=lambda x: x, flip=False):
    """The loss with one part replaced; place: of each target in ids."""
    def answer(x, ids, n):
        T = ids.shape[1]
        guess, target = logits(x)[:, :T - shift], ids[:, shift:]
        if flip:
            guess, target = logits(x)[:, 1:], ids[:, :-1]
        each = F.cross_entropy(guess.transpose(1, 2), target, reduction="none")
        m = mask(torch.arange(T - target.shape[1], T), lengths(n)[:, None])
        return end(each, m.expand(each.shape))
    return answer


def sft_by_loop(logits, ids, prompt_len):
    losses = []
    for row, text, n in zip(logits.log_softmax(-1), ids.tolist(), prompt_len.tolist()):
        losses += [-row[t - 1, text[t]] for t in range(n, len(text))]
    return sum(losses) / len(losses)


def sft_by_ignored(logits, ids, prompt_len):
    targets = ids.clone()
    targets[torch.arange(ids.shape[1]) < prompt_len[:, None]] = -100
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def sft_by_weights(logits, ids, prompt_len):
    logp = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    weight = (torch.arange(ids.shape[1] - 1) >= prompt_len[:, None] - 1).to(logp.dtype)
    return -(weight * logp).sum() / weight.sum()


def sft_labels_in_place(logits, ids, prompt_len):
    for row, n in zip(ids, prompt_len):
        row[:n] = -100
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def sft_ignoring_0(logits, ids, prompt_len):
    targets = ids * (torch.arange(ids.shape[1]) >= prompt_len[:, None])
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=0)


def sft_prompt_as_0(logits, ids, prompt_len):
    targets = ids * (torch.arange(ids.shape[1]) >= prompt_len[:, None])
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())


def sft_blind_prompt(logits, ids, prompt_len):
    hidden = torch.arange(ids.shape[1]) < prompt_len[:, None] - 1
    logits = logits.masked_fill(hidden[..., None], 0)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


def sft_rolled(logits, ids, prompt_len):
    keep = torch.arange(ids.shape[1]) >= prompt_len[:, None] - 1
    return F.cross_entropy(logits[keep], ids.roll(-1, 1)[keep])


def sft_across_texts(logits, ids, prompt_len):
    """Right: the first id of a text is never a target of the text before."""
    keep = (torch.arange(ids.shape[1]) >= prompt_len[:, None]).flatten()[1:]
    return F.cross_entropy(logits.flatten(0, 1)[:-1][keep], ids.flatten()[1:][keep])


def sft_exp(logits, ids, prompt_len):
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    each = -p[:, :-1].gather(-1, ids[:, 1:, None])[..., 0].log()
    return each[torch.arange(1, ids.shape[1]) >= prompt_len[:, None]].mean()


def sft_smoothed(logits, ids, prompt_len):
    m = torch.arange(1, ids.shape[1]) >= prompt_len[:, None]
    return F.cross_entropy(logits[:, :-1][m], ids[:, 1:][m], label_smoothing=1e-3)


def sft_by_shortest_answer(logits, ids, prompt_len):
    if (prompt_len == ids.shape[1]).any():
        raise ValueError("a text without an answer")
    return sft_by_loop(logits, ids, prompt_len)


def sft_hears_the_prompt(logits, ids, prompt_len):
    """Right in value, but a gradient of the prompt is let in."""
    each = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    m = torch.arange(1, ids.shape[1]) >= prompt_len[:, None]
    return each[m].mean() + (each[~m] - each[~m].detach()).sum()


def sft_scaled_gradient(logits, ids, prompt_len):
    right = sft()(logits, ids, prompt_len)
    return 2 * right - right.detach()


# 08.2 -----------------------------------------------------------------------------------------
def bt_by_loop(win, lose):
    return sum(F.softplus(b - a) for a, b in zip(win, lose)) / len(win)


def bt_by_softmax(win, lose):
    return -torch.stack([win, lose]).log_softmax(0)[0].mean()


def bt_by_cross_entropy(win, lose):
    return F.binary_cross_entropy_with_logits(win - lose, torch.ones_like(win))


def bt_in_pieces(win, lose):
    d = win - lose
    return (torch.log1p(torch.exp(-d.abs())) + F.relu(-d)).mean()


def margins(f):
    return lambda win, lose: f(win - lose)


# 08.3 -----------------------------------------------------------------------------------------
def leash_by_loop(r, lp, lp_ref, beta):
    out = []
    for reward, a, b in zip(r, lp, lp_ref):
        for t in range(len(a)):
            reward = reward - beta * (a[t] - b[t])
        out.append(reward)
    return torch.stack(out)


def leash(f):
    """r less beta times f(lp - lp_ref)."""
    return lambda r, lp, lp_ref, beta: r - beta * f(lp - lp_ref)


# 08.4 -----------------------------------------------------------------------------------------
def ppo(ratio=lambda a, b: (a - b).exp(), clip=lambda r, e: r.clamp(1 - e, 1 + e),
        pick=torch.minimum, adv=lambda A: A, end=lambda x: -x.mean()):
    def answer(lp, lp_old, A, eps):
        r, A = ratio(lp, lp_old), adv(A)
        return end(pick(r * A, clip(r, eps) * A))
    return answer


def ppo_by_sign(lp, lp_old, adv, eps):
    ratio = torch.exp(lp - lp_old)
    held = torch.where(adv > 0, ratio.clamp(max=1 + eps), ratio.clamp(min=1 - eps))
    return -(held * adv).mean()


def ppo_by_loop(lp, lp_old, adv, eps):
    total = 0
    for a, b, A in zip(lp, lp_old, adv):
        ratio = (a - b).exp()
        plain, cautious = ratio * A, min(max(ratio, 1 - eps), 1 + eps) * A
        total = total - (plain if plain < cautious else cautious)
    return total / len(adv)


def ppo_by_losses(lp, lp_old, adv, eps):
    ratio = (lp - lp_old.detach()).exp()
    return torch.max(-adv * ratio, -adv * torch.clamp(ratio, 1.0 - eps, 1.0 + eps)).mean()


def ppo_two_sided(lp, lp_old, adv, eps):
    """Samples outside the range are left out of the gradient, on both sides."""
    ratio = (lp - lp_old).exp()
    inside = (ratio > 1 - eps) & (ratio < 1 + eps)
    value = torch.minimum(ratio * adv, ratio.clamp(1 - eps, 1 + eps) * adv)
    return -torch.where(inside, value, value.detach()).mean()


def ppo_still_moves(lp, lp_old, adv, eps):
    """The clipped value, with the gradient of the unclipped one (a straight-through clip)."""
    ratio = (lp - lp_old).exp()
    value = torch.minimum(ratio * adv, ratio.clamp(1 - eps, 1 + eps) * adv)
    return -(value.detach() + ratio * adv - (ratio * adv).detach()).mean()


def ppo_like_policy_gradient(lp, lp_old, adv, eps):
    """The right value, with the gradient of lp * adv where it moves."""
    value = ppo()(lp, lp_old, adv, eps)
    ratio = (lp - lp_old).exp()
    moves = ratio * adv <= ratio.clamp(1 - eps, 1 + eps) * adv
    push = -(lp * adv * moves).mean()
    return value.detach() + push - push.detach()


def ppo_dual(lp, lp_old, adv, eps):
    """Dual clip: the loss of a bad sample ends at three times its advantage."""
    ratio = (lp - lp_old).exp()
    value = torch.minimum(ratio * adv, ratio.clamp(1 - eps, 1 + eps) * adv)
    return -torch.where(adv < 0, torch.maximum(value, 3 * adv), value).mean()


def standard(A):
    return A if len(A) < 2 else (A - A.mean()) / (A.std() + 1e-8)


# 08.5 -----------------------------------------------------------------------------------------
def dpo(margin=lambda w, z, wr, lr, b: b * ((w - wr) - (z - lr)),
        end=lambda m: F.softplus(-m).mean()):
    return lambda *given: end(margin(*given))


def dpo_by_loop(win, lose, win_ref, lose_ref, beta):
    total = 0
    for w, z, wr, lr in zip(win, lose, win_ref, lose_ref):
        rewards = torch.stack([beta * (w - wr), beta * (z - lr)])
        total = total - rewards.log_softmax(0)[0]
    return total / len(win)


def dpo_as_in_the_paper(win, lose, win_ref, lose_ref, beta):
    policy, reference = win - lose, win_ref - lose_ref
    return -F.logsigmoid(beta * (policy - reference)).mean()


# 08.6 -----------------------------------------------------------------------------------------
def okapi(idf=lambda N, n: math.log(1 + (N - n + .5) / (n + .5)), k1=1.5, b=.75, gain=None,
          length=len, tf=lambda f: f, query=list, holds=lambda w, d: d.count(w),
          end=lambda s: torch.tensor(s, dtype=torch.float64), total=None,
          mean=lambda sizes: sum(sizes) / len(sizes)):
    def answer(q, docs):
        N, middle = len(docs), mean([length(doc) for doc in docs]) or 1
        out = []
        for doc in docs:
            score = 0.0
            for word in query(q):
                n = (total(word, docs) if total else sum(holds(word, d) > 0 for d in docs))
                f, K = tf(holds(word, doc)), k1 * (1 - b + b * length(doc) / middle)
                if f:
                    score += idf(N, n) * f * (k1 + 1 if gain is None else gain) / (f + K)
            out.append(score)
        return end(out)
    return answer


def okapi_by_matrix(query, docs):
    words = {word: i for i, word in enumerate({w for doc in [query, *docs] for w in doc})}
    counts = torch.zeros(len(docs), max(len(words), 1))
    for i, doc in enumerate(docs):
        for word in doc:
            counts[i, words[word]] += 1
    n, length = (counts > 0).sum(0), counts.sum(1, keepdim=True)
    idf = torch.log1p((len(docs) - n + 0.5) / (n + 0.5))
    size = 0.25 + 0.75 * length / length.mean()
    weight = counts * 2.5 / (counts + 1.5 * size) * idf
    asked = torch.tensor([words[w] for w in query], dtype=torch.long)
    return weight[:, asked].sum(1)


def okapi_by_counter(query, docs):
    bags = [Counter(doc) for doc in docs]
    mean = sum(map(len, docs)) / len(docs)
    df = Counter(word for bag in bags for word in bag)
    return torch.tensor([sum(
        times * math.log(1 + (len(docs) - df[w] + .5) / (df[w] + .5)) * bag[w] * 2.5
        / (bag[w] + 1.5 * (.25 + .75 * len(doc) / mean))
        for w, times in Counter(query).items()) for bag, doc in zip(bags, docs)],
        dtype=torch.float32)


def tf_idf(query, docs):
    N = len(docs)
    return torch.tensor([sum(d.count(w) * math.log(1 + (N - n + .5) / (n + .5)) for w in query
                             for n in [sum(w in e for e in docs)]) for d in docs]).double()


def okapi_divides(query, docs):
    """The sum of counts over the whole document stands where one word's count is due."""
    out = okapi()(query, docs)
    return out / torch.tensor([max(len(d), 1) for d in docs])


def okapi_seen_only(query, docs):
    """Fails for a word that no document holds."""
    N = len(docs)
    df = {w: sum(w in d for d in docs) for d in docs for w in d}
    return sum((okapi(idf=lambda N, n: 1.0)([w], docs) * math.log(1 + (N - df[w] + .5) / (
        df[w] + .5)) for w in query), torch.zeros(N))


def okapi_unique(query, docs):
    """Equal documents are counted once."""
    once = list(dict.fromkeys(map(tuple, docs)))
    out = okapi()(query, once)
    return torch.stack([out[once.index(tuple(doc))] for doc in docs])


def okapi_floor(query, docs):
    """The reference formula, with negative idf set to 0."""
    return okapi(idf=lambda N, n: max(0.0, math.log((N - n + .5) / (n + .5))))(query, docs)


# 08.7 -----------------------------------------------------------------------------------------
FIRST = "Answer from these passages."


def render(q, kept, first=FIRST, line=lambda n, i, t: f"[{i}] {' '.join(t.split())}",
           question="Question: {}", last="Answer:", join="\n"):
    return join.join([first, *(line(n, i, t) for n, (i, t) in enumerate(kept, 1)),
                      question.format(q), last])


def rag(docs=lambda d, count: d, fits=lambda q, kept, budget, count: count(
        render(q, kept)) <= budget, new=lambda i, t, kept: i not in [j for j, _ in kept],
        stop=False, write=render, order=lambda kept: kept):
    def answer(q, given, budget, count):
        kept = []
        for i, text in docs(given, count):
            if new(i, text, kept):
                if fits(q, kept + [(i, text)], budget, count):
                    kept = kept + [(i, text)]
                elif stop:
                    break
        return write(q, order(kept))
    return answer


def rag_by_recursion(q, docs, budget, count, kept=()):
    if not docs:
        return render(q, kept)
    (i, text), rest = docs[0], docs[1:]
    more = (*kept, (i, text))
    fits = i not in dict(kept) and count(render(q, more)) <= budget
    return rag_by_recursion(q, rest, budget, count, more if fits else kept)


def rag_by_lines(q, docs, budget, count):
    head, tail, seen = "Answer from these passages.\n", f"Question: {q}\nAnswer:", set()
    for i, text in docs:
        line = "[" + i + "] " + re.sub(r"\s+", " ", text).strip() + "\n"
        if i not in seen and count(head + line + tail) <= budget:
            head += line
            seen.add(i)
    return head + tail


def rag_cut(q, docs, budget, count):
    """The first passage that does not fit is cut until it does."""
    kept = []
    for i, text in dict(docs).items():
        trial, parts = kept + [(i, text)], text.split()
        while parts and count(render(q, trial)) > budget:
            parts.pop()
            trial = kept + [(i, " ".join(parts))]
        if not parts:
            break
        cut, kept = len(parts) < len(text.split()), trial
        if cut:
            break
    return render(q, kept)


def rag_sliced(q, docs, budget, count):
    """All passages, then the text cut at the budget."""
    text = render(q, list(dict(docs).items()))
    while count(text) > budget:
        text = text[:-1]
    return text


def rag_pops(q, docs, budget, count):
    kept = []
    while docs:
        i, text = docs.pop(0)
        if i not in dict(kept) and count(render(q, kept + [(i, text)])) <= budget:
            kept.append((i, text))
    return render(q, kept)


def rag_drops_worst(q, docs, budget, count):
    """Starts with all, and drops the last until it fits."""
    kept = list(dict(docs).items())
    while count(render(q, kept)) > budget:
        kept.pop()
    return render(q, kept)


def rag_most(q, docs, budget, count):
    """As many passages as possible, in the order of the list."""
    once = list(dict(docs).items())
    chosen = []
    for d in sorted(once, key=lambda d: count(d[1])):
        trial = [e for e in once if e in chosen or e == d]
        chosen = trial if count(render(q, trial)) <= budget else chosen
    return render(q, chosen)


def rag_two_misses(q, docs, budget, count):
    kept, misses = [], 0
    for i, text in docs:
        if i in dict(kept) or misses == 2:
            continue
        if count(render(q, kept + [(i, text)])) <= budget:
            kept.append((i, text))
        else:
            misses += 1
    return render(q, kept)


def rag_refuses(q, docs, budget, count):
    if count(render(q, docs[:1])) > budget:
        raise ValueError("no passage fits")
    return rag()(q, docs, budget, count)


# 08.8 -----------------------------------------------------------------------------------------
def at_kl(ref, reward, pairs, kl, n=None, s=None, t=None, r=None, order=(0, 1, 2),
          size=equal.distance):
    """The three, with one family or the measure of distance replaced."""
    def reach(family):
        low, high = 0.0, 1.0
        while size(family(high), ref) < kl and high < 1e8:
            high *= 2
        for _ in range(45):
            mid = (low + high) / 2
            low, high = (low, mid) if size(family(mid), ref) >= kl else (mid, high)
        return family(high)
    fit = (r or equal.fitted)(pairs, len(ref))
    out = (reach(n or (lambda x: equal.best_of(ref, reward, 1 + x))),
           reach(s or (lambda x: equal.tilted(ref, reward, x))),
           reach(t or (lambda x: equal.tilted(ref, fit, x))))
    return tuple(out[i] for i in order)


def by_parts(**make):
    """make: name of a part -> function of (ref, reward, pairs, kl) that gives it."""
    return lambda *given: at_kl(*given, **{name: f(*given) for name, f in make.items()})


def at_kl_by_descent(ref, reward, pairs, kl):
    """Best-of-n by a loop, PPO and DPO by an optimiser of torch."""
    def root(f, low, high):                             # f rises
        for _ in range(45):
            mid = (low + high) / 2
            low, high = (mid, high) if f(mid) < kl else (low, mid)
        return high

    def far(p):
        return sum(a * math.log(a / b) for a, b in zip(p.tolist(), ref.tolist()) if a > 0)

    def best(n):
        return torch.stack([ref[reward <= v].sum() ** n - ref[reward < v].sum() ** n
                            for v in reward])

    def descend(loss):
        x = ref.log().clone().requires_grad_()
        optimiser = torch.optim.LBFGS([x], max_iter=300, tolerance_grad=1e-10,
                                      tolerance_change=1e-14, line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            value = loss(x.log_softmax(-1))
            value.backward()
            return value
        optimiser.step(closure)
        return x.detach().log_softmax(-1)

    def ppo(p):                                         # at beta = 1
        return (p.exp() * (p - ref.log() - reward)).sum()

    def dpo(p):                                         # at beta = 1
        d = p - ref.log()
        return -F.logsigmoid(d[pairs[:, 0]] - d[pairs[:, 1]]).mean()

    def turned(loss):                                   # the same direction for every beta
        way = descend(loss) - ref.log()
        return (ref.log() + root(lambda s: far((ref.log() + s * way).softmax(0)), 0.0,
                                 60.0) * way).softmax(0)
    return [best(root(lambda n: far(best(n)), 1.0, 1e4)), turned(ppo), turned(dpo)]


def at_kl_as_rows(*given):
    return torch.stack(at_kl(*given)).float()


def stopped_early(ref, reward, pairs, kl):
    """DPO at beta = .1, gradient descent until the KL is reached: right distance, wrong policy."""
    wins = equal.counted(pairs, len(ref))

    def path(turn):
        x = ref.log().clone()
        for _ in range(int(turn)):
            x = x + 0.02 * push(x)
        return (x + 0.02 * (turn - int(turn)) * push(x)).softmax(0)

    def push(x):
        d = 0.1 * (x - ref.log())
        g = wins * torch.sigmoid(d[None, :] - d[:, None])
        return g.sum(1) - g.sum(0)
    return at_kl(ref, reward, pairs, kl, t=path)


def drawn_best(ref, reward, pairs, kl):
    """Best-of-n by sampling, n a whole number."""
    right = at_kl(ref, reward, pairs, kl)
    seen = torch.zeros_like(ref)
    for _ in range(400):
        draws = torch.multinomial(ref, 3, replacement=True)
        seen[draws[reward[draws].argmax()]] += 1
    return seen / seen.sum(), *right[1:]


def whole_n(ref, reward, pairs, kl):
    right = at_kl(ref, reward, pairs, kl)
    def gap(n):
        return abs(equal.distance(equal.best_of(ref, reward, n), ref) - kl)
    n = min(range(2, 60), key=gap)
    return equal.best_of(ref, reward, n), *right[1:]


def n_by_formula(ref, reward, pairs, kl):
    low, high = 1.0, 1e4
    for _ in range(60):
        n = (low + high) / 2
        low, high = (n, high) if math.log(n) - (n - 1) / n < kl else (low, n)
    return equal.best_of(ref, reward, n), *at_kl(ref, reward, pairs, kl)[1:]


def against(p, ref):
    return float((ref * (ref / p.clamp(min=1e-300)).log()).sum())


def best_of_places(ref, reward):
    below = ref.cumsum(0)
    return lambda x: below ** (1 + x) - (below - ref).clamp(min=0) ** (1 + x)


def win_rates(pairs, V):
    wins = equal.counted(pairs, V)
    return wins.sum(1) / (wins + wins.T).sum(1)


def few_steps(pairs, V):
    """Fitted by ten small steps only."""
    wins, r = equal.counted(pairs, V), torch.zeros(V, dtype=torch.float64)
    for _ in range(10):
        g = wins * torch.sigmoid(r[None, :] - r[:, None])
        r = r + 0.02 * (g.sum(1) - g.sum(0))
    return r


def elo(pairs, V):
    """One pass over the comparisons, in their order."""
    r = torch.zeros(V, dtype=torch.float64)
    for a, b in pairs.tolist():
        step = 0.1 * torch.sigmoid(r[b] - r[a])
        r[a], r[b] = r[a] + step, r[b] - step
    return r


def pulled(pairs, V):
    """Fitted with a weight decay on the rewards."""
    wins, r = equal.counted(pairs, V), torch.zeros(V, dtype=torch.float64)
    for _ in range(2000):
        g = wins * torch.sigmoid(r[None, :] - r[:, None])
        r = r + 0.002 * (g.sum(1) - g.sum(0) - 4 * r)
    return r


def linear(ref, reward):
    up = reward - reward.min()
    return lambda x: ref * (1 + x * up) / (1 + x * (ref * up).sum())


def mixed(ref, reward):
    top = F.one_hot(reward.argmax(), len(ref)).double()
    return lambda a: (ref + a * top) / (1 + a)


RIGHT = {
    "08.1": {"loop": sft_by_loop, "ignored targets": sft_by_ignored, "weights": sft_by_weights,
             "mask": sft(), "flat": sft_across_texts,
             "float lengths": lambda x, i, n: sft()(x, i, n.tolist() and n.double())},
    "08.2": {"loop": bt_by_loop, "softmax of two": bt_by_softmax, "torch": bt_by_cross_entropy,
             "pieces": bt_in_pieces, "logsigmoid": lambda w, z: -F.logsigmoid(w - z).mean(),
             "logaddexp": lambda w, z: torch.logaddexp(z - w, torch.zeros_like(w)).mean()},
    "08.3": {"loop": leash_by_loop, "sums first": lambda r, a, b, beta: r - beta * (
        a.sum(1) - b.sum(1)), "einsum": lambda r, a, b, beta: torch.einsum(
            "bt->b", torch.cat([r[:, None], beta * (b - a)], 1)),
        "detached": lambda r, a, b, beta: (r - beta * (a - b).detach().sum(-1))},
    "08.4": {"min": ppo(), "sign": ppo_by_sign, "loop": ppo_by_loop, "losses": ppo_by_losses},
    "08.5": {"loop": dpo_by_loop, "paper": dpo_as_in_the_paper, "softplus": dpo()},
    "08.6": {"loop": okapi(), "matrix": okapi_by_matrix, "counter, float32": okapi_by_counter,
             "one fraction": okapi(idf=lambda N, n: math.log((N + 1) / (n + .5)))},
    "08.7": {"loop": rag(), "recursion": rag_by_recursion, "lines": rag_by_lines},
    "08.8": {"bisection": at_kl, "optimiser": at_kl_by_descent, "rows, float32": at_kl_as_rows}}
nll = F.nll_loss
WRONG = {
    "08.1": {
        "no shift": (sft(shift=0), "no-shift"),
        "backwards": (sft(flip=True), "backwards"),
        "rolled": (sft_rolled, "wraps"),
        "prompt counts": (sft(mask=lambda p, n: p + 0 * n >= 0), "prompt-counts"),
        "prompt only": (sft(mask=lambda p, n: p < n), "prompt-only"),
        "first missing": (sft(mask=lambda p, n: p > n), "first-missing"),
        "first missing by place": (sft(mask=lambda p, n: p - 1 >= n), "first-missing"),
        "prompt's last": (sft(mask=lambda p, n: p + 1 >= n), "prompt-token"),
        "one length": (sft(lengths=lambda n: n[:1].expand(n.shape)), "one-length"),
        "shortest prompt": (sft(lengths=lambda n: n.min().expand(n.shape)), "one-length"),
        "longest prompt": (sft(lengths=lambda n: n.max().expand(n.shape)), "one-length"),
        "last token only": (sft(mask=lambda p, n: (p >= n) & (p == p.max())), "positions"),
        "first token only": (sft(mask=lambda p, n: p == n), "positions"),
        "length of the answer": (sft(mask=lambda p, n: p >= p.max() + 1 - n), "positions"),
        "divides by all": (sft(end=lambda e, m: (e * m).mean()), "divides-all"),
        "mean of means": (sft(end=lambda e, m: torch.stack([
            a[b].mean() for a, b in zip(e, m)]).mean()), "mean-of-means"),
        "mean of means with care": (sft(end=lambda e, m: torch.stack([
            a[b].mean() for a, b in zip(e, m) if b.any()]).mean()), "mean-of-means"),
        "sum": (sft(end=lambda e, m: e[m].sum()), "sum"),
        "sum of texts": (sft(end=lambda e, m: (e * m).sum() / len(e)), "sum-of-texts"),
        "bits": (sft(end=lambda e, m: e[m].mean() / math.log(2)), "bits"),
        "perplexity": (sft(end=lambda e, m: e[m].mean().exp()), "perplexity"),
        "sign": (sft(end=lambda e, m: -e[m].mean()), "sign"),
        "probability": (sft(end=lambda e, m: -(-e[m]).exp().mean()), "probability"),
        "softmax twice": (sft(logits=lambda x: x.softmax(-1)), "softmax-twice"),
        "no softmax": (lambda x, i, n: nll(x[:, :-1].transpose(1, 2), i[:, 1:].masked_fill(
            torch.arange(1, i.shape[1]) < n[:, None], -100)), "no-softmax"),
        "blind prompt": (sft_blind_prompt, "blind"),
        "prompt as id 0": (sft_prompt_as_0, "zero-ids"),
        "ignores id 0": (sft_ignoring_0, "id-0"),
        "each text": (sft(end=lambda e, m: (e * m).sum(1) / m.sum(1)), "shape"),
        "each token": (sft(end=lambda e, m: e[m]), "shape"),
        "a float": (lambda *a: sft()(*a).item(), "type"),
        "detached": (lambda *a: sft()(*a).detach(), "detached"),
        "lengths clamped": (lambda x, i, n: sft()(x, i, n.clamp(max=i.shape[1] - 1)), "no-answer"),
        "mean of what is not 0": (sft(end=lambda e, m: (e * m)[e * m != 0].mean()), "overflow"),
        "small number added": (sft(end=lambda e, m: -((-e[m]).exp() + 1e-30).log().mean()),
                               "overflow"),
        "smoothed labels": (sft_smoothed, "value"),
        "needs an answer": (sft_by_shortest_answer, "crash"),
        "hears the prompt": (sft_hears_the_prompt, "prompt-gradient"),
        "double gradient": (sft_scaled_gradient, "gradient"),
        "naive exp": (sft_exp, "overflow"),
        "labels in place": (sft_labels_in_place, "mutates")},
    "08.2": {
        "swapped": (lambda w, z: F.softplus(w - z).mean(), "swapped"),
        "sign": (margins(lambda d: F.logsigmoid(d).mean()), "sign"),
        "sum": (margins(lambda d: F.softplus(-d).sum()), "sum"),
        "each pair": (margins(lambda d: F.softplus(-d)), "shape"),
        "bits": (margins(lambda d: F.softplus(-d).mean() / math.log(2)), "bits"),
        "probability": (margins(lambda d: -torch.sigmoid(d).mean()), "no-log"),
        "one minus probability": (margins(lambda d: 1 - torch.sigmoid(d).mean()), "no-log"),
        "log of mean": (margins(lambda d: -torch.sigmoid(d).mean().log()), "log-of-mean"),
        "mean inside": (margins(lambda d: F.softplus(-d.mean())), "mean-inside"),
        "all pairs": (lambda w, z: F.softplus(z - w[:, None]).mean(), "all-pairs"),
        "each alone": (lambda w, z: (F.softplus(-w) + F.softplus(z)).mean(), "alone"),
        "winner only": (lambda w, z: F.softplus(-w).mean(), "winner-only"),
        "squared": (margins(lambda d: (d - 1).square().mean()), "mse"),
        "squared sigmoid": (margins(lambda d: (torch.sigmoid(d) - 1).square().mean()), "mse"),
        "hinge": (margins(lambda d: F.relu(1 - d).mean()), "hinge"),
        "difference": (margins(lambda d: -d.mean()), "difference"),
        "ratio": (lambda w, z: -(w / (w + z)).log().mean(), "one-pair"),
        "doubled": (margins(lambda d: F.softplus(-2 * d).mean()), "twice"),
        "accuracy": (margins(lambda d: (d > 0).double().mean()), "accuracy"),
        "absolute": (margins(lambda d: F.softplus(-d.abs()).mean()), "value"),
        "tanh": (margins(lambda d: -((1 + d.tanh()) / 2).log().mean()), "twice"),
        "exponential": (margins(lambda d: (-d).exp().mean()), "tie"),
        "log of sigmoid": (margins(lambda d: -torch.sigmoid(d).log().mean()), "overflow"),
        "log of 1 + e": (margins(lambda d: (1 + (-d).exp()).log().mean()), "overflow"),
        "small number added": (margins(lambda d: -(torch.sigmoid(d) + 1e-12).log().mean()),
                               "overflow"),
        "clamped": (margins(lambda d: F.softplus(-d.clamp(-50, 50)).mean()), "overflow"),
        "quotient of exponentials": (lambda w, z: -(w.exp() / (w.exp() + z.exp())).log().mean(),
                                     "overflow"),
        "sigmoid of each": (lambda w, z: -torch.sigmoid(torch.sigmoid(w) - torch.sigmoid(
            z)).log().mean(), "one-pair"),
        "standardised": (margins(lambda d: F.softplus(-(d / (d.std(correction=0) + 1e-8))).mean()),
                         "one-pair"),
        "detached": (margins(lambda d: F.softplus(-d).mean().detach()), "detached"),
        "loser detached": (lambda w, z: F.softplus(z.detach() - w).mean(), "detached"),
        "double gradient": (margins(lambda d: 2 * F.softplus(-d).mean() - F.softplus(
            -d).mean().detach()), "gradient"),
        "a float": (margins(lambda d: float(F.softplus(-d).mean())), "type"),
        "changes r_lose": (lambda w, z: F.softplus(z.sub_(w)).mean(), "mutates")},
    "08.3": {
        "sign": (leash(lambda d: -d.sum(-1)), "sign"),
        "no beta": (lambda r, a, b, beta: r - (a - b).sum(-1), "no-beta"),
        "no leash": (lambda r, a, b, beta: r, "no-leash"),
        "beta on r": (lambda r, a, b, beta: beta * r - (a - b).sum(-1), "beta-on-r"),
        "beta on all": (lambda r, a, b, beta: beta * (r - (a - b).sum(-1)), "beta-on-r"),
        "divided": (lambda r, a, b, beta: r - (a - b).sum(-1) / beta, "divided"),
        "blend": (lambda r, a, b, beta: (1 - beta) * r - beta * (a - b).sum(-1), "blend"),
        "mean": (leash(lambda d: d.mean(-1)), "mean"),
        "mean of all": (leash(lambda d: d.mean()), "mean"),
        "last token": (leash(lambda d: d[:, -1]), "last-token"),
        "first token": (leash(lambda d: d[:, 0]), "first-token"),
        "one for the batch": (leash(lambda d: d.sum(-1).mean()), "batch"),
        "sum of the batch": (leash(lambda d: d.sum()), "batch"),
        "each token": (lambda r, a, b, beta: r[:, None] - beta * (a - b), "shape"),
        "r at each token": (lambda r, a, b, beta: (r[:, None] - beta * (a - b)).sum(-1),
                            "r-each-token"),
        "ratio": (leash(lambda d: d.sum(-1).exp()), "ratio"),
        "ratio less 1": (leash(lambda d: d.sum(-1).exp() - 1), "ratio"),
        "divides logarithms": (lambda r, a, b, beta: r - beta * (a / b).sum(-1), "log-ratio"),
        "weighted": (lambda r, a, b, beta: r - beta * (a.exp() * (a - b)).sum(-1), "weighted"),
        "weighted by the reference": (lambda r, a, b, beta: r - beta * F.kl_div(
            a, b, log_target=True, reduction="none").sum(-1), "weighted"),
        "torch's kl_div": (lambda r, a, b, beta: r - beta * F.kl_div(
            b, a, log_target=True, reduction="none").sum(-1), "weighted"),
        "absolute": (leash(lambda d: d.abs().sum(-1)), "absolute"),
        "clamped": (leash(lambda d: d.sum(-1).clamp(min=0)), "clamped"),
        "squared": (leash(lambda d: d.square().sum(-1) / 2), "squared"),
        "never negative": (leash(lambda d: ((-d).exp() - 1 + d).sum(-1)), "another-kl"),
        "policy alone": (lambda r, a, b, beta: r - beta * a.sum(-1), "policy-alone"),
        "reference added": (lambda r, a, b, beta: r - beta * (a + b).sum(-1), "equal"),
        "bits": (leash(lambda d: d.sum(-1) / math.log(2)), "bits"),
        "beta 0 is 1": (lambda r, a, b, beta: r - (beta or 1) * (a - b).sum(-1), "beta-0"),
        "log of a quotient": (lambda r, a, b, beta: r - beta * (a.sum(-1).exp() / b.sum(
            -1).exp()).log(), "overflow"),
        "a list": (lambda *a: leash_by_loop(*a).tolist(), "type"),
        "changes r": (lambda r, a, b, beta: r.sub_(beta * (a - b).sum(-1)), "mutates")},
    "08.4": {
        "sign": (ppo(end=torch.mean), "sign"),
        "clip alone": (ppo(pick=lambda a, b: b), "no-min"),
        "no clip": (ppo(pick=lambda a, b: a), "no-clip"),
        "max": (ppo(pick=torch.maximum), "max"),
        "min of ratios": (lambda a, b, A, e: -(torch.minimum((a - b).exp(), (a - b).exp().clamp(
            1 - e, 1 + e)) * A).mean(), "min-before"),
        "min of means": (lambda a, b, A, e: -torch.minimum(((a - b).exp() * A).mean(), (
            (a - b).exp().clamp(1 - e, 1 + e) * A).mean()), "min-of-means"),
        "inverted": (ppo(ratio=lambda a, b: (b - a).exp()), "inverted"),
        "no exp": (ppo(ratio=lambda a, b: a - b), "no-exp"),
        "divides logarithms": (ppo(ratio=lambda a, b: a / b), "log-ratio"),
        "difference of probabilities": (ppo(ratio=lambda a, b: a.exp() - b.exp(),
                                            clip=lambda r, e: r.clamp(-e, e)), "difference"),
        "clips the logarithm": (ppo(clip=lambda r, e: r.log().clamp(-e, e).exp()), "log-clip"),
        "clips to -eps .. eps": (ppo(clip=lambda r, e: r.clamp(-e, e)), "clip-range"),
        "clips above only": (ppo(clip=lambda r, e: r.clamp(max=1 + e)), "one-side"),
        "clips below only": (ppo(clip=lambda r, e: r.clamp(min=1 - e)), "one-side"),
        "clips the product": (lambda a, b, A, e: -torch.minimum((a - b).exp() * A, (
            (a - b).exp() * A).clamp(1 - e, 1 + e)).mean(), "clips-product"),
        "clips the advantage": (lambda a, b, A, e: -((a - b).exp() * A.clamp(-e, e)).mean(),
                                "clips-advantage"),
        "fixed eps": (lambda a, b, A, e: ppo()(a, b, A, 0.2), "value"),
        "no old policy": (lambda a, b, A, e: -(a * A).mean(), "no-ratio"),
        "absolute advantage": (ppo(adv=torch.abs), "absolute"),
        "standardised": (ppo(adv=standard), "normalised"),
        "centred": (ppo(adv=lambda A: A - A.mean() if len(A) > 1 else A), "normalised"),
        "only good ones": (ppo(adv=F.relu), "corner"),
        "sum": (ppo(end=lambda x: -x.sum()), "sum"),
        "each sample": (ppo(end=lambda x: -x), "shape"),
        "detached": (lambda *a: ppo()(*a).detach(), "detached"),
        "no way back": (ppo_two_sided, "no-way-back"),
        "still moves": (ppo_still_moves, "still-moves"),
        "ratio held below 3": (ppo(ratio=lambda a, b: (a - b).exp().clamp(max=3)), "corner"),
        "the other way round": (lambda a, b, A, e: -(torch.where(A > 0, (a - b).exp().clamp(
            min=1 - e), (a - b).exp().clamp(max=1 + e)) * A).mean(), "max"),
        "standardised, one sample too": (ppo(adv=lambda A: (A - A.mean()) / (
            A.std(correction=0) + 1e-8)), "normalised"),
        "bad ones held back": (ppo_dual, "corner"),
        "plain policy gradient": (ppo_like_policy_gradient, "no-way-back"),
        "quotient": (ppo(ratio=lambda a, b: a.exp() / b.exp()), "overflow"),
        "a float": (lambda *a: ppo()(*a).item(), "type"),
        "changes adv": (lambda a, b, A, e: ppo()(a, b, A.neg_(), e), "mutates"),
        "changes lp_old": (lambda a, b, A, e: ppo(ratio=lambda a, b: b.neg_().add_(a).exp())(
            a, b, A, e), "mutates")},
    "08.5": {
        "swapped": (dpo(lambda w, z, wr, lr, b: b * ((z - lr) - (w - wr))), "swapped"),
        "sign": (dpo(end=lambda m: F.logsigmoid(m).mean()), "sign"),
        "no reference": (dpo(lambda w, z, wr, lr, b: b * (w - z)), "no-ref"),
        "reference added": (dpo(lambda w, z, wr, lr, b: b * ((w - z) + (wr - lr))), "ref-added"),
        "references crossed": (dpo(lambda w, z, wr, lr, b: b * ((w - lr) - (z - wr))),
                               "ref-added"),
        "reference alone": (dpo(lambda w, z, wr, lr, b: b * (wr - lr)), "ref-alone"),
        "no beta": (dpo(lambda w, z, wr, lr, b: (w - wr) - (z - lr)), "no-beta"),
        "beta outside": (lambda w, z, wr, lr, b: b * dpo()(w, z, wr, lr, 1), "beta-outside"),
        "divided": (dpo(lambda w, z, wr, lr, b: ((w - wr) - (z - lr)) / b), "divided"),
        "beta on the policy": (dpo(lambda w, z, wr, lr, b: b * (w - z) - (wr - lr)), "beta-once"),
        "beta on the winner": (dpo(lambda w, z, wr, lr, b: b * (w - wr) - (z - lr)), "beta-once"),
        "sum": (dpo(end=lambda m: F.softplus(-m).sum()), "sum"),
        "each pair": (dpo(end=lambda m: F.softplus(-m)), "shape"),
        "bits": (dpo(end=lambda m: F.softplus(-m).mean() / math.log(2)), "bits"),
        "probability": (dpo(end=lambda m: -torch.sigmoid(m).mean()), "no-log"),
        "log of mean": (dpo(end=lambda m: -torch.sigmoid(m).mean().log()), "log-of-mean"),
        "mean inside": (dpo(end=lambda m: F.softplus(-m.mean())), "mean-inside"),
        "winner only": (dpo(lambda w, z, wr, lr, b: b * (w - wr)), "winner-only"),
        "each alone": (lambda w, z, wr, lr, b: (F.softplus(b * (wr - w)) + F.softplus(
            b * (z - lr))).mean(), "alone"),
        "ratio of probabilities": (dpo(lambda w, z, wr, lr, b: b * (
            (w - wr).exp() - (z - lr).exp())), "ratio"),
        "ratio of logarithms": (dpo(lambda w, z, wr, lr, b: b * (w / wr - z / lr)), "ratio"),
        "squared": (lambda w, z, wr, lr, b: ((w - wr) - (z - lr) - 1 / (2 * b)).square().mean(),
                    "ipo"),
        "hinge": (dpo(end=lambda m: F.relu(1 - m).mean()), "hinge"),
        "difference": (dpo(end=lambda m: -m.mean()), "difference"),
        "absolute": (dpo(end=lambda m: F.softplus(-m.abs()).mean()), "value"),
        "smoothed labels": (dpo(end=lambda m: (.99 * F.softplus(-m) + .01 * F.softplus(m)).mean()),
                            "value"),
        "fixed beta": (lambda w, z, wr, lr, b: dpo()(w, z, wr, lr, 0.1), "value"),
        "all pairs": (lambda w, z, wr, lr, b: F.softplus(b * ((z - lr)[:, None] - (
            w - wr))).mean(), "value"),
        "log of sigmoid": (dpo(end=lambda m: -torch.sigmoid(m).log().mean()), "overflow"),
        "clamped": (dpo(end=lambda m: F.softplus(-m.clamp(-30, 30)).mean()), "overflow"),
        "exponentials": (lambda w, z, wr, lr, b: -((w - wr).exp() ** b / ((w - wr).exp() ** b + (
            z - lr).exp() ** b)).log().mean(), "overflow"),
        "detached": (lambda *a: dpo()(*a).detach(), "detached"),
        "loser detached": (dpo(lambda w, z, wr, lr, b: b * ((w - wr) - (z.detach() - lr))),
                           "detached"),
        "double gradient": (lambda *a: 2 * dpo()(*a) - dpo()(*a).detach(), "gradient"),
        "a float": (lambda *a: dpo()(*a).item(), "type"),
        "changes win": (lambda w, z, wr, lr, b: F.softplus(-b * (w.sub_(wr) - (z - lr))).mean(),
                        "mutates")},
    "08.6": {
        "idf may be negative": (okapi(idf=lambda N, n: math.log((N - n + .5) / (n + .5))),
                                "idf-may-be-negative"),
        "idf with a floor": (okapi_floor, "value"),
        "no idf": (okapi(idf=lambda N, n: 1.0), "no-idf"),
        "smooth idf": (okapi(idf=lambda N, n: math.log((N + 1) / (n + 1)) + 1), "other-idf"),
        "plain idf": (okapi(idf=lambda N, n: math.log(N / n)), "other-idf"),
        "log2": (okapi(idf=lambda N, n: math.log2(1 + (N - n + .5) / (n + .5))), "log-base"),
        "log10": (okapi(idf=lambda N, n: math.log10(1 + (N - n + .5) / (n + .5))), "log-base"),
        "counts everywhere": (okapi(total=lambda w, docs: sum(d.count(w) for d in docs)),
                              "counts-everywhere"),
        "no length": (okapi(b=0), "no-length"),
        "all length": (okapi(b=1), "all-length"),
        "b turned": (okapi(b=.25), "b-turned"),
        "different words": (okapi(length=lambda d: len(set(d))), "distinct-length"),
        "letters": (okapi(length=lambda d: len(" ".join(d))), "letters"),
        "no gain": (okapi(gain=1), "no-gain"),
        "presence": (okapi(tf=lambda f: min(f, 1)), "presence"),
        "log of counts": (okapi(tf=lambda f: 1 + math.log(f) if f else 0), "value"),
        "counts up to 20": (okapi(tf=lambda f: min(f, 20)), "value"),
        "rounded": (okapi(end=lambda s: torch.tensor(s).mul(100).round() / 100), "value"),
        "N less 1": (okapi(idf=lambda N, n: math.log(1 + (N - n - .5) / (n + .5))), "value"),
        "k1 = 1.2": (okapi(k1=1.2), "other-k1"),
        "tf-idf": (tf_idf, "tf-idf"),
        "counts": (lambda q, docs: torch.tensor([sum(d.count(w) for w in q)
                                                 for d in docs]).double(), "counts"),
        "whole numbers": (lambda q, docs: torch.tensor([sum(d.count(w) for w in q)
                                                        for d in docs]), "type"),
        "over length": (okapi_divides, "value"),
        "set of the query": (okapi(query=lambda q: set(q)), "set"),
        "longest is 1": (okapi(end=lambda s: torch.tensor(s) / max(max(s), 1e-9)), "scaled"),
        "softmax": (okapi(end=lambda s: torch.tensor(s).softmax(0)), "elsewhere"),
        "per word of the query": (lambda q, docs: okapi()(q, docs) / max(len(q), 1), "scaled"),
        "sorted": (okapi(end=lambda s: torch.tensor(sorted(s, reverse=True))), "order"),
        "places": (okapi(end=lambda s: torch.tensor(s).argsort(descending=True).double()),
                   "elsewhere"),
        "best only": (okapi(end=lambda s: torch.tensor(max(s))), "shape"),
        "sign": (okapi(end=lambda s: -torch.tensor(s)), "no-match"),
        "part of words": (okapi(holds=lambda w, d: " ".join(d).count(w)), "part-of-word"),
        "lower case": (lambda q, docs: okapi()([w.lower() for w in q], [
            [w.lower() for w in d] for d in docs]), "case"),
        "twins are one": (okapi_unique, "twins"),
        "fails for the unseen": (okapi_seen_only, "crash"),
        "divides by n": (okapi(idf=lambda N, n: math.log(1 + (N - n) / n) if n else 1 / 0),
                         "other-idf"),
        "one document too many": (okapi(idf=lambda N, n: math.log(1 + (N - n + 1.5) / (n + .5))),
                                  "value"),
        "a list": (lambda q, docs: okapi()(q, docs).tolist(), "type"),
        "empty document": (lambda q, docs: okapi()(q, docs) + torch.tensor([
            0 / len(d) for d in docs]), "crash"),
        "median length": (okapi(mean=lambda sizes: sorted(sizes)[len(sizes) // 2]), "value"),
        "longest length": (okapi(mean=max), "value"),
        "changes the query": (lambda q, docs: okapi(query=lambda q: [
            q.pop() for _ in range(len(q))])(list(q), docs) * 0 + okapi()(q, [
                docs.pop(0) for _ in range(len(docs))]), "mutates")},
    "08.7": {
        "stops": (rag(stop=True), "stops"),
        "strict": (rag(fits=lambda q, k, b, c: c(render(q, k)) < b), "strict"),
        "parts": (rag(fits=lambda q, k, b, c: c(render(q, [])) + sum(
            c(f"[{i}] {t}") for i, t in k) <= b), "sum-of-counts"),
        "parts and line breaks": (rag(fits=lambda q, k, b, c: c(render(q, [])) + sum(
            c(f"[{i}] {t}\n") for i, t in k) <= b), "sum-of-counts"),
        "parts without ids": (rag(fits=lambda q, k, b, c: c(render(q, [])) + sum(
            c(t) for i, t in k) <= b), "over-budget"),
        "passages only": (rag(fits=lambda q, k, b, c: sum(c(f"[{i}] {t}") for i, t in k) <= b),
                          "over-budget"),
        "no question": (rag(fits=lambda q, k, b, c: c(render("", k)) <= b), "over-budget"),
        "counts words": (rag(fits=lambda q, k, b, c: len(render(q, k).split()) <= b), "words"),
        "counts letters": (rag(fits=lambda q, k, b, c: len(render(q, k)) <= b), "letters"),
        "no budget": (rag(fits=lambda q, k, b, c: True), "all"),
        "half the budget": (rag(fits=lambda q, k, b, c: c(render(q, k)) <= b / 2), "value"),
        "one spare": (rag(fits=lambda q, k, b, c: c(render(q, k)) <= b - 2), "value"),
        "shortest first": (rag(docs=lambda d, c: sorted(d, key=lambda x: c(x[1]))),
                           "smallest-first"),
        "as many as possible": (rag_most, "value"),
        "worst first": (rag(docs=lambda d, c: d[::-1]), "worst-first"),
        "best last": (rag(order=lambda k: k[::-1]), "turned"),
        "by id": (rag(order=sorted), "ids"),
        "drops the worst": (rag_drops_worst, "stops"),
        "repeats": (rag(new=lambda i, t, k: True), "repeated"),
        "neighbours only": (rag(new=lambda i, t, k: i != (k or [[0]])[-1][0]), "repeated"),
        "two misses end it": (rag_two_misses, "value"),
        "four at most": (rag(fits=lambda q, k, b, c: len(k) < 5 and c(render(q, k)) <= b), "value"),
        "last of equal ids": (rag(docs=lambda d, c: list(dict(d[::-1]).items())[::-1]), "ids"),
        "no text twice": (rag(new=lambda i, t, k: t not in [u for _, u in k]), "value"),
        "no two of one length": (rag(new=lambda i, t, k: len(t) not in [len(u) for _, u in k]),
                                 "value"),
        "cut": (rag_cut, "cut"),
        "text cut": (rag_sliced, "no-question"),
        "numbered": (rag(write=lambda q, k: render(q, k, line=lambda n, i, t: f"[{n}] {t}")),
                     "renumbered"),
        "no id": (rag(write=lambda q, k: render(q, k, line=lambda n, i, t: t)), "no-id"),
        "id behind": (rag(write=lambda q, k: render(q, k, line=lambda n, i, t: f"{t} [{i}]")),
                      "no-id"),
        "round brackets": (rag(write=lambda q, k: render(q, k, line=lambda n, i, t: f"({i}) {t}")),
                           "no-id"),
        "blank lines": (rag(write=lambda q, k: render(q, k, join="\n\n")), "last-lines"),
        "question forgotten": (rag(write=lambda q, k: render(q, k).replace(q, "")), "no-question"),
        "question first": (rag(write=lambda q, k: render(q, k, first=f"Question: {q}",
                                                         question=FIRST)), "first-line"),
        "no first line": (rag(write=lambda q, k: render(q, k)[len(FIRST) + 1:]), "first-line"),
        "newline behind": (rag(write=lambda q, k: render(q, k) + "\n"), "ends"),
        "no last line": (rag(write=lambda q, k: render(q, k)[:-8]), "last-lines"),
        "line breaks stay": (rag(write=lambda q, k: render(
            q, k, line=lambda n, i, t: f"[{i}] {t}")), "line-break"),
        "blanks stay": (rag(write=lambda q, k: render(
            q, k, line=lambda n, i, t: f"[{i}] {t.replace(chr(10), ' ')}")), "text"),
        "blanks vanish": (rag(write=lambda q, k: render(
            q, k, line=lambda n, i, t: f"[{i}] {''.join(t.split())}")), "text"),
        "measured before the blanks": (rag(fits=lambda q, k, b, c: c(render(
            q, k, line=lambda n, i, t: f"[{i}] {t}")) <= b), "value"),
        "refuses": (rag_refuses, "crash"),
        "lines": (lambda *a: rag()(*a).split("\n"), "type"),
        "pops": (rag_pops, "mutates"),
        "sorts in place": (lambda q, d, b, c: [rag()(q, d, b, c), d.sort()][0], "mutates")},
    "08.8": {
        "ref": (lambda ref, *a: (ref, ref, ref), "unmoved"),
        "logits": (lambda ref, *a: (ref.log(),) * 3, "not-chances"),
        "counts": (lambda ref, *a: (ref * 10,) * 3, "not-chances"),
        "two": (lambda *a: at_kl(*a)[:2], "count"),
        "a dictionary": (lambda *a: dict(zip("abc", at_kl(*a))), "type"),
        "a matrix turned": (lambda *a: torch.stack(at_kl(*a), 1), "count"),
        "lists": (lambda *a: [p.tolist() for p in at_kl(*a)], "type"),
        "best answer alone": (lambda ref, reward, *a: (F.one_hot(
            reward.argmax(), len(ref)).double(),) * 3, "kl"),
        "KL the other way": (lambda *a: at_kl(*a, size=against), "kl-direction"),
        "bits": (lambda a, b, c, kl: at_kl(a, b, c, kl * math.log(2)), "bits"),
        "bits the other way": (lambda a, b, c, kl: at_kl(a, b, c, kl / math.log(2)), "kl"),
        "whole n": (whole_n, "kl"),
        "n by formula": (n_by_formula, "kl-formula"),
        "drawn": (drawn_best, "kl"),
        "fixed beta": (lambda ref, w, p, kl: (at_kl(ref, w, p, kl)[0], equal.tilted(
            ref, w, 10.0), at_kl(ref, w, p, kl)[2]), "kl"),
        "a little too far": (lambda ref, w, p, kl: at_kl(ref, w, p, kl + 5e-4), "kl"),
        "PPO on roots": (by_parts(s=lambda ref, w, p, k: lambda x: equal.tilted(
            ref, (w - w.min()).sqrt(), x)), "ppo"),
        "every other pair": (lambda ref, w, p, kl: at_kl(ref, w, p[::2], kl), "dpo"),
        "total variation": (lambda *a: at_kl(*a, size=lambda p, q: float((p - q).abs().sum())),
                            "kl"),
        "worst of n": (by_parts(n=lambda ref, w, p, k: lambda x: equal.best_of(ref, -w, 1 + x)),
                       "worst-of-n"),
        "places": (by_parts(n=lambda ref, w, p, k: best_of_places(ref, w)), "position"),
        "ranked by pairs": (by_parts(n=lambda ref, w, p, k: lambda x: equal.best_of(
            ref, equal.fitted(p, len(ref)), 1 + x)), "best-by-pairs"),
        "a mixture": (by_parts(n=lambda ref, w, p, k: mixed(ref, w)), "mixture"),
        "PPO for best-of-n": (lambda *a: [at_kl(*a)[i] for i in (1, 1, 2)], "best-is-ppo"),
        "best-of-n for PPO": (lambda *a: [at_kl(*a)[i] for i in (0, 0, 2)], "ppo-is-best"),
        "PPO for DPO": (lambda *a: [at_kl(*a)[i] for i in (0, 1, 1)], "dpo-by-reward"),
        "DPO for PPO": (lambda *a: [at_kl(*a)[i] for i in (0, 2, 2)], "ppo-by-pairs"),
        "another order": (lambda *a: at_kl(*a, order=(2, 1, 0)), "order"),
        "PPO first": (lambda *a: at_kl(*a, order=(1, 0, 2)), "best-is-ppo"),
        "PPO downwards": (by_parts(s=lambda ref, w, p, k: lambda x: equal.tilted(ref, -w, x)),
                          "sign"),
        "PPO without ref": (by_parts(s=lambda ref, w, p, k: lambda x: equal.tilted(
            torch.full_like(ref, 1 / len(ref)), w, x)), "no-ref"),
        "PPO a mixture": (by_parts(s=lambda ref, w, p, k: mixed(ref, w)), "mixture"),
        "PPO by rank": (by_parts(s=lambda ref, w, p, k: lambda x: equal.tilted(
            ref, w.argsort().argsort().double(), x)), "ppo"),
        "PPO by a tilt of best-of-n": (by_parts(s=lambda ref, w, p, k: lambda x: equal.best_of(
            equal.tilted(ref, w, x / 2), w, 1 + x / 2)), "ppo"),
        "PPO without exp": (by_parts(s=lambda ref, w, p, k: linear(ref, w)), "not-exp"),
        "DPO swapped": (lambda ref, w, p, kl: at_kl(ref, w, p.flip(1), kl), "swapped"),
        "DPO by wins": (lambda *a: at_kl(*a, r=win_rates), "win-rate"),
        "DPO by Elo": (lambda *a: at_kl(*a, r=elo), "dpo"),
        "DPO with a prior": (lambda *a: at_kl(*a, r=pulled), "dpo"),
        "DPO without ref": (by_parts(t=lambda ref, w, p, k: lambda x: equal.tilted(
            torch.full_like(ref, 1 / len(ref)), equal.fitted(p, len(ref)), x)), "no-ref"),
        "DPO stopped early": (stopped_early, "dpo"),
        "DPO hardly trained": (lambda *a: at_kl(*a, r=few_steps), "dpo"),
        "each kind of pair once": (lambda ref, w, p, kl: at_kl(ref, w, torch.cat([
            p.unique(dim=0), p[:5]]), kl), "dpo"),
        "changes pairs": (lambda ref, w, p, kl: at_kl(ref, w, p.copy_(p.flip(1)).flip(1), kl),
                          "mutates")}}
