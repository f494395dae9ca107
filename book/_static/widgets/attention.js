// The attention explorer: a patch's row, the class token's row, rollout.
vitWidgets.kinds.attention = (box, data, arrays) => {
  const vit = window.vitWidgets;
  const { side, block, maps } = data;
  const asking = side / block; // places that ask, on a side
  const tokens = side * side + 1;
  const now = { image: 0, model: 0, layer: maps[0][0], place: 0, rollout: 0 };
  const layers = [...new Set(maps.map(([layer]) => layer))];
  const pictures = data.images.map(() => null);

  const heads = () => maps.filter(([layer]) => layer === now.layer);
  const map = () => maps.findIndex(([layer, head]) =>
    layer === now.layer && head === now.head);
  const headName = (head) => (head ? `head ${head}` : "mean of the heads");

  /** A row's weights, the class token's first, in uniform shares. */
  const row = (array, ...indices) => {
    const steps = vit.at(array, ...indices);
    const sum = steps.reduce((a, b) => a + b, 0);
    return Array.from(steps, (step) => (step / sum) * tokens);
  };

  const rollouts = data.skips.flatMap((skip, i) => ["class token", "patch"]
    .map((from, j) => ({
      name: `${skip ? "rollout without layer 1" : "rollout"}, ${
        j ? "the chosen patch" : "the class token"}`,
      index: i, patch: j,
    })));

  /** Place n of those that ask, in rows and columns of patches. */
  const asker = (n) => {
    if (block === 1) return vit.place(n, side);
    const from = (k) => `${k * block + 1} to ${(k + 1) * block}`;
    return `rows ${from(Math.floor(n / asking))}, columns ${from(n % asking)}`;
  };

  const grid = vit.grid(asking, "The patch that asks; arrow keys move", (n) => {
    now.place = n;
    draw();
  }, asker);
  const asks = vit.panel("", grid);
  const classToken = vit.panel("the class token asks");
  const rolled = vit.panel("");
  const scale = vit.scale();
  const say = vit.say();

  const image = vit.select("Picture", data.titles.map((title) =>
    title.split(":")[0]), (i) => { now.image = i; draw(); });
  const model = vit.select("Model", data.models, (i) => {
    now.model = i;
    draw();
  });
  const layer = vit.select("Layer", layers, (i) => {
    now.layer = layers[i];
    const names = heads().map(([, head]) => head);
    vit.options(head.list, names.map(headName));
    now.head = names.includes(now.head) ? now.head : names[0];
    head.list.selectedIndex = names.indexOf(now.head);
    draw();
  });
  const head = vit.select("Head", heads().map(([, h]) => headName(h)), (i) => {
    now.head = heads()[i][1];
    draw();
  });
  now.head = heads()[0][1];
  const rollout = vit.select("Rollout", rollouts.map(({ name }) => name), (i) => {
    now.rollout = i;
    draw();
  });
  const own = vit.make("input", { type: "checkbox", onchange: () => draw() });
  const ownLabel = vit.make("label", {}, own, " each map on its own scale");

  /** In words: where a row looks most, and how much that is. */
  const most = (shares) => {
    const n = vit.largest(shares.slice(1));
    return `${vit.place(n, side)} (${(100 * shares[n + 1] / tokens).toFixed(1)
    }\u00a0%, ${shares[n + 1].toFixed(1)} times uniform)`;
  };

  const draw = async () => {
    const address = data.images[now.image];
    pictures[now.image] ??= await vit.picture(address);
    const at = [now.image, now.model];
    const rows = [
      row(arrays.attention, ...at, map(), now.place + 1),
      row(arrays.attention, ...at, map(), 0),
    ];
    const roll = rollouts[now.rollout];
    rows.push(row(
      arrays.rollout, ...at, roll.index, roll.patch ? now.place + 1 : 0));
    [asks, classToken, rolled].forEach(({ canvas }, i) => {
      const shares = rows[i].slice(1);
      const ends = own.checked
        ? [Math.min(...shares), Math.max(...shares)] : [0, 8];
      vit.paint(canvas, shares, side, ends, pictures[now.image]);
    });
    asks.label.textContent = block > 1
      ? `the mean of ${block * block} patches asks` : "the chosen patch asks";
    rolled.label.textContent = roll.name;
    scale.low.textContent = own.checked ? "its smallest" : "0";
    scale.high.textContent = own.checked
      ? "its largest weight" : "8 times uniform and more";
    const far = data.far[now.image][now.model][map()];
    const reach = vit.at(arrays.reach, ...at, map())[now.place];
    const who = block > 1 ? "These patches look" : "This patch looks";
    say.textContent = `Layer ${now.layer}, ${headName(now.head)}, asked from ${
      asker(now.place)}: looks most at ${most(rows[0])}; ${
      (100 * rows[0][0] / tokens).toFixed(1)}\u00a0% go to the class token. ${who} ${
      (reach / 255 * data.longest).toFixed(0)} pixels far on average, all of ${
      now.head ? "the head" : "the layer"} ${far.toFixed(1)} (uniform: ${
      data.uniform.toFixed(1)}). The class token looks most at ${
      most(rows[1])}. Rollout is largest at ${most(rows[2])}.`;
  };

  const controls = [image, model, layer, head, rollout, ownLabel];
  if (data.images.length < 2) controls.splice(controls.indexOf(image), 1);
  if (data.models.length < 2) controls.splice(controls.indexOf(model), 1);
  const bar = vit.make("div", { className: "vit-controls" }, ...controls);
  const panels = vit.make(
    "div", { className: "vit-panels" }, asks, classToken, rolled);
  box.append(bar, panels, scale, say);
  vit.aria(box, { label: "Attention explorer" });
  grid.choose(Math.floor(asking / 2) * asking + Math.floor(asking / 2));
};
