"""What a page shows: sentences, predictions, and figures that say their finding in words too."""
import html
import textwrap

INK, GRID = "#333333", "#dddddd"
# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/ : told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")
PLOTLY = "application/vnd.plotly.v1+json"


def say(*sentences):
    """Print sentences, wrapped to the width of a slide (84 characters)."""
    for sentence in sentences:
        print(textwrap.fill(str(sentence), 84))


class Figure:
    """A plotly figure as plain data, with the words that replace it for who cannot see it.

    data, layout: as plotly.js takes them. alt: the finding first, then axes and series.
    """

    def __init__(self, data, layout, alt):
        self.data, self.layout, self.alt = data, layout, alt

    def json(self):
        """The figure as one JSON-ready dict."""
        return {"data": self.data, "layout": self.layout, "config": {"displayModeBar": False}}

    def table(self):
        """Every number behind the figure, as rows (series, x, y)."""
        rows = []
        for trace in self.data:
            name = trace.get("name", "")
            if "z" in trace and trace["type"] == "heatmap":
                rows += [(name, f"{row}, {col}", value)
                         for row, line in zip(trace["y"], trace["z"])
                         for col, value in zip(trace["x"], line)]
            else:
                rows += [(name, x, y) for x, y in zip(trace.get("x", ()), trace.get("y", ()))]
        return rows

    def _ipython_display_(self):
        from IPython.display import HTML, display
        display({PLOTLY: self.json(), "text/plain": self.alt}, raw=True)
        display(HTML(f"<details><summary>The figure in words</summary>{html.escape(self.alt)}"
                     "</details>"))

    def __repr__(self):
        return self.alt


def numbers(values, digits=4):
    """A tensor, array or list as nested lists of floats with so many significant digits.

    Rounded, because the last bits of a float differ between machines.
    """
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (list, tuple, range)):
        return [numbers(v, digits) for v in values]
    return float(f"{values:.{digits}g}") if isinstance(values, float) else values


def brief(value):
    """A number in few characters: three digits, no exponent below a million."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def axis(title, **more):
    """A plotly axis with its title and unit."""
    return {"title": {"text": title, "standoff": 6}, "gridcolor": GRID, "zerolinecolor": "#999999",
            "automargin": True, **more}


def layout(title, x="", y="", height=300, **more):
    """The house's plotly layout: 300 pixels high, the finding as title, axes with units."""
    base = {"title": {"text": textwrap.fill(title, 78).replace("\n", "<br>"), "x": 0.02,
                      "font": {"size": 15}},
            "height": height, "margin": {"l": 60, "r": 20, "t": 44, "b": 50},
            "font": {"size": 13, "color": INK}, "plot_bgcolor": "#ffffff",
            "paper_bgcolor": "#ffffff", "xaxis": axis(x), "yaxis": axis(y),
            "legend": {"orientation": "v"}, "hovermode": "closest"}
    return base | more


def style(i):
    """Colour, dash and marker of series i: two of them always tell two series apart."""
    i = i % len(COLOURS)
    return {"line": {"color": COLOURS[i], "dash": DASHES[i], "width": 2},
            "marker": {"color": COLOURS[i], "symbol": SYMBOLS[i], "size": 7}}


def lines(series, x, y, title, first=0, xs=None, alt=None, height=300, **axes):
    """Curves over one axis.

    series: {name: (T,) values}; x, y: axis titles with their unit; xs: (T,) positions, else
    first, first + 1, ...; axes: plotly settings, as in xaxis_type="log".
    """
    data = []
    for i, (name, values) in enumerate(series.items()):
        values = numbers(values)
        at = numbers(xs) if xs is not None else [first + t for t in range(len(values))]
        data.append({"type": "scatter", "name": name, "x": at, "y": values, **style(i),
                     "mode": "lines+markers" if len(values) <= 40 else "lines"})
    shape = layout(title, x, y, height, showlegend=len(series) > 1)
    words = alt or f"{title}. Horizontal: {x}. Vertical: {y}. Curves: {', '.join(series)}."
    return Figure(data, with_axes(shape, axes), words)


def bars(values, y, title, x="", alt=None, height=300, **axes):
    """Bars with their value written on them.

    values: {label: number}, or {series: {label: number}} for groups side by side.
    """
    groups = values if isinstance(next(iter(values.values())), dict) else {"": values}
    data = []
    for i, (name, group) in enumerate(groups.items()):
        heights = numbers(list(group.values()), 3)
        data.append({"type": "bar", "name": name, "x": [str(k) for k in group], "y": heights,
                     "text": [brief(h) for h in heights], "textposition": "outside",
                     "cliponaxis": False,
                     "marker": {"color": COLOURS[i], "pattern": {"shape": ("", "/", ".", "x")[i]}}})
    shape = layout(title, x, y, height, showlegend=len(groups) > 1, barmode="group")
    shape["xaxis"]["type"] = "category"
    what = "; ".join(f"{name} {k}: {brief(v)}".strip() for name, group in groups.items()
                     for k, v in list(group.items())[:12])
    return Figure(data, with_axes(shape, axes), alt or f"{title}. Vertical: {y}. {what}.")


def heat(matrix, title, rows=None, columns=None, x="", y="", digits=2, alt=None, height=300,
         **axes):
    """A matrix as a grid; up to 150 cells carry their number.

    matrix: (R, C) numbers; rows, columns: names of its rows and columns.
    """
    z = numbers(matrix)
    rows = list(rows) if rows is not None else list(range(len(z)))
    columns = list(columns) if columns is not None else list(range(len(z[0])))
    cells = len(rows) * len(columns)
    gap = int(max(len(rows), len(columns)) <= 60)       # lines between more would hide the cells
    trace = {"type": "heatmap", "z": z, "x": columns, "y": rows, "colorscale": "Cividis",
             "xgap": gap, "ygap": gap, "hoverongaps": False}
    if cells <= 150:
        trace |= {"text": [["" if v is None else f"{v:.{digits}f}" for v in row] for row in z],
                  "texttemplate": "%{text}"}
    shape = layout(title, x, y, height)
    for side, names in (("xaxis", columns), ("yaxis", rows)):
        kind = "category" if isinstance(names[0], str) else "linear"
        shape[side] |= {"type": kind, "showgrid": False, "zeroline": False}
        if len(names) <= 16:
            shape[side] |= {"tickmode": "array", "tickvals": names}
    shape["yaxis"]["autorange"] = "reversed"
    flat = [v for row in z for v in row if v is not None]
    words = alt or (f"{title}. A grid of {len(rows)} rows ({y}) and {len(columns)} columns ({x}), "
                    f"from {min(flat):.3g} to {max(flat):.3g}.")
    return Figure([trace], with_axes(shape, axes), words)


def notice(title, words, height=300):
    """A figure that only says words: what stands where nothing can be drawn."""
    shape = layout(title, height=height)
    shape["xaxis"]["visible"] = shape["yaxis"]["visible"] = False
    return Figure([{"type": "scatter", "x": [0], "y": [0], "mode": "text", "text": [words]}],
                  shape, "")


def points(groups, x, y, title, labels=None, alt=None, height=300, **axes):
    """Points in a plane or in space, in groups told apart by colour and symbol.

    groups: {name: (n, 2) or (n, 3) coordinates}; labels: {name: n texts} written beside them.
    """
    data = []
    for i, (name, where) in enumerate(groups.items()):
        columns = list(zip(*numbers(where)))
        trace = {"type": "scatter3d" if len(columns) == 3 else "scatter", "name": name,
                 "mode": "markers+text" if labels else "markers", "marker": style(i)["marker"],
                 "textposition": "top center", **dict(zip("xyz", map(list, columns)))}
        if labels:
            trace["text"] = list(labels[name])
        data.append(trace)
    shape = layout(title, x, y, height, showlegend=len(groups) > 1)
    words = alt or f"{title}. Horizontal: {x}. Vertical: {y}. Groups: {', '.join(groups)}."
    return Figure(data, with_axes(shape, axes), words)


def with_axes(shape, axes):
    """Add settings such as yaxis_range=[0, 1] to a layout."""
    for name, value in axes.items():
        part, _, key = name.partition("_")
        if not key:
            raise TypeError(f"unknown setting {name!r}: write it as xaxis_type or yaxis_range")
        shape.setdefault(part, {})[key] = value
    return shape
