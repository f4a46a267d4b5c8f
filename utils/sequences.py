"""Letters one after another: a model that counts them, Shannon's guessing game, brackets."""
import math
import re
from collections import Counter

LETTERS = " abcdefghijklmnopqrstuvwxyz"                 # Shannon's 27
PAIRS = {")": "(", "]": "["}


def fold(text):
    """A text in Shannon's 27 letters: a to z and one space between words."""
    return " ".join(re.sub("[^a-z]+", " ", text.lower().replace("'", "")).split())


class NGram:
    """P(letter | the n - 1 letters before it), from counts in a text.

    text: str; n: 1 or more; alpha: what is added to each count; alphabet: the V letters that may
    come, by default those of the text. Source: Shannon 1948 (counts), Lidstone 1920 (alpha).
    """

    def __init__(self, text, n, alpha=0.01, alphabet=None):
        if n < 1 or alpha < 0:
            raise ValueError(f"n = {n}, alpha = {alpha} came: n is 1 or more, alpha not negative")
        if len(text) < n:
            raise ValueError(f"a text of {len(text)} letters holds no {n}-gram: give {n} or more")
        self.n, self.alpha = n, alpha
        self.letters = sorted(set(text if alphabet is None else alphabet))
        self._known = set(self.letters)
        self._expect(set(text))
        starts = range(len(text) - n + 1)
        self.grams = Counter(text[i:i + n] for i in starts)         # context and letter
        self.contexts = Counter(text[i:i + n - 1] for i in starts)  # context alone

    def prob(self, context, letter):
        """P(letter | context), of which the last n - 1 letters count."""
        self._expect({letter})
        context = self._end(context)
        total = self.contexts[context] + self.alpha * len(self.letters)
        if not total:
            raise ValueError(f"the text never has {context!r} before a letter, and alpha is 0: "
                             "no probability is defined; take alpha > 0")
        return (self.grams[context + letter] + self.alpha) / total

    def shares(self, context):
        """{letter: probability} of the whole alphabet; they sum to 1."""
        return {letter: self.prob(context, letter) for letter in self.letters}

    def ranking(self, context):
        """The alphabet, the likeliest letter first; equals in the order of the alphabet."""
        context = self._end(context)
        return sorted(self.letters, key=lambda letter: -self.grams[context + letter])

    def nats(self, text):
        """-ln P of each letter of a text from the n-th on: a list of len(text) - n + 1 numbers.

        Raises ValueError for a letter outside the alphabet; inf where P is 0.
        """
        if len(text) < self.n:
            raise ValueError(f"a text of {len(text)} letters is too short for a {self.n}-gram")
        self._expect(set(text))
        n, alpha, spread = self.n, self.alpha, self.alpha * len(self.letters)
        if not alpha:
            found = [self.prob(text[i - n + 1:i], text[i]) for i in range(n - 1, len(text))]
            return [-math.log(p) if p else math.inf for p in found]
        return [-math.log((self.grams[text[i:i + n]] + alpha)
                          / (self.contexts[text[i:i + n - 1]] + spread))
                for i in range(len(text) - n + 1)]

    def _end(self, context):
        if len(context) < self.n - 1:
            raise ValueError(f"a context of {len(context)} letters came: a {self.n}-gram looks at "
                             f"{self.n - 1}")
        return context[len(context) - self.n + 1:]

    def _expect(self, letters):
        if letters - self._known:
            unseen = ", ".join(map(repr, sorted(letters - self._known)[:5]))
            raise ValueError(f"{unseen} came: the alphabet is {''.join(self.letters)!r}. Leave "
                             "such letters out, or name them in alphabet=")


def ranks(model, text):
    """How many guesses a model needs for each letter from the n-th on, the likeliest first."""
    order = {}
    for i in range(len(text) - model.n + 1):
        context = text[i:i + model.n - 1]
        if context not in order:
            order[context] = {letter: r for r, letter in enumerate(model.ranking(context), start=1)}
        yield order[context][text[i + model.n - 1]]


def prices(found, size):
    """Bits that a letter costs if it is found at guess 1, 2, ..., size: a list.

    found: ranks seen before, from which a code is made; one is added to each count, so that no
    price is infinite.
    """
    seen = Counter(found)
    total = sum(seen.values()) + size
    return [math.log2(total / (seen[r] + 1)) for r in range(1, size + 1)]


def replay(secret, typed):
    """Play Shannon's game: (guesses needed for each letter found, wrong ones at the next).

    typed: guesses in order; a right one moves on, a wrong one is counted once.
    """
    needed, wrong = [], []
    for letter in typed:
        if len(needed) == len(secret):
            break
        if letter == secret[len(needed)]:
            needed.append(len(wrong) + 1)
            wrong = []
        elif letter not in wrong:
            wrong.append(letter)
    return needed, wrong


def balanced(rng, pairs):
    """A string of so many pairs of ( and ), each balanced one equally likely.

    rng: random.Random. Source: Arnold and Sleep 1980, doi:10.1145/357084.357091.
    """
    out, depth = [], 0
    for left in range(2 * pairs, 0, -1):
        opens = (depth + 2) / (depth + 1) * (left - depth) / (2 * left)
        step = "(" if rng.random() < opens else ")"
        out.append(step)
        depth += 1 if step == "(" else -1
    return "".join(out)


def follow(brackets, limit=math.inf):
    """What a reader of ( ) [ ] remembers before and after each sign: a list of str or None.

    With limit it is a finite automaton whose states are the stacks up to that height; None is
    the state of failure, which nothing leaves. Raises ValueError for any other sign.
    """
    seen = [""]
    for sign in brackets:
        stack = seen[-1]
        if sign not in "()[]":
            raise ValueError(f"{sign!r} is no bracket: use ( ) [ ]")
        if stack is None:
            seen.append(None)
        elif sign in "([":
            seen.append(stack + sign if len(stack) < limit else None)
        else:
            seen.append(stack[:-1] if stack.endswith(PAIRS[sign]) and stack else None)
    return seen
