// Formulas: Sphinx leaves TeX in elements of the class "math", and KaTeX
// draws it. Loaded deferred, so the page is parsed when this runs.
window.vitMath = {
  /** Draw the formulas below an element that are not drawn yet. */
  render(root) {
    root.querySelectorAll(".math:not(:has(.katex))").forEach((box) => {
      const tex = box.textContent.trim().slice(2, -2); // without \( and \)
      const displayMode = box.matches("div");
      katex.render(tex, box, { displayMode, throwOnError: false });
    });
  },
};

vitMath.render(document);
