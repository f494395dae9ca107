// Position tiles: the mosaic over training, and one tile of it, large.
vitWidgets.kinds.positions = (box, data, arrays) => {
  const vit = window.vitWidgets;
  const now = { table: "book", epoch: data.epochs.length - 1, tile: 0 };
  const tables = ["book", "pretrained"];
  const names = ["the book's model, 7x7", "the pretrained model, 37x37"];
  const tiles = 7; // on a side, of both mosaics
  const ends = [-0.5, 1];

  /** Cosines of a tile: the place's similarity to every place. */
  const tile = (n) => Array.from(vit.at(
    arrays[now.table], now.table === "book" ? now.epoch : 0,
    Math.floor(n / tiles), n % tiles), (step) => (step - 127) / 127);

  const grid = vit.grid(tiles, "Tiles; arrow keys move", (n) => {
    now.tile = n;
    draw();
  });
  const mosaic = vit.panel("", grid);
  const large = vit.panel("");
  const scale = vit.scale();
  scale.low.textContent = "cosine -0.5 and less";
  scale.high.textContent = "1";
  const say = vit.say();

  /** All tiles as one map, a pixel a cosine. */
  const all = (side) => {
    const width = tiles * side, out = new Array(width * width);
    for (let t = 0; t < tiles * tiles; t++) {
      tile(t).forEach((value, n) => {
        const y = Math.floor(t / tiles) * side + Math.floor(n / side);
        out[y * width + (t % tiles) * side + (n % side)] = value;
      });
    }
    return out;
  };

  const draw = () => {
    const side = arrays[now.table].shape[3];
    const step = now.table === "book" ? 1 : data.step;
    const row = Math.floor(now.tile / tiles) * step;
    const column = (now.tile % tiles) * step;
    const values = tile(now.tile);
    vit.paint(mosaic.canvas, all(side), tiles * side, ends);
    vit.paint(large.canvas, values, side, ends);
    mosaic.label.textContent = step > 1
      ? `every ${step}th place of each row and column` : "all tiles";
    large.label.textContent = `the tile of row ${row + 1}, column ${column + 1}`;
    epoch.input.disabled = now.table !== "book";
    const when = now.table === "book"
      ? `Epoch ${data.epochs[now.epoch]}` : "The pretrained table";
    epoch.input.setAttribute("aria-valuetext", when);
    const groups = { neighbours: [], row: [], column: [], elsewhere: [] };
    const others = values.map((value, n) => {
      const dy = Math.abs(Math.floor(n / side) - row);
      const dx = Math.abs((n % side) - column);
      if (!dy && !dx) return -2; // itself
      if (dy + dx === 1) groups.neighbours.push(value);
      else if (!dy) groups.row.push(value);
      else if (!dx) groups.column.push(value);
      else groups.elsewhere.push(value);
      return value;
    });
    const means = Object.entries(groups).map(([name, group]) =>
      `${name} ${(group.reduce((a, b) => a + b) / group.length).toFixed(2)}`);
    const n = vit.largest(others);
    say.textContent = `${when}, place row ${row + 1}, column ${column + 1
    }: most alike is ${vit.place(n, side)} (cosine ${others[n].toFixed(2)
    }). Means: ${means.join(", ")}.`;
  };

  const table = vit.select("Table", names, (i) => {
    now.table = tables[i];
    draw();
  });
  const epoch = vit.slider("Epoch", data.epochs.length, now.epoch, (i) => {
    now.epoch = i;
    draw();
  });
  epoch.append(vit.make("span", {
    className: "vit-ticks", textContent: data.epochs.join(" · "),
  }));
  box.append(vit.make("div", { className: "vit-controls" }, table, epoch),
    vit.make("div", { className: "vit-two" }, mosaic, large), scale, say);
  vit.aria(box, { label: "Position tiles" });
  grid.choose(21);
};
