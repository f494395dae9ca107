// The shuffle bench: a garment's pieces in another order, and what three
// models say of them.
vitWidgets.kinds.shuffle = (box, data, arrays) => {
  const vit = window.vitWidgets;
  const { grids, draws, models, classes } = data;
  const now = { image: 9, grid: 0, draw: 0 };
  const panel = vit.panel("");
  const table = vit.make("table", { className: "vit-table" });
  const say = vit.say();
  const pictures = data.images.map(() => null);
  const pieces = (grid) => (grid > 1 ? `${grid}x${grid} pieces` : "intact");

  /** The picture with its pieces where the chosen order puts them. */
  const shuffled = (grid) => {
    const picture = pictures[now.image], { canvas } = panel;
    const size = picture.naturalWidth / grid, to = 448 / grid;
    canvas.width = canvas.height = 448;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    const order = grid > 1
      ? vit.at(arrays[`order${grid}`], now.draw, now.image) : [0];
    order.forEach((from, n) => context.drawImage(picture,
      (from % grid) * size, Math.floor(from / grid) * size, size, size,
      (n % grid) * to, Math.floor(n / grid) * to, to, to));
  };

  const draw = async () => {
    pictures[now.image] ??= await vit.picture(data.images[now.image]);
    const grid = grids[now.grid];
    const arrangement = now.grid ? 1 + (now.grid - 1) * draws + now.draw : 0;
    shuffled(grid);
    again.disabled = !now.grid;
    panel.label.textContent = `${classes[now.image]}, ${pieces(grid)}`;
    const words = [];
    const rows = models.map((model, m) => {
      const shares = vit.at(arrays.says, m, arrangement, now.image);
      const best = vit.largest(shares);
      const right = best === now.image ? "right" : "wrong";
      const percent = (100 * shares[best] / 255).toFixed(0);
      words.push(`${model} says ${classes[best]} (${percent}\u00a0%, ${right})`);
      const meter = vit.make("span", { className: `vit-meter vit-${right}` });
      meter.style.setProperty("--share", `${percent}%`);
      const cells = [
        vit.make("td", { textContent: `${classes[best]}, ${right}` }),
        vit.make("td", {}, `${percent}\u00a0%`, meter),
        vit.make("td", {
          textContent: `${data.accuracy[model][now.grid].toFixed(0)}\u00a0%`,
        }),
      ];
      return vit.make("tr", {},
        vit.make("th", { scope: "row", textContent: model }), ...cells);
    });
    const titles = ["model", "says", "how surely", "right of 2,000"];
    const top = vit.make("tr", {}, ...titles.map((textContent) =>
      vit.make("th", { scope: "col", textContent })));
    table.replaceChildren(
      vit.make("thead", {}, top), vit.make("tbody", {}, ...rows));
    say.textContent = `${classes[now.image]}, ${pieces(grid)}${
      now.grid ? `, order ${now.draw + 1} of ${draws}` : ""}: ${
      words.join("; ")}.`;
  };

  const garment = vit.select("Picture", classes, (i) => {
    now.image = i;
    draw();
  });
  garment.list.selectedIndex = now.image;
  const cuts = vit.buttons("How the picture is cut", grids.map(pieces), (i) => {
    now.grid = i;
    draw();
  });
  const again = vit.make("button", {
    type: "button", textContent: "Shuffle again",
    onclick: () => { now.draw = (now.draw + 1) % draws; draw(); },
  });
  box.append(vit.make("div", { className: "vit-controls" }, garment, cuts, again),
    vit.make("div", { className: "vit-two" }, panel, table), say);
  vit.aria(box, { label: "Shuffle bench" });
  draw();
};
