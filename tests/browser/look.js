// What the tests ask of an open page, in the page itself.
window.vitLook = (() => {
  const CONTROLS = "a[href], button, input, select, textarea, summary, " +
    "iframe, [tabindex], [contenteditable=true]";
  // In these the arrow keys lead from one control to the next.
  const COMPOSITE = ":is([role=grid], [role=radiogroup], [role=tablist], " +
    "[role=toolbar], [role=listbox], [role=menu], [role=tree], [role=group])";
  const MARKS = ["outline", "boxShadow", "backgroundColor", "color", "border",
    "textDecoration"];
  const shifts = [];
  let steps = new Map();
  let controls = [];
  let followed = false;

  new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
    if (!entry.hadRecentInput) shifts.push(entry);
  })).observe({ type: "layout-shift", buffered: true });

  const visible = (element) =>
    element.checkVisibility({ visibilityProperty: true }) &&
    element.getClientRects().length > 0 && !element.closest("[inert]");

  const scrolls = (element) => {
    const style = getComputedStyle(element);
    const can = (overflow) => overflow === "auto" || overflow === "scroll";
    return (can(style.overflowX) &&
        element.scrollWidth > element.clientWidth + 1) ||
      (can(style.overflowY) && element.scrollHeight > element.clientHeight + 1);
  };

  /** Say which element is meant: its tag, classes and first words. */
  const name = (element) => {
    const tag = element.cloneNode(false).outerHTML.slice(0, 90);
    return `${tag} ${element.textContent.trim().slice(0, 30)}`;
  };

  /** How an element and what it stands in look: a focus ring may be theirs. */
  const looks = (element) => {
    const found = [];
    for (let at = element; at && found.length < 3; at = at.parentElement) {
      const style = getComputedStyle(at);
      found.push(MARKS.map((mark) => style[mark]).join());
    }
    return found.join(" | ");
  };

  const groupOf = (element) => (element.type === "radio"
    ? [...document.getElementsByName(element.name)] : [element]);

  return {
    /** Follow the focus from now on; colours change at once. */
    follow() {
      document.activeElement.blur();
      getSelection().removeAllRanges();
      if (!followed) {
        followed = true;
        const style = new CSSStyleSheet();  // which a policy lets pass
        style.replaceSync("* { transition: none !important; " +
          "animation: none !important; scroll-behavior: auto !important; }");
        document.adoptedStyleSheets.push(style);
        document.addEventListener("focusin", ({ target }) => {
          steps.set(target, looks(target));
        });
      }
      steps = new Map();
      controls = [...document.querySelectorAll(CONTROLS)].filter(visible);
      scrollTo(0, 0);
      return document.querySelectorAll(CONTROLS).length + 50;
    },

    /** Whether Tab has led through the whole page and out of it: it may have
     *  begun in the middle. */
    left: () => document.activeElement === document.body &&
      steps.has(controls[0]),

    /** What Tab did not reach. */
    unreached() {
      const reached = [...steps.keys()];
      const boxes = [...document.body.querySelectorAll("*")]
        .filter((element) => scrolls(element) && visible(element));
      const missed = controls.filter((element) => {
        if (!visible(element) || element.disabled) return false;
        if (groupOf(element).some((each) => steps.has(each))) return false;
        if (element.tabIndex >= 0) return true;
        const box = element.closest(COMPOSITE);
        const native = !element.matches("[tabindex]") ||
          element.matches("a, button, input, select, textarea");
        return native && !(box && reached.some((each) => box.contains(each)));
      });
      return [...missed, ...boxes.filter((box) =>
        !reached.some((each) => box.contains(each)))].map(name);
    },

    /** What looks the same with the focus and without. */
    unmarked() {
      document.activeElement.blur();
      return [...steps].filter(([element, focused]) =>
        element.isConnected && focused === looks(element))
        .map(([element]) => name(element));
    },

    /** Pictures without a size, or loaded before they are near. */
    pictures() {
      return [...document.querySelectorAll("main article img")]
        .filter((image) => image.loading !== "lazy" ||
          !(image.hasAttribute("height") || image.style.width ||
            image.hasAttribute("width")))
        .map(name);
    },

    /** Formulas left as TeX or in error. */
    formulas() {
      const broken = [...document.querySelectorAll(".katex-error")];
      const left = [...document.querySelectorAll(".math")]
        .filter((box) => !box.querySelector(".katex"));
      return [...left, ...broken].map(name);
    },

    /** What reaches over the right edge, if the page scrolls sideways. */
    sideways() {
      if (document.documentElement.scrollWidth <= innerWidth) return [];
      const wide = [...document.querySelectorAll("main *")].filter((element) =>
        visible(element) && element.getBoundingClientRect().right > innerWidth);
      return [`${document.documentElement.scrollWidth} px`,
        ...wide.slice(0, 3).map(name)];
    },

    /** Keep one word of each kind in code, and one formula: their colours
     *  are checked once. */
    thin() {
      const seen = new Set();
      document.querySelectorAll(".highlight pre span").forEach((word) => {
        if (seen.has(word.className)) word.replaceWith(word.textContent);
        seen.add(word.className);
      });
      document.querySelectorAll(".highlight pre").forEach((box) =>
        box.normalize());
      [...document.querySelectorAll(".katex")].slice(1).forEach((formula) => {
        formula.textContent = "x";
      });
    },

    openAll() {
      document.querySelectorAll("details").forEach((box) => { box.open = true; });
    },

    paint: () => performance.getEntriesByName("first-contentful-paint")
      .map((entry) => entry.startTime)[0] ?? Infinity,

    shift: () => shifts.reduce((sum, entry) => sum + entry.value, 0),

    /** What moved most, to say with the number. */
    moved: () => [...shifts].sort((a, b) => b.value - a.value).slice(0, 2)
      .flatMap((entry) => entry.sources.slice(0, 2).map((source) =>
        (source.node?.nodeType === 1 ? name(source.node) : "text"))),
  };
})();
