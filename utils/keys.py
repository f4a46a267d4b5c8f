"""Arrow keys for the controls of a widget, not for the notebook or the slides around it."""
import anywidget

# Lab's shortcuts spare an element that says so itself: it is told so when it gets the focus.
SPARE_KEYS = """
function spareKeys() {                          // once a page, for all boxes of this class
  if (window.courseSparesKeys) return;
  window.courseSparesKeys = true;
  document.addEventListener("focusin", ({ target }) => target.closest(".course-controls")
    && target.setAttribute("data-lm-suppress-shortcuts", "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !event.target.closest(".course-controls")) return;
    event.stopPropagation(); event.target.blur();
    document.querySelector(".jp-mod-active.jp-Cell")?.focus();
  });
}
"""


class Keys(anywidget.AnyWidget):
    """Somewhere on a page: boxes of class "course-controls" keep their keys, Escape leaves them."""

    _esm = SPARE_KEYS + """
export default { render({ el }) { el.style.display = "none"; spareKeys(); } };
"""
