// The Hamming explorer, drawn in the browser: a move of a slider asks no kernel. Every number comes ready from Python
// (`View`, from `metrics`); here they are looked up, drawn and written.

const HEIGHT = 190, LEFT = 40, BOTTOM = 34, TOP = 8;  // of the drawings, in pixels
const LAYOUT = `
<h2></h2>
<div class="controls">
  <label>class of the queries <select data-lm-suppress-shortcuts="true"></select></label>
  <label>query: <span class="which"></span><input class="query" type="range" min="0" data-lm-suppress-shortcuts="true"></label>
  <label>threshold: <span class="within"></span><input class="radius" type="range" min="0" data-lm-suppress-shortcuts="true"></label>
</div>
<div class="result" role="status" aria-live="polite" aria-atomic="true"></div>
<div class="figures">
  <figure>
    <figcaption class="key"><span class="relevant">relevant</span><span class="irrelevant">irrelevant database items</span></figcaption>
    <svg class="histogram" role="img"><rect/><path class="relevant"/><path class="irrelevant"/><path class="axes"/><g/></svg>
  </figure>
  <figure>
    <figcaption class="key"><span class="precision">precision</span><span class="recall">recall within the threshold</span></figcaption>
    <svg class="curves" role="img"><rect/><path class="precision"/><path class="recall"/><path class="axes"/><g/></svg>
  </figure>
</div>
<ol class="images" aria-label="the query and its nearest images"></ol>`;

function render({ model, el }) {
  const root = document.createElement("section");
  root.className = "hamming-explorer";
  root.innerHTML = LAYOUT;
  el.append(root);
  const find = (selector) => root.querySelector(selector);
  const [select, query, radius] = ["select", ".query", ".radius"].map(find);
  let view, table, sheet;

  function load() {
    view = model.get("view");
    table = readTables(model, view);
    if (sheet) URL.revokeObjectURL(sheet);
    sheet = URL.createObjectURL(new Blob([model.get("thumbnails")], { type: "image/webp" }));
    find("h2").textContent = view.name;
    root.setAttribute("aria-label", `Hamming explorer of the run ${view.name}`);
    root.style.setProperty("--right", view.colours[0]);
    root.style.setProperty("--wrong", view.colours[1]);
    const names = view.groups.map((name, group) => new Option(`${name} (${view.members[group].length} to look at)`, group));
    select.replaceChildren(...names);
    radius.max = view.bits;
    place();
  }

  function place() {  // where Python, or the start, puts the sliders
    select.value = model.get("group");
    query.max = view.members[select.value].length;
    query.value = model.get("query");
    radius.value = model.get("radius");
    draw();
  }

  function draw() {
    const group = Number(select.value), place = Number(query.value), within = Number(radius.value);
    const shown = place ? view.members[group][place - 1] : null;  // a query, or the mean of the group
    const row = shown ?? view.query_labels.length + group;
    const many = `${view.sizes[group].toLocaleString("en")} queries`;
    const name = shown === null ? `mean of all ${many}` : `${place} of ${query.max}, ${view.query_labels[shown]}`;
    find(".which").textContent = name;
    find(".within").textContent = `${within} of ${view.bits} bits`;
    query.setAttribute("aria-valuetext", name);
    radius.setAttribute("aria-valuetext", `${within} of ${view.bits} bits`);
    const [relevant, irrelevant, precision, recall] = table.map((rows) => rows(row));
    find(".result").innerHTML = say(within, shown === null && many, relevant, irrelevant, precision[within], recall[within]);
    drawHistogram(find(".histogram"), relevant, irrelevant, within);
    drawCurves(find(".curves"), precision, recall, within);
    drawImages(find(".images"), view, sheet, shown, within);
  }

  function keep() {
    model.set({ group: Number(select.value), query: Number(query.value), radius: Number(radius.value) });
    model.save_changes();
  }

  select.addEventListener("change", () => {
    query.max = view.members[select.value].length;
    query.value = Math.min(1, query.max);
    draw();
    keep();
  });
  for (const slider of [query, radius]) {
    slider.addEventListener("input", draw);
    slider.addEventListener("change", keep);
  }
  const follow = () => [select, query, radius].includes(document.activeElement) || place();
  model.on("change:view", load);
  model.on("change:group change:query change:radius", follow);
  load();
  const resizing = new ResizeObserver(draw);
  resizing.observe(find("svg"));
  return () => {
    resizing.disconnect();
    URL.revokeObjectURL(sheet);
    model.off("change:view", load);
    model.off("change:group change:query change:radius", follow);
  };
}

// Bytes of little-endian numbers, a row of bits + 1 for each query and each group.
function readTables(model, view) {
  const columns = view.bits + 1;
  const read = (name, Type) => {
    const { buffer, byteOffset, byteLength } = model.get(name);
    const numbers = new Type(buffer.slice(byteOffset, byteOffset + byteLength));
    return (row) => numbers.subarray(row * columns, (row + 1) * columns);
  };
  return [
    read("relevant", Uint32Array),
    read("irrelevant", Uint32Array),
    read("precision", Float32Array),
    read("recall", Float32Array),
  ];
}

function say(within, many, relevant, irrelevant, precision, recall) {
  const count = (counts) => counts.subarray(0, within + 1).reduce((sum, one) => sum + one, 0);
  const good = count(relevant), items = good + count(irrelevant);
  const number = (value) => (Number.isNaN(value) ? "–" : value.toFixed(3));
  const scores = `precision <strong class="precision">${number(precision)}</strong>, recall <strong class="recall">${number(recall)}</strong>`;
  if (many) return `${scores}<br>mean of ${many}; one without any item so near counts as precision 0`;
  return `${scores}<br><span class="items">${items.toLocaleString("en")}</span> items within ${within} bits, <span class="good">${good.toLocaleString("en")}</span> relevant`;
}

function axes(svg, bits, within, levels, unit, scale = (value) => value) {
  const width = svg.clientWidth || 300, step = (width - LEFT - 4) / (bits + 1), floor = HEIGHT - BOTTOM;
  const x = (distance) => LEFT + distance * step, y = (value) => floor - scale(value) * (floor - TOP);
  const text = (left, up, anchor, words) => `<text x="${left}" y="${up}" text-anchor="${anchor}">${words}</text>`;
  const ticks = [...new Set([0, 0.25, 0.5, 0.75, 1].map((part) => Math.round(part * bits)))];
  svg.querySelector("g").innerHTML =
    ticks.map((distance) => text(x(distance + 0.5), floor + 15, "middle", distance)).join("") +
    text(LEFT + (width - LEFT) / 2, floor + 30, "middle", unit) +
    levels.map((value) => text(LEFT - 5, y(value) + 4, "end", value)).join("");
  svg.querySelector(".axes").setAttribute("d", `M${LEFT} ${TOP}V${floor}H${width}`);
  const ball = svg.querySelector("rect");  // what lies within the threshold
  for (const [name, value] of Object.entries({ x: LEFT, y: TOP, width: x(within + 1) - LEFT, height: floor - TOP })) ball.setAttribute(name, value);
  return [x, y];
}

function drawHistogram(svg, relevant, irrelevant, within) {
  const shares = [relevant, irrelevant].map((counts) => {
    const all = counts.reduce((sum, one) => sum + one, 0) || 1;
    return Array.from(counts, (count) => count / all);
  });
  const [x, y] = axes(svg, relevant.length - 1, within, [1, 0.4, 0.1, 0.02, 0], "Hamming distance; share of each kind", Math.sqrt);
  ["relevant", "irrelevant"].forEach((name, kind) => {
    const bars = shares[kind].map((share, distance) => `V${y(share).toFixed(2)}H${x(distance + 1).toFixed(2)}`);
    svg.querySelector(`.${name}`).setAttribute("d", `M${LEFT} ${y(0)}${bars.join("")}V${y(0)}`);
  });
  svg.setAttribute("aria-label", `histogram of Hamming distances, 0 to ${relevant.length - 1}, of relevant and irrelevant items`);
}

function drawCurves(svg, precision, recall, within) {
  const [x, y] = axes(svg, precision.length - 1, within, [1, 0.5, 0], "threshold in bits");
  for (const [name, values] of Object.entries({ precision, recall })) {
    const points = Array.from(values, (value, distance) => [x(distance + 0.5), y(value)]).filter((point) => !Number.isNaN(point[1]));
    svg.querySelector(`.${name}`).setAttribute("d", points.length ? `M${points.map((point) => point.map((one) => one.toFixed(2))).join("L")}` : "");
  }
  svg.setAttribute("aria-label", "precision and recall within each threshold");
}

function drawImages(list, view, sheet, shown, within) {
  if (list.shown !== shown || list.sheet !== sheet) {
    Object.assign(list, { shown, sheet });
    list.replaceChildren(...(shown === null ? [] : pictures(view, sheet, shown)));
  }
  for (const item of list.children) item.classList.toggle("beyond", Number(item.dataset.distance) > within);
}

function pictures(view, sheet, shown) {
  const { columns, rows } = view.sheet;
  const picture = (kind, sign, place, label, distance) => {
    const item = document.createElement("li");
    item.className = kind;
    item.dataset.distance = distance ?? 0;
    const across = (100 * (place % columns)) / Math.max(columns - 1, 1), down = (100 * Math.floor(place / columns)) / Math.max(rows - 1, 1);
    const image = document.createElement("div");
    image.style.cssText = `background: url(${sheet}) ${across}% ${down}% / ${100 * columns}% ${100 * rows}%`;
    const words = document.createElement("span");
    words.innerHTML = `<span aria-hidden="true">${sign}</span><span class="spoken">${kind}:</span> `;
    words.append(label, document.createElement("br"), distance === undefined ? "the query" : `${distance} bits`);
    item.append(image, words);
    return item;
  };
  const query = picture("query", "", view.query_thumbnails[shown], view.query_labels[shown]);
  const nearest = view.nearest_thumbnails[shown].map((place, rank) => {
    const mark = view.nearest_relevant[shown][rank] ? ["right", "✓"] : ["wrong", "✗"];
    return picture(...mark, place, view.nearest_labels[shown][rank], view.nearest_distances[shown][rank]);
  });
  return [query, ...nearest];
}

export default { render };
