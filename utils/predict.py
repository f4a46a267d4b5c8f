"""A prediction, locked before the result is seen and shown beside it afterwards."""
import html

from .show import say

_answers, _asked, _open = {}, {}, {}            # each by the prediction's name


def predict(name, question, options):
    """Ask before the experiment: choose with the arrow keys, then lock your answer in.

    name: such as "05.p1"; options: a list of texts. Without an answer the page still runs.
    """
    options = [str(option) for option in options]
    if len(set(options)) != len(options) or len(options) < 2:
        raise ValueError(f"a prediction needs two or more different options, got {options}")
    _asked[name] = options
    _answers.pop(name, None)
    return Prediction(name, question, options)


def reveal(name, truth, text=""):
    """Close prediction `name` and set the answer given beside the truth."""
    if name not in _asked:
        raise KeyError(f"no prediction {name!r}: run the cell with predict({name!r}, ...) first")
    if str(truth) not in _asked[name]:
        raise ValueError(f"{truth!r} is none of the options {_asked[name]}")
    said = _answers.get(name)
    if name in _open:
        _open.pop(name)(str(truth))
    given = ("You made no prediction." if said is None else
             f"You predicted {said!r}: " + ("right." if said == str(truth) else "not so."))
    say(f"Measured: {truth}. {given}", *([text] if text else []))


class Prediction:
    """One question as radio buttons and a button that locks the choice."""

    def __init__(self, name, question, options):
        self.name, self.question, self.options = name, question, options

    def lock(self, option):
        """Keep `option` as the answer; the first one stands."""
        if option not in self.options:
            raise ValueError(f"{option!r} is none of the options {self.options}")
        _answers.setdefault(self.name, option)

    def widget(self):
        """The controls, as an ipywidgets box."""
        import ipywidgets as w

        from .keys import Keys
        text = w.HTML(f"<b>Predict.</b> {html.escape(self.question)}")
        wide = w.Layout(width="auto", height="auto")
        radio = w.RadioButtons(options=self.options, index=None, layout=wide)
        radio.add_class("course-predict")
        button = w.Button(description="Lock in", disabled=True)
        state = w.HTML("")

        def chosen(change):
            button.disabled = change["new"] is None or radio.disabled

        def locked(_):
            self.lock(radio.value)
            radio.disabled = button.disabled = True
            state.value = f'<span role="status">Locked: {html.escape(radio.value)}. Run on.</span>'

        def closed(truth):
            radio.disabled = button.disabled = True
            said = _answers.get(self.name)
            word = "no prediction" if said is None else "right" if said == truth else "not so"
            state.value = (f'<span role="status">Measured: {html.escape(truth)} '
                           f'({word}).</span>')

        radio.observe(chosen, "value")
        button.on_click(locked)
        _open[self.name] = closed
        first = self.name == next(iter(_asked))             # one Keys serves the whole page
        box = w.VBox([text, radio, w.HBox([button, state]), *([Keys()] if first else [])])
        box.add_class("course-controls")
        return box

    def _repr_mimebundle_(self, **_):
        bundle = self.widget()._repr_mimebundle_()
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
        items = "".join(f"<li>{html.escape(option)}</li>" for option in self.options)
        return data | {"text/html": f"<b>Predict.</b> {html.escape(self.question)}<ul>{items}</ul>",
                       "text/plain": repr(self)}

    def __repr__(self):
        return f"Predict. {self.question} [{' | '.join(self.options)}]"
