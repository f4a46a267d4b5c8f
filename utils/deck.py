"""The course's map: its lectures, the deck's items, and which cell teaches which item."""
import json
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# number: (title, the lectures it builds on)
LECTURES = {
    "00": ("Start here", ()),
    "01": ("Language as a sequence", ("00",)),
    "02": ("Words as vectors", ("01",)),
    "03": ("A CNN for human activity", ("02",)),
    "04": ("From recurrence to attention", ("03",)),
    "05": ("Self-attention by hand", ("02", "04")),
    "06": ("The full Transformer", ("05",)),
    "07": ("Families and scaling", ("06",)),
    "08": ("Using and aligning", ("06",)),
    "09": ("Fine-tuning with LoRA", ("08",)),
    "10": ("Considerations", ("08",)),
    "11": ("Other modalities", ("03", "06")),
}

ITEMS = {
    "D01": "contents: language, words, sequences, context, Transformers, LLMs",
    "D02": "sequences everywhere; how does language differ?",
    "D03": "Chomsky: fixed laws, infinitely varied use",
    "D04": "universal grammar; automata, grammars, deep learning and data",
    "D05": "human activity recognition",
    "D06": "a CNN takes nearby samples into account",
    "D07": "P(next | context), left to right, chain rule",
    "D08": "'The cat ...' continued word by word",
    "D09": "CNNs for language: small context, past forgotten",
    "D10": "language is discrete: the tuna sentence",
    "D11": "a vocabulary is the set of unique tokens",
    "D12": "integer ids",
    "D13": "a token becomes a vector",
    "D14": "an embedding table: easy to compose and to vectorise",
    "D15": "one-hot: no meaningful distance",
    "D16": "word2vec; the distributional hypothesis",
    "D17": "king - man + woman = queen",
    "D18": "Mikolov 2013: a table of ten relationships",
    "D19": "recurrent models; unsupervised learning",
    "D20": "attention: a weighted average over hidden states",
    "D21": "self-attention: every word connected to every other, in parallel",
    "D22": "the encoder understands, the decoder generates",
    "D23": "Thinking Machines: 112 and 96, 14 and 12, .88 and .12",
    "D24": "softmax(QK^T / sqrt(d_k)) V = Z",
    "D25": "softmax of [1.3, 5.1, 2.2, .7, 1.1]",
    "D26": "layer norm, skips, positions, byte pairs, stacking, cross-attention",
    "D27": "encoder: BERT, classification",
    "D28": "encoder-decoder: T5, translation",
    "D29": "decoder: GPT, generation",
    "D30": "from language model to chatbot: aligned",
    "D31": "step 1: demonstrations, supervised fine-tuning",
    "D32": "step 2: comparisons, reward model",
    "D33": "step 3: PPO against the reward model",
    "D34": "explosion of language models; 213 M in 2017",
    "D35": "GPT-3: 175 B parameters",
    "D36": "GPT-4: scale and cost",
    "D37": "Chinchilla scaling laws",
    "D38": "what can you do without 1000 H100s?",
    "D39": "in-context learning, retrieval",
    "D40": "fine-tuning as transfer learning",
    "D41": "not all parameters need to change",
    "D42": "regular fine-tuning: W + dW",
    "D43": "LoRA: two thin matrices stand for dW",
    "D44": "memory: LLaMA 7B in 28, 56 and 14 GB",
    "D45": "bias, law, trust, disinformation, environment",
    "D46": "ViT",
    "D47": "EvoFormer",
    "D48": "Whisper",
    "D49": "efficient frameworks and where to learn more",
}


def notebooks(folder):
    """{number: path} of the notebooks in lectures/, solutions/ or exercises/."""
    return {p.name[:2]: p for p in sorted((ROOT / folder).glob("[0-9][0-9]_*.ipynb"))}


def marked(path):
    """The deck items that a notebook's cells name in their metadata, each with its first cell."""
    found = {}
    for i, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        for item in cell["metadata"].get("deck", ()):
            found.setdefault(item, i)
    return found


def coverage():
    """{item: (lectures that teach it, lectures that exercise it)}, as lists of numbers."""
    table = {item: ([], []) for item in ITEMS}
    for column, folder in enumerate(("lectures", "solutions")):
        for number, path in notebooks(folder).items():
            for item in marked(path):
                if item not in table:
                    raise ValueError(f"{path.name} names the deck item {item!r}: there is none")
                table[item][column].append(number)
    return table


def main():
    """Print which deck item is taught and exercised where."""
    table = coverage()
    print(f"{'item':5} {'taught':8} {'exercised':10} what")
    for item, (taught, exercised) in table.items():
        print(f"{item:5} {' '.join(taught) or '-':8} {' '.join(exercised) or '-':10} {ITEMS[item]}")
    print(f"{sum(bool(t) for t, _ in table.values())} of {len(ITEMS)} items taught, "
          f"{sum(bool(e) for _, e in table.values())} exercised.")
    return 0


def course_map():
    """The course as a figure: an arrow from each lecture to those that build on it."""
    from .show import COLOURS, Figure, layout
    here = notebooks("lectures")
    place = {"00": (0, 1), "01": (1, 1), "02": (2, 1), "03": (3, 1), "04": (4, 1), "05": (5, 1),
             "06": (6, 1), "07": (7, 2.3), "08": (7, 1), "11": (7, -0.3), "09": (8.1, 1.5),
             "10": (8.1, 0.5)}
    beside = {"06": "top left", "07": "top center", "08": "top center", "09": "top center",
              "10": "bottom center"}                    # else below, then above, in turn
    words = textwrap.TextWrapper(12, break_long_words=False, break_on_hyphens=False).wrap
    arrows = [{"ax": place[a][0], "ay": place[a][1], "x": place[b][0], "y": place[b][1],
               "axref": "x", "ayref": "y", "xref": "x", "yref": "y", "showarrow": True,
               "arrowhead": 2, "arrowcolor": "#888888", "standoff": 16, "startstandoff": 16,
               "text": ""}
              for b, (_, before) in LECTURES.items() for a in before
              if place[b][0] - place[a][0] < 2]
    traces = []
    for name, there, symbol in (("to open now", True, "circle"), ("to come", False, "circle-open")):
        chosen = [n for n in LECTURES if (n in here) == there]
        traces.append({"type": "scatter", "name": name, "mode": "markers+text",
                       "x": [place[n][0] for n in chosen], "y": [place[n][1] for n in chosen],
                       "text": ["<br>".join([f"<b>{n}</b>", *words(LECTURES[n][0])])
                                for n in chosen],
                       "textposition": [beside.get(n) or ("bottom center" if int(n) % 2 else
                                                          "top center") for n in chosen],
                       "textfont": {"size": 11},
                       "marker": {"size": 20, "symbol": symbol, "color": COLOURS[0 if there else 1],
                                  "line": {"width": 2}}})
    shape = layout(f"{len(here)} of {len(LECTURES)} lectures stand; arrows say what builds on what",
                   height=340, annotations=arrows)
    shape["xaxis"] = {"visible": False, "range": [-0.5, 8.8]}
    shape["yaxis"] = {"visible": False, "range": [-1.5, 3.4]}
    shape["margin"] |= {"l": 10, "b": 10}
    shape["legend"] = {"orientation": "h", "x": 0.02, "y": 0.04}
    told = "; ".join(f"{n} {title}" + (f" builds on {', '.join(before)}" if before else "")
                      for n, (title, before) in LECTURES.items())
    return Figure([t for t in traces if t["x"]], shape, f"The map of the course. {told}.")
