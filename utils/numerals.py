"""Numbers in English words, Dutch words and digits: a small translation whose truth is known."""
import random

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen").split()
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
EEN = ("nul een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien "
       "zestien zeventien achttien negentien").split()
TIEN = "- - twintig dertig veertig vijftig zestig zeventig tachtig negentig".split()


def english(n):
    """The words of a number below a million: 742 -> ["seven", "hundred", "forty", "two"]."""
    _below_a_million(n)
    if n < 20:
        return [ONES[n]]
    if n < 100:
        return [TENS[n // 10], *(english(n % 10) if n % 10 else ())]
    size, name = (1000, "thousand") if n >= 1000 else (100, "hundred")
    return [*english(n // size), name, *(english(n % size) if n % size else ())]


def dutch(n):
    """The same in Dutch, its parts written apart: 742 -> zeven honderd twee en veertig.

    Ones come before tens, and a hundred or a thousand alone has no "een".
    """
    _below_a_million(n)
    if n < 20:
        return [EEN[n]]
    if n < 100:
        return [*((EEN[n % 10], "en") if n % 10 else ()), TIEN[n // 10]]
    size, name = (1000, "duizend") if n >= 1000 else (100, "honderd")
    many = dutch(n // size) if n >= 2 * size else ()
    return [*many, name, *(dutch(n % size) if n % size else ())]


def digits(n):
    """The digits of a number, one a token: 742 -> ["7", "4", "2"]."""
    return list(str(n))


def _below_a_million(n):
    if not 0 <= n < 1_000_000:
        raise ValueError(f"{n}: a number from 0 to 999,999 is needed")


TASKS = {"digits:": digits, "Dutch:": dutch}
SPECIAL = ("<pad>", "<start>", "<end>", "<mask>")
PAD, START, END, MASK = range(4)


class Numerals:
    """Pairs of texts for a model that reads a task and a number and writes the answer.

    words: the vocabulary. learn: numbers to learn from, of 1 to `longest` digits, every length
    equally often; test: {digits: numbers} that are never learnt from, up to one digit more than
    `longest`. A number of two digits or more is kept for the test when its hash says so, one in
    five. Drawn with the seed alone.
    """

    def __init__(self, n_learn=12_000, n_test=100, longest=5, seed=0):
        spoken = {word for n in (*range(100), 100, 1000) for form in (english, *TASKS.values())
                  for word in form(n)}
        self.words = [*SPECIAL, *TASKS, *sorted(spoken)]
        self.ids = {word: i for i, word in enumerate(self.words)}
        rng = random.Random(seed)
        self.learn = []
        while len(self.learn) < n_learn:
            n = self.draw(rng, rng.randint(1, longest))
            if n < 10 or not self.kept(n):
                self.learn.append(n)
        self.test = {}
        for k in range(2, longest + 2):
            every = [n for n in range(10, 100) if self.kept(n)] if k == 2 else []
            found = dict.fromkeys(every[:n_test])
            while k > 2 and len(found) < n_test:
                n = self.draw(rng, k)
                if self.kept(n):
                    found[n] = None
            self.test[k] = list(found)

    @staticmethod
    def draw(rng, k):
        """A number of k digits."""
        return rng.randrange(10 ** (k - 1), 10 ** k)

    @staticmethod
    def kept(n):
        """Whether a number is kept for the test. Source: multiplicative hashing, Knuth 1973."""
        return (n * 2_654_435_761 >> 7) % 5 == 0

    def __len__(self):
        return len(self.words)

    def encode(self, words):
        """Words -> ids. Raises KeyError for a word that the vocabulary lacks."""
        return [self.ids[word] for word in words]

    def decode(self, ids):
        """Ids -> one line of text."""
        return " ".join(self.words[i] for i in ids)

    def pairs(self, numbers, tasks=TASKS):
        """(prompts, answers): lists of ids, for every number and task; an answer ends with END."""
        prompts, answers = [], []
        for n in numbers:
            for task in tasks:
                prompts.append(self.encode([task, *english(n)]))
                answers.append([*self.encode(TASKS[task](n)), END])
        return prompts, answers


def until_end(row):
    """What stands before END, and END: a row as a model wrote it, cut."""
    return row[:row.index(END) + 1] if END in row else row


def exact(written, answers):
    """Share of rows that equal their answer to the last token."""
    if len(written) != len(answers) or not answers:
        raise ValueError(f"{len(written)} texts and {len(answers)} answers: as many are needed")
    return sum(list(w) == list(a) for w, a in zip(written, answers)) / len(answers)
