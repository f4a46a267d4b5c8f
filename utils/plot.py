"""A plotly figure as a light widget: its JSON travels, the page's own plotly.js draws it.

go.FigureWidget sends 5 MB of library with every instance; this sends some kilobytes.
"""
import anywidget
import traitlets

from .keys import SPARE_KEYS

ESM = SPARE_KEYS + """
async function plotly(model) {
  if (window.Plotly) return window.Plotly;
  window.__coursePlotly ??= new Promise((ok, fail) => {
    model.on("msg:custom", (message, buffers) => {
      if (!message.plotlyjs || window.Plotly) return;
      const script = document.createElement("script");
      script.src = URL.createObjectURL(new Blob([buffers[0]], { type: "text/javascript" }));
      script.onload = ok; script.onerror = fail; document.head.append(script);
    });
    const ask = () => window.Plotly || model.send({ need: "plotlyjs" });
    ask();
    setTimeout(ask, 3000);          // the first may have been asked too early, of a busy kernel
  });
  await window.__coursePlotly;
  return window.Plotly;
}

export default { async render({ model, el }) {
  const div = document.createElement("div");
  div.style.width = "100%";
  el.append(div);
  const Plotly = await plotly(model), live = model.get("interactive");
  div.setAttribute("role", live ? "application" : "img");
  if (live) {
    div.tabIndex = 0;
    div.style.touchAction = "none";
    div.setAttribute("aria-roledescription", "plot that takes arrow keys");
  }
  const draw = async () => {
    const figure = model.get("figure");
    div.setAttribute("aria-label", model.get("alt"));
    div.style.height = `${figure.layout.height ?? 300}px`;  // two resizes at once lose it
    const mode = live ? { dragmode: false } : {};
    await Plotly.react(div, figure.data, { ...figure.layout, ...mode, autosize: true },
      { responsive: true, displayModeBar: false });
    div.dataset.drawn = String(Number(div.dataset.drawn ?? 0) + 1);
  };
  await draw();
  model.on("change:figure", draw);

  const tell = (content) => model.send(content);
  const where = (event) => {
    const axes = div._fullLayout, box = div.querySelector(".nsewdrag").getBoundingClientRect();
    return { x: axes.xaxis.p2d(event.clientX - box.left),
      y: axes.yaxis.p2d(event.clientY - box.top) };
  };
  let held = false, sent = 0;
  if (live) {
    div.addEventListener("keydown", (event) => {
      if (!/^(Arrow(Left|Right|Up|Down)|Enter| )$/.test(event.key)) return;
      event.preventDefault(); event.stopPropagation();
      tell({ key: event.key === " " ? "Enter" : event.key });
    });
    div.addEventListener("pointerdown", (event) => {
      if (!event.target.closest(".nsewdrag, .plot-container")) return;
      held = true; div.focus(); tell({ pointer: "down", ...where(event) });
    }, true);
    window.addEventListener("pointermove", (event) => {
      if (!held || event.timeStamp - sent < 60) return;
      sent = event.timeStamp; tell({ pointer: "move", ...where(event) });
    });
    window.addEventListener("pointerup", (event) => {
      if (held) tell({ pointer: "up", ...where(event) });
      held = false;
    });
  }
  const resize = new ResizeObserver(() => div.offsetWidth && Plotly.Plots.resize(div));
  resize.observe(el);
  spareKeys();
  return () => { resize.disconnect(); Plotly.purge(div); };
} };
"""


class Plot(anywidget.AnyWidget):
    """figure: plotly JSON; alt: its words; interactive: takes arrow keys, Enter and dragging.

    on_key(name) and on_pointer(kind, x, y) are called with what the reader does (data units).
    """

    _esm = ESM
    figure = traitlets.Dict().tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    interactive = traitlets.Bool(False).tag(sync=True)

    def __init__(self, on_key=None, on_pointer=None, **traits):
        super().__init__(interactive=bool(on_key or on_pointer), **traits)
        self._on_key, self._on_pointer = on_key, on_pointer
        self.on_msg(self._heard)

    def show(self, figure):
        """Draw a utils.show.Figure."""
        self.alt = figure.alt
        self.figure = figure.json()

    def _heard(self, _, content, buffers):
        if content.get("need") == "plotlyjs":
            from plotly.offline import get_plotlyjs
            self.send({"plotlyjs": True}, [get_plotlyjs().encode()])
        elif "key" in content and self._on_key:
            self._on_key(content["key"])
        elif "pointer" in content and self._on_pointer:
            self._on_pointer(content["pointer"], content["x"], content["y"])
