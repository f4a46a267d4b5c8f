"""A training run to look at while it runs: loss, a sample, speed, time left; pause and stop."""
import html
import time

from .show import PLOTLY, Figure, axis, layout, numbers, style
from .training import Watcher

POINTS = 200            # of the training loss drawn: more is a smear
SECONDS = 0.4           # between two drawings


class Monitor(Watcher):
    """Give it to fit(watch=...) in a notebook: it shows itself at the first step.

    steps: of the recipe. baseline: {name: nats per token} drawn as level lines. height: of the
    figure, in pixels. The buttons act while the cell runs: JupyterLab from 4.4 and ipykernel from
    7.0 take them on a thread of their own.
    """

    def __init__(self, steps, baseline=None, height=250):
        self.steps, self.baseline, self.height = steps, baseline or {}, height
        self.rows, self.text = [], ""
        self.paused = self.stopped = False
        self._box = self._handle = None
        self._drawn = 0.0

    def __call__(self, row, text=None):
        self.rows.append(row)
        self.text = text or self.text
        if self._handle is None:
            self._show()
        elif text is not None or time.monotonic() - self._drawn > SECONDS:
            self.draw()

    def finished(self):
        """Leave the last state in the page, also for when no kernel runs."""
        if self._handle is None:
            return
        self.draw()
        self._pause.disabled = self._stop.disabled = True
        self._handle.update(self._bundle(), raw=True)

    # ---- what is shown -------------------------------------------------------------------

    def describe(self):
        """Where the run stands, as one sentence."""
        row = self.rows[-1]
        seen = [r for r in self.rows if r.get("val") is not None]
        val = f", validation {seen[-1]['val']:.3f} at step {seen[-1]['step']}" if seen else ""
        left = row["seconds"] / row["step"] * (self.steps - row["step"])
        state = "Stopped" if self.stopped else "Paused" if self.paused else \
            "Done" if row["step"] == self.steps else "Training"
        speed = f"{row['tokens_per_second']:,.0f} tokens/s, {row['memory_mb']:,.0f} MB"
        return (f"{state}: step {row['step']} of {self.steps}, loss {row['loss']:.3f}{val} nats "
                f"per token, {speed}, about {left:.0f} s left.")

    def figure(self):
        """Training and validation loss by step."""
        every = max(1, len(self.rows) // POINTS)
        means = [self.rows[i:i + every] for i in range(0, len(self.rows), every)]
        seen = [r for r in self.rows if r.get("val") is not None]
        data = [_curve("training", [part[-1]["step"] for part in means],
                       [sum(r["loss"] for r in part) / len(part) for part in means], 5, "lines")]
        if seen:
            data.append(_curve("validation", [r["step"] for r in seen],
                               [r["val"] for r in seen], 1, "lines+markers"))
        for i, (name, level) in enumerate(self.baseline.items()):
            data.append(_curve(name, [0, self.steps], [level, level], 2 + i, "lines"))
        shape = layout(self.title(seen), "step", "loss (nats per token)", self.height,
                       showlegend=True)
        shape["xaxis"] = axis("step", range=[0, self.steps])
        return Figure(data, shape, self.describe())

    def title(self, seen):
        if not seen:
            return "The loss so far"
        low = min(seen, key=lambda r: r["val"])
        return f"Lowest validation loss {low['val']:.2f} nats, at step {low['step']}"

    def widget(self):
        """The live view, as an ipywidgets box (made once)."""
        if self._box is None:
            import ipywidgets as w

            from .plot import Plot
            self._plot, self._words, self._sample = Plot(), w.HTML(), w.HTML()
            self._pause = w.Button(description="Pause")
            self._stop = w.Button(description="Stop and keep")
            self._pause.on_click(self._toggle)
            self._stop.on_click(self._end)
            self._box = w.VBox([w.HBox([self._pause, self._stop]), self._plot, self._words,
                                self._sample])
            self._box.add_class("course-monitor")
            self._box.add_class("course-controls")
        return self._box

    def draw(self):
        """Bring the live view up to date."""
        self._drawn = time.monotonic()
        self._plot.show(self.figure())
        self._words.value = f'<p role="status">{html.escape(self.describe())}</p>'
        if self.text:
            line = " / ".join(self.text.splitlines())
            self._sample.value = f"<p>It writes: <code>{html.escape(line)}</code></p>"

    def _toggle(self, _):
        self.paused = not self.paused
        self._pause.description = "Go on" if self.paused else "Pause"
        self.draw()

    def _end(self, _):
        self.stopped = True
        self._stop.description = "Stopping"

    def _show(self):
        from IPython import get_ipython
        from IPython.display import display
        if get_ipython() is None:
            raise RuntimeError("a Monitor shows itself in a notebook; elsewhere use "
                               "utils.train.Printer")
        self.widget()
        self.draw()
        self._handle = display(self._bundle(), raw=True, display_id=True)
        # ipykernel 7.4 answers a widget on the thread that last spoke through it: here the one
        # that trains, which listens only when it is done. Forget it, and the click comes at once.
        for button in (self._pause, self._stop):
            vars(button.comm or self).pop("_reply_subshell_id", None)

    def _bundle(self):
        bundle = self.widget()._repr_mimebundle_()
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
        figure = self.figure()
        return data | {PLOTLY: figure.json(), "text/plain": figure.alt}


def _curve(name, x, y, i, mode):
    return {"type": "scatter", "name": name, "x": numbers(x), "y": numbers(y), "mode": mode,
            **style(i)}
