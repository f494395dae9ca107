// The patch slider: the picture cut into patches, and what they cost.
vitWidgets.kinds.patches = (box, data) => {
  const vit = window.vitWidgets;
  const { rows, size } = data;
  const number = (value) => value.toLocaleString("en-US");
  const giga = (value) => (value / 1e9).toPrecision(3);
  const start = rows.findIndex(({ patch }) => patch === 16);
  const panel = vit.panel("");
  const table = vit.make("table", { className: "vit-table" });
  const say = vit.say();
  let photo = null;

  /** The picture with a gap between its patches. */
  const cut = ({ patch }) => {
    const scale = 2, side = size / patch, gap = Math.max(1, patch / 8);
    const { canvas } = panel;
    canvas.width = canvas.height = scale * (size + gap * (side - 1));
    const context = canvas.getContext("2d");
    for (let n = 0; n < side * side; n++) {
      const x = (n % side) * patch, y = Math.floor(n / side) * patch;
      const to = (v) => scale * (v + (v / patch) * gap);
      context.drawImage(photo, x, y, patch, patch,
        to(x), to(y), scale * patch, scale * patch);
    }
  };

  const draw = async (index) => {
    photo ??= await vit.picture(data.image);
    const r = rows[index], side = size / r.patch;
    cut(r);
    panel.label.textContent = `${side}x${side} patches of ${r.patch}x${r.patch}`;
    slider.input.setAttribute("aria-valuetext", `${r.patch} pixels`);
    const share = (part) => `${(100 * part / r.total).toFixed(1)}\u00a0%`;
    const lines = [
      ["patch size P", `${r.patch} pixels`],
      ["patches N", number(r.patches)],
      ["numbers in a patch", number(r.numbers)],
      ["pairs of tokens", number(r.pairs)],
      ["parameters", number(r.parameters)],
      ["work for an image", `${giga(r.total)} GFLOP`],
      ["of it attention", `${giga(r.attention)} GFLOP, ${share(r.attention)}`],
      ["linear layers", `${giga(r.layers)} GFLOP, ${share(r.layers)}`],
      ["patch layer", `${giga(r.embedding)} GFLOP, ${share(r.embedding)}`],
    ];
    table.replaceChildren(vit.make("tbody", {}, ...lines.map(([name, value]) =>
      vit.make("tr", {}, vit.make("th", { scope: "row", textContent: name }),
        vit.make("td", { textContent: value })))));
    const times = r.total / rows[start].total;
    say.textContent = `P = ${r.patch}: ${number(r.patches)} patches, ${
      giga(r.total)} GFLOP, ${times.toPrecision(2)} times as much as with P = ${
      rows[start].patch}; attention is ${share(r.attention)} of it.`;
  };

  const slider = vit.slider("Patch size", rows.length, start, draw);
  box.append(vit.make("div", { className: "vit-controls" }, slider),
    vit.make("div", { className: "vit-two" }, panel, table), say);
  vit.aria(box, { label: "Patch slider" });
  draw(start);
};
