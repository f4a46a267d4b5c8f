"""The base of every explorer: controls in, one figure and one sentence out."""
import asyncio
import base64
import html
import io
import time
import traceback
import wave
from pathlib import Path

from ..show import PLOTLY, Figure

SLOW = 0.05         # seconds: what takes longer waits until the control rests
REST = 0.15         # seconds a control rests before a slow explorer computes


def slider(low, high, value, step=1, label=""):
    """A number between low and high, moved by the arrow keys."""
    return {"kind": "slider", "low": low, "high": high, "value": value, "step": step,
            "label": label}


def choice(options, value=None, label=""):
    """One of several texts (or numbers), chosen in a list."""
    options = list(options)
    return {"kind": "choice", "options": options, "label": label,
            "value": options[0] if value is None else value}


def switch(value=False, label=""):
    """On or off."""
    return {"kind": "switch", "value": value, "label": label}


def text(value, label="", examples=()):
    """A line of text, taken on Enter or on leaving; examples are what selftest() types."""
    return {"kind": "text", "value": value, "label": label, "examples": list(examples)}


class Explorer:
    """Subclass it with a question as docstring and these members.

    controls: {name: slider | choice | switch | text}; hidden: {name: value} of what the reader
    moves in the figure itself. All of them reach the methods by name:
    compute(**values) -> result, pure; figure(result) -> utils.show.Figure;
    describe(result, **values) -> the sentence; invariants(result, **values) asserts what always
    holds; key(name, **values) and pointer(kind, x, y, **values) -> {name: new value};
    sound(result) -> (name, (T,) between -1 and 1, samples per second), to be played.
    """

    controls, hidden = {}, {}
    key = pointer = sound = None

    def __init__(self, **start):
        known = {name: c["value"] for name, c in self.controls.items()} | self.hidden
        if unknown := set(start) - set(known):
            raise TypeError(f"{type(self).__name__} has no {sorted(unknown)}: it has {list(known)}")
        self.values = known | start
        self._box, self._timer, self._took = None, None, 0.0

    @property
    def question(self):
        return self.__doc__.strip().splitlines()[0]

    def show(self, **values):
        """Figure and sentence for these values: what the live view and the file both show."""
        values = self.values | values
        self._result = result = self.compute(**values)
        sentence = self.describe(result, **values)
        figure = self.figure(result)
        return Figure(figure.data, figure.layout, sentence), sentence

    def static(self):
        """The figure as the file keeps it, the sentence written under it."""
        figure, sentence = self.show()
        broken = _wrap(html.escape(sentence), 95)
        depth = 18 * (broken.count("<br>") + 1)
        shape = {**figure.layout, "height": figure.layout["height"] + depth}
        margin = dict(shape["margin"])
        shape["annotations"] = [*shape.get("annotations", []), {
            "text": broken, "xref": "paper", "yref": "paper", "x": 0, "y": 0, "showarrow": False,
            "xanchor": "left", "yanchor": "top", "yshift": -margin["b"] + 4, "align": "left",
            "font": {"size": 12}}]
        shape["margin"] = margin | {"b": margin["b"] + depth}
        return Figure(figure.data, shape, sentence)

    def table(self):
        """The numbers behind the figure: rows (series, x, y)."""
        return self.show()[0].table()

    def selftest(self):
        """Move each control through low, default and high (or each option); return how many."""
        tried = 0
        for name, control in [(None, None), *self.controls.items()]:
            for value in [None] if name is None else _stations(control):
                values = self.values | ({} if name is None else {name: value})
                result = self.compute(**values)
                self.invariants(result, **values)
                figure, sentence = self.figure(result), self.describe(result, **values)
                assert figure.data and sentence.endswith("."), f"{values}: {sentence!r}"
                assert self.sound is None or player(*self.sound(result)), f"{values}: no sound"
                tried += 1
        return tried

    def invariants(self, result, **values):
        """Assert what must hold at every setting."""

    # ---- the live view -------------------------------------------------------------------

    def widget(self):
        """The live explorer, as an ipywidgets box (made once)."""
        if self._box is None:
            self._build()
        return self._box

    def _build(self):
        import ipywidgets as w

        from ..plot import Plot
        self._moving = {name: _control(w, c) for name, c in self.controls.items()}
        for name, control in self._moving.items():
            control.value = self.values[name]
            control.observe(lambda change, name=name: self._moved({name: change["new"]}), "value")
        self._plot = Plot(on_key=self.key and self._keyed,
                          on_pointer=self.pointer and self._pointed)
        self._words, self._player = w.HTML(), w.HTML()
        title = w.HTML(f"<b>{html.escape(self.question)}</b>")
        row = w.Box(list(self._moving.values()),
                    layout=w.Layout(flex_flow="row wrap", width="100%"))
        heard = [self._player] if self.sound else []
        self._box = w.VBox([title, row, self._plot, *heard, self._words])
        self._box.add_class("course-explorer")
        self._box.add_class("course-controls")
        self._draw()

    def _keyed(self, name):
        self._moved(self._safely(self.key, name, **self.values))

    def _pointed(self, kind, x, y):
        self._moved(self._safely(self.pointer, kind, x, y, **self.values))

    def _moved(self, changes):
        if not changes:
            return
        self.values = self.values | changes
        for name, value in changes.items():         # a figure that was dragged moves its control
            if name in self._moving and self._moving[name].value != value:
                self._moving[name].value = value
        if self._timer:
            self._timer.cancel()
            self._timer = None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop and self._took > SLOW:
            self._timer = loop.call_later(REST, self._draw)
        else:
            self._draw()

    def _draw(self):
        started = time.perf_counter()
        shown = self._safely(self.show)
        if shown:
            self._plot.show(shown[0])
            self._say(html.escape(shown[1]))
            if self.sound:                          # the same sound again: the player is left alone
                self._player.value = self._safely(lambda: player(*self.sound(self._result))) or ""
        self._took = time.perf_counter() - started

    def _safely(self, function, *args, **values):
        try:
            return function(*args, **values)
        except Exception as error:                  # shown inside, so that the page goes on
            last = traceback.extract_tb(error.__traceback__)[-1]
            self._say("<b>This setting failed.</b> " + html.escape(
                f"{type(error).__name__}: {error} ({Path(last.filename).name}, "
                f"line {last.lineno}: {last.line}). Move a control to go on."))

    def _say(self, words):
        self._words.value = f'<p role="status" aria-live="polite" class="course-says">{words}</p>'

    def _repr_mimebundle_(self, **_):
        bundle = self.widget()._repr_mimebundle_()
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
        figure = self.static()
        return data | {PLOTLY: figure.json(), "text/plain": figure.alt}

    def __repr__(self):
        return self.show()[1]


def player(name, samples, rate):
    """A sound as a player that keys reach, the sound in it (WAV, 16 bits, one channel).

    name: what is heard; samples: (T,) between -1 and 1, cut off beyond; rate: samples per second.
    """
    whole = (samples.clamp(-1, 1) * 32767).round().short()
    with io.BytesIO() as file:
        with wave.open(file, "wb") as out:
            out.setnchannels(1), out.setsampwidth(2), out.setframerate(rate)
            out.writeframes(whole.cpu().numpy().astype("<i2").tobytes())
        data = base64.b64encode(file.getvalue()).decode()
    return (f'<audio controls tabindex="0" aria-label="Play: {html.escape(name)}" '
            f'style="height: 32px" src="data:audio/wav;base64,{data}"></audio>')


def _wrap(words, width):
    import textwrap
    return "<br>".join(textwrap.wrap(words, width))


def _stations(control):
    if control["kind"] == "slider":
        return [control["low"], control["value"], control["high"]]
    if control["kind"] == "choice":
        return control["options"]
    if control["kind"] == "switch":
        return [False, True]
    return [control["value"], *control["examples"]]


def _control(w, control):
    wide = {"description_width": "initial"}
    kind, label = control["kind"], control["label"]
    if kind == "slider":
        whole = all(isinstance(control[k], int) for k in ("low", "high", "step"))
        make = w.IntSlider if whole else w.FloatSlider
        return make(min=control["low"], max=control["high"], step=control["step"],
                    value=control["value"], description=label, style=wide)
    if kind == "choice":
        return w.Dropdown(options=control["options"], value=control["value"], description=label,
                          style=wide)
    if kind == "switch":
        return w.Checkbox(value=control["value"], description=label, indent=False)
    return w.Text(value=control["value"], description=label, style=wide, continuous_update=False)
