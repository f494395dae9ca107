// Finds the figures that come alive, and loads what a widget needs when its
// figure is near the screen. A cell with the tag `widget-attention-05` gets
// attention.js and data/attention-05.js. The printed figure stays for paper
// and for pages without scripts.
window.vitWidgets = { kinds: {}, data: {} };

(() => {
  const vit = window.vitWidgets;
  const folder = new URL(".", document.currentScript.src);
  const loaded = {};

  /** Add an element that loads a file, once; a promise of its arrival. */
  const load = (tag, attribute, file, more = {}) => {
    loaded[file] ??= new Promise((done, failed) => {
      const element = Object.assign(document.createElement(tag), more);
      element.onload = done;
      element.onerror = () => failed(new Error(`${file} was not loaded`));
      element[attribute] = new URL(file, folder).href;
      document.head.append(element);
    });
    return loaded[file];
  };
  const script = (file) => load("script", "src", file);

  /** Put the widget that a cell's tag names in the place of its figure. */
  const mount = async (cell) => {
    const name = cell.className.match(/tag_widget-([\w-]+)/)[1];
    const kind = name.split("-")[0];
    await load("link", "href", "widgets.css", { rel: "stylesheet" });
    await script("base.js");
    await Promise.all([script(`${kind}.js`), script(`data/${name}.js`)]);
    const data = vit.data[name];
    const arrays = data.packed ? await vit.unpack(data) : {};
    const box = vit.make("section", { className: "vit-widget" });
    vit.kinds[kind](box, data, arrays);
    cell.append(box);
    cell.classList.add("vit-live");
  };

  document.addEventListener("DOMContentLoaded", () => {
    const watch = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watch.unobserve(target);
        mount(target).catch((error) => console.warn(error.message));
      }
    }, { rootMargin: "600px" });
    document.querySelectorAll('[class*="tag_widget-"]')
      .forEach((cell) => watch.observe(cell));
  });
})();
