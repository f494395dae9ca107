// What the widgets share: data, colours, maps, and controls that a keyboard,
// a finger and a screen reader can use.
(() => {
  const vit = window.vitWidgets;

  /** Give back the named arrays of bytes of a data file. */
  vit.unpack = async ({ packed, shapes }) => {
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream()
      .pipeThrough(new DecompressionStream("deflate"));
    const all = new Uint8Array(await new Response(stream).arrayBuffer());
    const arrays = {};
    let start = 0;
    for (const [name, shape] of Object.entries(shapes)) {
      const size = shape.reduce((a, b) => a * b, 1);
      arrays[name] = { shape, values: all.subarray(start, start + size) };
      start += size;
    }
    return arrays;
  };

  /** The part of an array at its first indices. */
  vit.at = ({ shape, values }, ...indices) => {
    const size = shape.slice(indices.length).reduce((a, b) => a * b, 1);
    const place = indices.reduce((sum, index, i) => sum * shape[i] + index, 0);
    return values.subarray(place * size, (place + 1) * size);
  };

  /** Make an element with properties and children. */
  vit.make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  /** Set an element's ARIA attributes; gives the element back. */
  vit.aria = (element, attributes) => {
    for (const [name, value] of Object.entries(attributes)) {
      element.setAttribute(name === "role" ? name : `aria-${name}`, value);
    }
    return element;
  };

  // Matplotlib's viridis, as in the figures, at 33 places from 0 to 1.
  const viridis =
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d" +
    "2f6b8e2c728e297a8e26828e23898e21918c1f988b1fa08822a78528ae8032b67a" +
    "3fbc734ec36b5ec96270cf5784d44b98d83eaddc30c2df23d8e219ece51bfde725";
  vit.viridis = viridis.match(/.{6}/g).map((colour) =>
    [0, 2, 4].map((i) => parseInt(colour.slice(i, i + 2), 16)));

  /** The colour [r, g, b] of a share from 0 to 1. */
  vit.colour = (share) => {
    const place = Math.min(Math.max(share, 0), 1) * (vit.viridis.length - 1);
    const low = Math.min(Math.floor(place), vit.viridis.length - 2);
    return vit.viridis[low].map((a, i) =>
      Math.round(a + (vit.viridis[low + 1][i] - a) * (place - low)));
  };

  /** Paint a map of rows x columns over an image, or over nothing. */
  vit.paint = (canvas, values, columns, [low, high], image) => {
    const rows = values.length / columns;
    const size = Math.max(1, Math.floor(448 / columns));
    canvas.width = columns * size;
    canvas.height = rows * size;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = !image || image.naturalWidth > 100;
    if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = image ? 0.6 : 1;
    values.forEach((value, n) => {
      const share = (value - low) / (high - low || 1);
      context.fillStyle = `rgb(${vit.colour(share).join(" ")})`;
      context.fillRect(
        (n % columns) * size, Math.floor(n / columns) * size, size, size);
    });
    context.globalAlpha = 1;
  };

  /** A promise of a picture from its data address. */
  vit.picture = async (address) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    return image;
  };

  /** A labelled choice; `change` gets the index of the option. */
  vit.select = (label, options, change) => {
    const list = vit.make("select", {
      onchange: () => change(list.selectedIndex),
    });
    vit.options(list, options);
    const box = vit.make("label", {}, `${label} `, list);
    return Object.assign(box, { list });
  };

  /** Replace a list's options. */
  vit.options = (list, options) => list.replaceChildren(
    ...options.map((text) => vit.make("option", { textContent: text })));

  /** A labelled slider over whole numbers from 0 to count - 1. */
  vit.slider = (label, count, start, change) => {
    const input = vit.make("input", { type: "range", min: 0, max: count - 1 });
    input.value = start;
    input.oninput = () => change(Number(input.value));
    return Object.assign(
      vit.make("label", { className: "vit-slider" }, `${label} `, input),
      { input });
  };

  /** A choice by buttons; `change` gets the index of the one pressed. */
  vit.buttons = (label, options, change) => {
    const press = (chosen) => {
      all.forEach((button, i) => vit.aria(button, { pressed: i === chosen }));
      change(chosen);
    };
    const all = options.map((text, i) => vit.make("button", {
      type: "button", textContent: text, onclick: () => press(i),
    }));
    const box = vit.make("div", { className: "vit-buttons" }, ...all);
    vit.aria(all[0], { pressed: true });
    all.slice(1).forEach((button) => vit.aria(button, { pressed: false }));
    return vit.aria(box, { role: "group", label });
  };

  /**
   * Buttons over a picture, one a place; one of them takes the focus, and
   * the arrow keys move it. `pick` gets the number of the place, `name` says
   * it in words.
   */
  vit.grid = (side, label, pick, name = (n) => vit.place(n, side)) => {
    const buttons = Array.from({ length: side * side }, (_, n) =>
      vit.aria(vit.make("button", {
        type: "button", tabIndex: -1,
        onclick: () => choose(n),
        onpointerenter: (event) => event.pointerType === "mouse" && choose(n),
      }), { label: name(n), pressed: false }));
    let chosen = 0;
    const choose = (n) => {
      const old = buttons[chosen];
      vit.aria(old, { pressed: false }).tabIndex = -1;
      const focused = document.activeElement === old;
      chosen = n;
      vit.aria(buttons[n], { pressed: true }).tabIndex = 0;
      if (focused) buttons[n].focus({ preventScroll: true });
      pick(n);
    };
    const steps = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0],
      ArrowDown: [1, 0], Home: [0, -side], End: [0, side],
    };
    const inside = (value) => Math.min(Math.max(value, 0), side - 1);
    const box = vit.make("div", { className: "vit-grid" }, ...buttons);
    box.style.gridTemplateColumns = `repeat(${side}, 1fr)`;
    box.onkeydown = (event) => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const row = inside(Math.floor(chosen / side) + step[0]);
      choose(row * side + inside((chosen % side) + step[1]));
    };
    vit.aria(box, { role: "group", label });
    return Object.assign(box, { choose });
  };

  /** A picture with its name below, and buttons on it if `over` is given. */
  vit.panel = (name, over) => {
    const canvas = vit.aria(vit.make("canvas"), { hidden: true });
    const stage = vit.make("div", { className: "vit-stage" }, canvas);
    if (over) stage.append(over);
    const label = vit.make("p", { className: "vit-name", textContent: name });
    const panel = vit.make("div", { className: "vit-panel" }, stage, label);
    return Object.assign(panel, { canvas, label });
  };

  /** The scale's colours between the words for its two ends. */
  vit.scale = () => {
    const low = vit.make("span"), high = vit.make("span");
    const bar = vit.make("span", { className: "vit-bar" });
    const stops = vit.viridis.map((colour) => `rgb(${colour.join(" ")})`);
    bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
    const box = vit.make("p", { className: "vit-scale" }, low, bar, high);
    return Object.assign(box, { low, high });
  };

  /** A paragraph that screen readers speak when it changes. */
  vit.say = () => vit.aria(
    vit.make("p", { className: "vit-say" }), { role: "status" });

  /** Row and column of place n, counted from 1, in words. */
  vit.place = (n, side) =>
    `row ${Math.floor(n / side) + 1}, column ${(n % side) + 1}`;

  /** The index of the largest value. */
  vit.largest = (values) => values.reduce(
    (best, value, n) => (value > values[best] ? n : best), 0);
})();
