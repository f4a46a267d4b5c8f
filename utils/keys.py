"""Arrow keys for the controls of a widget, not for the notebook or the slides around it."""
import anywidget

# Lab's shortcuts spare an element that says so itself; it is told so when it gets the focus.
SPARE_KEYS = """
function spareKeys(el) {
  let home = null, frame = 0;
  const spare = (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true");
  const leave = (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation(); event.target.blur();
    event.currentTarget.closest(".jp-Notebook")?.focus();
  };
  const settle = () => {                        // drawn before it is put on the page: wait
    home = el.closest(".course-controls");
    if (!home) { frame = requestAnimationFrame(settle); return; }
    home.addEventListener("focusin", spare);
    home.addEventListener("keydown", leave);
  };
  settle();
  return () => { cancelAnimationFrame(frame); home?.removeEventListener("focusin", spare);
    home?.removeEventListener("keydown", leave); };
}
"""


class Keys(anywidget.AnyWidget):
    """Put it into a box of class "course-controls": Escape then leaves the box."""

    _esm = SPARE_KEYS + """
export default { render({ el }) { el.style.display = "none"; return spareKeys(el); } };
"""
