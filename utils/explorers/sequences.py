"""Two explorers of sequences: Shannon's guessing game, and an automaton against a stack."""
import functools

from ..data import rebuilt_tiny_shakespeare
from ..sequences import LETTERS, NGram, fold, follow, prices, ranks, replay
from ..show import COLOURS, bars, lines, notice, numbers
from .base import Explorer, choice, slider, text

HIGH = 220                                              # pixels: two rows of controls go above
# Beginnings that the model has not read, from The Taming of the Shrew; what follows is secret.
PASSAGES = {"1": "more toward our fathers good lord how ",
            "2": "him that moved you hither remove you ",
            "3": "what i speak or do or think to do you ",
            "4": "and venture madly on a desperate mart "}
SECRET = 60                                             # letters to guess


@functools.cache
def halves():
    """The text in 27 letters: nine tenths to count in, one tenth to play on."""
    folded = fold(rebuilt_tiny_shakespeare())
    cut = int(0.9 * len(folded))
    return folded[:cut], folded[cut:]


@functools.cache
def player(n):
    """An n-gram of the first part, and the price in bits of each rank, set on other text."""
    read, held = halves()
    model = NGram(read, n, alphabet=LETTERS)
    return model, prices(ranks(model, held[-30_000:]), len(LETTERS))


@functools.cache
def passage(name):
    """(what is shown, what is to be guessed) of a passage."""
    held, lead = halves()[1], PASSAGES[name]
    start = held.index(lead) + len(lead)
    return lead, held[start:start + SECRET]


class ShannonGame(Explorer):
    """How many bits does the next letter cost you, and how many the model?"""

    controls = {"typed": text("fsbright_and_", "guesses (_ a space)",
                              ("", "zzqqx", "bright_and_goodly_shines_the_moon_katharina_the_moon"
                               "_the_sun_it_is", "7!é")),
                "source": choice(PASSAGES, label="passage"),
                "n": choice((1, 2, 3, 4, 5, 6), 5, "model: n")}

    def compute(self, typed, source, n):
        lead, secret = passage(source)
        model, price = player(n)
        wanted = typed.lower().replace("_", " ")
        guesses = [c for c in wanted if c in LETTERS]
        needed, wrong = replay(secret, guesses)
        found = secret[:len(needed)]
        theirs = list(ranks(model, (lead + found)[len(lead) - n + 1:])) if found else []
        paid = {"you": [price[r - 1] for r in needed], f"{n}-gram": [price[r - 1] for r in theirs]}
        return {"lead": lead, "found": found, "wrong": wrong, "needed": needed, "theirs": theirs,
                "so_far": price[len(wrong)] if wrong else 0.0,  # the least that it will cost
                "paid": paid, "strange": [c for c in wanted if c not in LETTERS],
                "done": len(found) == len(secret)}

    def figure(self, result):
        found, paid = result["found"], result["paid"]
        ticks = [f"{i} {c if c != ' ' else '_'}" for i, c in enumerate(found, start=1)]
        (mine, yours), (name, theirs) = ((k, v) for k, v in paid.items())
        mine_now, theirs_now = dict(zip(ticks, yours)), dict(zip(ticks, theirs))
        if not result["done"]:
            ticks.append(f"{len(found) + 1} ?")         # the letter to guess
            mine_now[ticks[-1]], theirs_now[ticks[-1]] = result["so_far"], 0.0
        title = "Guess the first letter"
        if found:
            low = "You pay less" if sum(yours) < sum(theirs) else (
                "The model pays less" if sum(yours) > sum(theirs) else "You pay the same")
            title = f"{low}: {mean(yours):.1f} and {mean(theirs):.1f} bits a letter"
        made = bars({mine: mine_now, name: theirs_now}, "bits", title, height=HIGH)
        for trace in made.data:
            trace["text"] = None
        made.layout["xaxis"] |= {"tickangle": 0, "tickfont": {"size": 11}, "tickvals": ticks,
                                 "ticktext": [t.split()[1] for t in ticks]}
        made.layout["margin"] |= {"t": 34, "b": 30}
        top = max([7.5, result["so_far"], *yours, *theirs])
        made.layout["yaxis"] |= {"range": [0, top + 0.5]}
        return made

    def describe(self, result, typed, source, n):
        so_far = f"Text: '{result['lead'][-26:]}{result['found'][-26:]}' "
        words = so_far + ("and here the game ends. " if result["done"] else "and what comes next? ")
        if result["wrong"]:
            tried = " ".join("_" if c == " " else c for c in result["wrong"])
            words += f"Not: {tried}. "
        if result["strange"]:
            words += f"Left out, no letter of the game: {' '.join(result['strange'][:5])}. "
        if not result["found"]:
            return words + "Nothing found yet."
        yours, theirs = result["paid"].values()
        first = [sum(r == 1 for r in result[who]) for who in ("needed", "theirs")]
        return words + (f"{len(yours)} found, at the first guess {first[0]} by you and {first[1]} "
                        f"by the {n}-gram; bits a letter {mean(yours):.1f} and {mean(theirs):.1f}.")

    def invariants(self, result, typed, source, n):
        assert len(result["needed"]) == len(result["theirs"]) == len(result["found"]) <= SECRET
        assert all(1 <= r <= len(LETTERS) for r in result["needed"] + result["theirs"])
        assert len(set(result["wrong"])) == len(result["wrong"])


def mean(values):
    return sum(values) / len(values)


class AutomatonAndStack(Explorer):
    """How deep may brackets nest before an automaton loses count?"""

    controls = {"step": slider(0, 16, value=5, label="signs read"),
                "limit": slider(1, 6, value=3, label="automaton's levels"),
                "brackets": text("([[()]])[]", "brackets", ("([)]", "(((", ")(", "", "()x"))}

    def compute(self, step, limit, brackets):
        brackets = brackets.replace(" ", "")
        strange = sorted(set(brackets) - set("()[]"))
        if strange or not brackets:
            return {"trouble": f"{strange[0]!r} is no bracket: use ( ) [ ]" if strange else
                    "No brackets: type some, such as ([])"}
        read = brackets[:step]
        return {"trouble": "", "read": read, "all": brackets, "stack": follow(brackets),
                "automaton": follow(brackets, limit), "at": len(read), "limit": limit}

    def figure(self, result):
        if result["trouble"]:
            return notice("Nothing to read", result["trouble"], HIGH)
        at, signs = result["at"], result["all"]
        depth = {"stack": heights(result["stack"][:at + 1]),
                 "automaton": heights(result["automaton"][:at + 1])}
        made = lines({k: v or [0] for k, v in depth.items()}, x="", y="signs remembered",
                     title=finding(result), height=HIGH)
        stack, machine = made.data
        stack["line"] = stack["line"] | {"width": 5}
        if len(depth["automaton"]) < at + 1:
            made.data.append({"type": "scatter", "mode": "markers+text", "name": "lost",
                              "x": [len(depth["automaton"]) - 1], "y": [depth["automaton"][-1]],
                              "text": ["lost"], "textposition": "bottom right", "cliponaxis": False,
                              "marker": {"symbol": "x", "size": 13, "color": COLOURS[1]}})
        made.layout["shapes"] = [{"type": "line", "xref": "paper", "x0": 0, "x1": 1,
                                  "y0": result["limit"], "y1": result["limit"],
                                  "line": {"color": "#888888", "dash": "dot"}}]
        made.layout["margin"] |= {"t": 34, "b": 30}
        high = max([result["limit"], *heights(result["stack"])]) + 0.6
        made.layout["yaxis"] |= {"range": [-0.4, high], "dtick": 1}
        made.layout["xaxis"] |= {"range": [-0.5, len(signs) + 0.5], "tickvals":
                                 numbers(range(len(signs) + 1)), "ticktext": ["start", *signs]}
        return made

    def describe(self, result, step, limit, brackets):
        if result["trouble"]:
            return result["trouble"] + "."
        states = 2 ** (limit + 1) - 1
        return (f"After {result['at']} of {len(result['all'])} signs, {result['read'] or 'none'}: "
                f"the stack {state(result['stack'][:result['at'] + 1])}; the automaton with "
                f"{limit} levels ({states} states and one of failure) "
                f"{state(result['automaton'][:result['at'] + 1])}.")

    def invariants(self, result, step, limit, brackets):
        if result["trouble"]:
            return
        for mine, theirs in zip(result["automaton"], result["stack"], strict=True):
            assert mine is None or mine == theirs       # right as long as it is not lost
            assert mine is None or len(mine) <= limit
        if max(heights(result["stack"])) <= limit:
            assert result["automaton"] == result["stack"]


def heights(states):
    """How many signs are remembered, until the state of failure."""
    return [len(s) for s in states if s is not None]


def state(states):
    now = states[-1]
    if now is None:
        return f"failed at sign {states.index(None)}"
    return f"holds {now}" if now else "is empty, all is closed"


def finding(result):
    stack, machine = result["stack"][result["at"]], result["automaton"][result["at"]]
    if stack is None:
        return "Both fail: a bracket closes what was not open"
    if machine is None:
        return "The stack goes on where the automaton is lost"
    return "As long as the nesting is shallow, both know the same"
