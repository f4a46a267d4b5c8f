"""A throw-away JupyterLab and a page in it, driven as a reader and a teacher would."""
import ast
import json
import os
import time
import urllib.request
from contextlib import contextmanager

from playwright.sync_api import sync_playwright

from utils import browser, lab

APP = "window.jupyterapp"
CELLS = f"{APP}.shell.currentWidget.content.widgets"
READY = (f"() => {APP}?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle' "
         f"&& {APP}.shell.currentWidget.content?.widgets?.length > 1")
IDLE = f"i => {CELLS}[i].model.executionState === 'idle' && {CELLS}[i].model.executionCount"
FAILED = (f"i => {CELLS}[i].model.sharedModel.getOutputs().filter(o => o.output_type === 'error')"
          ".map(o => `${o.ename}: ${o.evalue}`)[0]")
# Lab's own slip when slides take cells that its scrolling list has let go: not ours, harmless.
FOREIGN = "Cannot read properties of null (reading 'observe')"
# What is on the slide: how many cells show, what leaves the screen, what is cut or scrolls.
SLIDE = """() => {
  const cells = [...document.querySelectorAll('.jp-Deck .jp-Cell.jp-deck-mod-visible')], bad = [];
  let ink = 0;
  for (const cell of cells) {
    const box = cell.getBoundingClientRect(), name = cell.innerText.slice(0, 40);
    ink += cell.innerText.trim().length + cell.querySelectorAll('svg, img').length;
    if (box.top < -1 || box.bottom > innerHeight + 1) bad.push(`cut off: ${name}`);
    for (const part of cell.querySelectorAll(
        '.cm-scroller, .jp-OutputArea-output, .jp-RenderedHTMLCommon'))
      if (part.scrollWidth > part.clientWidth + 1 || part.scrollHeight > part.clientHeight + 2
          && getComputedStyle(part).overflowY !== 'visible') bad.push(`scrolls: ${name}`);
  }
  return { ink, bad, active: window.jupyterapp.shell.currentWidget.content.activeCellIndex };
}"""


@contextmanager
def jupyter(folder):
    """JupyterLab with settings, workspaces and progress in `folder`; yields its opener."""
    for name, place in {"JUPYTER_CONFIG_DIR": "config", "IPYTHONDIR": "ipython",
                        "COURSE_PROGRESS": "progress.json"}.items():
        os.environ[name] = str(folder / place)
    manager = folder / "settings" / "@jupyterlab" / "docmanager-extension"
    manager.mkdir(parents=True)
    (manager / "plugin.jupyterlab-settings").write_text('{"autosave": false}', encoding="utf-8")
    with sync_playwright() as playwright, lab.server(
            "--LabApp.expose_app_in_browser=True",
            f"--LabApp.user_settings_dir={folder / 'settings'}",
            f"--LabApp.workspaces_dir={folder / 'workspaces'}") as (url, token, _):
        chromium = browser.launch(playwright)
        yield Opener(chromium, url, token)
        chromium.close()


class Opener:
    """Opens notebooks, each in a fresh browser context."""

    def __init__(self, chromium, url, token):
        self.chromium, self.url, self.token = chromium, url, token

    @contextmanager
    def notebook(self, path, zoom=1.0, size=(1280, 720)):
        """A page on one notebook; zoom: the browser's, which shrinks the page's own pixels."""
        context = self.chromium.new_context(device_scale_factor=zoom, viewport={
            "width": int(size[0] / zoom), "height": int(size[1] / zoom)})
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.troubles = []
        page.on("console", lambda m: m.type == "error" and page.troubles.append(m.text[:300]))
        page.on("pageerror", lambda e: FOREIGN not in str(e) and page.troubles.append(
            str(e.stack or e)[:900]))
        started = time.perf_counter()
        page.goto(f"{self.url}lab/tree/{path}?reset&token={self.token}")
        page.wait_for_function(READY)
        page.seconds_to_open = time.perf_counter() - started
        try:
            yield page
        finally:
            context.close()
            self.end_kernels()

    def end_kernels(self):
        """Ask the server itself: a page can wait for ever for its own kernel to end."""
        for session in self._ask("api/sessions"):
            self._ask(f"api/sessions/{session['id']}", "DELETE")

    def _ask(self, path, method="GET"):
        request = urllib.request.Request(self.url + path, method=method,
                                         headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or "[]")


def opened(page, path):
    """Open another notebook in the Lab that is there, as a click on its name would."""
    page.evaluate("async path => { await window.jupyterapp.commands.execute("
                  "'docmanager:open', { path }); }", path)
    page.wait_for_function(f"path => {APP}.shell.currentWidget.context?.path === path", arg=path)
    page.wait_for_function(READY)


def activate(page, cell):
    """Make a cell (its index) the active one, and scroll to it: Lab hides what is far away."""
    page.evaluate(f"async i => {{ const n = {APP}.shell.currentWidget.content; "
                  "n.activeCellIndex = i; await n.scrollToItem(i, 'start').catch(() => 0); }", cell)


class Unanswered(AssertionError):
    """Lab took a command and never came back."""


def command(page, name, limit=240):
    """Run one of Lab's commands and wait for it, `limit` seconds at most."""
    answered = page.evaluate(
        f"limit => Promise.race([{APP}.commands.execute('{name}').then(() => true),"
        " new Promise(late => setTimeout(late, limit, false))])", 1000 * limit)
    if not answered:
        states = page.evaluate(f"() => {CELLS}.map(c => c.model.executionState ?? '-').join(' ')")
        raise Unanswered(f"{name} gave no answer in {limit} s; cells: {states}")


def insisting(run):
    """Do it on a fresh kernel once more if an answer gets lost.

    ipykernel 7.0 to 7.3 lost one in some fifty starts (its issue 1554), and JupyterLab's own tests
    see others (its issue 19722). A reader would restart the kernel, and so do we, aloud.
    """
    def run_again(page, *args):
        try:
            return run(page, *args)
        except Unanswered as lost:
            print(f"once more on a fresh kernel: {lost}")
            page.evaluate(f"() => {APP}.shell.currentWidget.sessionContext.restartKernel()"
                          ".then(() => 0)")
            page.wait_for_function(READY)
            return run(page, *args)
    return run_again


def names(source):
    """The names that a cell reads from elsewhere, and those that it gives to later cells."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    bound |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    bound |= {(n.asname or n.name).split(".")[0] for n in nodes if isinstance(n, ast.alias)}
    read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return read, bound


def controls(sources):
    """Which code cells (index to source) show a control, with the cells they need before them."""
    chosen, wanted = [], set()
    for i, source in sorted(sources.items(), reverse=True):
        read, bound = names(source)
        if "predict(" in source or "from utils.explorers" in source or bound & wanted:
            chosen.insert(0, i)
            wanted |= read
    return chosen


@insisting
def run_controls(page):
    """Bring predictions and explorers to life; all else shows the results in the file.

    nbval runs every cell. Here each slide must fit as it looks when its controls are live.
    """
    sources = page.evaluate(f"() => {CELLS}.map(c => c.model.type === 'code' "
                            "? c.model.sharedModel.source : null)")
    for i in controls({i: source for i, source in enumerate(sources) if source is not None}):
        activate(page, i)
        command(page, "notebook:run-cell")
        page.wait_for_function(IDLE, arg=i, timeout=240_000)
        assert not page.evaluate(FAILED, i), f"cell {i}: {page.evaluate(FAILED, i)}"
    page.wait_for_timeout(1500)


@insisting
def run_until(page, word):
    """Run cells from the top to the first whose source contains `word`; returns its index."""
    at = page.evaluate(f"word => {CELLS}.findIndex(c => c.model.sharedModel.source.includes(word))",
                       word)
    assert at >= 0, f"no cell contains {word!r}"
    activate(page, at)
    command(page, "notebook:run-all-above", 60)
    activate(page, at)
    command(page, "notebook:run-cell", 60)
    return at
