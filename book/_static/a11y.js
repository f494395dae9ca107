// Sphinx marks the words that were searched for, and asks for the box of the
// element they stand in; a diagram's hidden title and description have none.
SVGElement.prototype.getBBox ??= () => new DOMRect();

// Names and landmarks that the theme leaves out, for screen readers, and what
// its buttons do.
document.addEventListener("DOMContentLoaded", () => {
  const each = (selector, change) =>
    document.querySelectorAll(selector).forEach(change);

  // A button's name must begin with the text that it shows.
  each("button.search-button-field", (button) =>
    button.removeAttribute("aria-label"));
  each("button.theme-switch-button i", (icon) => {
    icon.removeAttribute("title");
    icon.setAttribute("aria-hidden", "true");
  });
  each("details > summary[aria-label]", (summary) =>
    summary.removeAttribute("aria-label"));

  // Code, tables and equations that scroll can be reached by keyboard; what
  // scrolls changes with the width, the fonts and what is unfolded.
  const scrollers = "div.highlight pre, .pst-scrollable-table-container, " +
    ".cell_output pre, div.cell_output, .vit-scroll, div.math, " +
    ".katex-display";
  const reach = () => each(scrollers, (box) => {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
  reach();
  addEventListener("load", reach);
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);

  // Icons say nothing of their own.
  each("i.fas, i.fab, i.fa-solid, span.fa-solid", (icon) =>
    icon.setAttribute("aria-hidden", "true"));

  // What the theme writes into its buttons, and the page's policy forbids.
  const click = (selector, act) =>
    each(selector, (button) => button.addEventListener("click", act));
  click(".btn-fullscreen-button", () => window.toggleFullScreen());
  click(".btn-download-pdf-button", () => window.print());

  // The entries of the bibliography are items of its list.
  each('[role="doc-biblioentry"]', (entry) =>
    entry.setAttribute("role", "listitem"));

  // The empty corner of a table is no heading.
  each("thead th", (heading) => {
    if (heading.textContent.trim()) return;
    const cell = document.createElement("td");
    cell.className = heading.className;
    heading.replaceWith(cell);
  });

  // All content lies in a landmark.
  each(".bd-sidebar-primary .sidebar-primary-items__start", (items) => {
    const logo = items.querySelector(".navbar-brand");
    if (!logo) return;
    logo.parentElement.setAttribute("role", "navigation");
    logo.parentElement.setAttribute("aria-label", "Home");
  });
});
