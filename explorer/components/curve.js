// Score curve: place on a log axis, score on a linear one (normalised scores go below zero).
// props.value is the dict of explorer/charts.py `curve`; text reaches the page only through textContent.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 260, LEFT = 52, RIGHT = 14, TOP = 26, BOTTOM = 40;
const KINDS = ["noise", "above", "decoy"];
const KIND_TEXT = ["not distinguishable from noise", "above noise", "decoy, never heard by the model"];

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function niceStep(span, wanted) {
  const rough = span / wanted, power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

export function mount({ element, props, watch, trigger }) {
  const svg = element.querySelector(".plot"), readout = element.querySelector(".readout");
  let data = null, at = 0, width = 0, x = null, y = null;

  function scales() {
    const low = Math.min(0, ...data.value), high = Math.max(0, ...data.value);
    const pad = (high - low || 1) * 0.06, log = Math.log10(Math.max(2, data.count));
    x = (place) => LEFT + (Math.log10(place) / log) * (width - LEFT - RIGHT);
    y = (value) => TOP + ((high + pad - value) / (high - low + 2 * pad)) * (HEIGHT - TOP - BOTTOM);
    return [low - pad, high + pad];
  }

  function axes([low, high]) {
    const bottom = HEIGHT - BOTTOM, right = width - RIGHT;
    const step = niceStep(high - low, 5), digits = Math.max(0, -Math.floor(Math.log10(step)));
    for (let tick = Math.ceil(low / step); tick * step <= high; tick++) {
      const level = y(tick * step), label = (tick * step).toFixed(digits).replace("-", "−");
      svg.append(node("line", { x1: LEFT, x2: right, y1: level, y2: level, class: tick === 0 ? "zero" : "grid" }));
      svg.append(node("text", { x: LEFT - 8, y: level + 4, class: "label", "text-anchor": "end" }, label));
    }
    let last = -100;
    for (let power = 1; power <= data.count; power *= 10)
      for (const place of [power, 2 * power, 5 * power].filter((p) => p <= data.count)) {
        if (x(place) - last < 34) continue;
        last = x(place);
        svg.append(node("line", { x1: last, x2: last, y1: bottom, y2: bottom + 4, class: "grid" }));
        svg.append(node("text", { x: last, y: bottom + 18, class: "label", "text-anchor": "middle" }, place.toLocaleString("en")));
      }
    svg.append(node("text", { x: 2, y: 13, class: "label" }, data.unit));
    const axis = "place, decoys included (1 = strongest)";
    svg.append(node("text", { x: right, y: HEIGHT - 5, class: "label", "text-anchor": "end" }, axis));
  }

  function point(i) {
    const cx = x(data.place[i]), cy = y(data.value[i]), kind = KINDS[data.kind[i]];
    if (kind !== "decoy") return node("circle", { cx, cy, r: kind === "above" ? 4.5 : 3.2, class: kind });
    return node("path", { d: `M${cx} ${cy - 5}l5 5l-5 5l-5-5z`, class: kind });
  }

  function describe() {
    const share = data.share[at], title = data.title[at] || `track ${data.track[at]}`;
    const parts = [`Place ${data.place[at].toLocaleString("en")} of ${data.count.toLocaleString("en")}`, title,
      `${data.order} score ${data.value[at].toPrecision(3).replace("-", "−")}${data.power}`, KIND_TEXT[data.kind[at]]];
    if (share !== null) parts.push(`training tracks to here hold ${(100 * share).toFixed(share < 0.1 ? 1 : 0)} % of the positive score`);
    readout.textContent = parts.join(" · ");
    svg.setAttribute("aria-valuenow", data.place[at]);
    svg.setAttribute("aria-valuetext", readout.textContent);
  }

  function mark() {
    svg.querySelectorAll(".cursor, .chosen").forEach((ring) => ring.remove());
    const ring = (i, name) => svg.append(node("circle", { cx: x(data.place[i]), cy: y(data.value[i]), r: 9, class: name }));
    const chosen = data.track.indexOf(data.selected);
    if (chosen >= 0) ring(chosen, "chosen");
    if (at !== chosen) ring(at, "cursor");
    describe();
  }

  function draw() {
    svg.replaceChildren();
    width = svg.clientWidth;
    if (!data || !data.place.length || !width) { readout.textContent = data ? "No scores to draw." : ""; return; }
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    axes(scales());
    svg.append(node("path", { class: "line", d: "M" + data.place.map((p, i) => `${x(p).toFixed(1)},${y(data.value[i]).toFixed(1)}`).join("L") }));
    // What matters lies on top: noise first, then decoys, then what is above noise.
    for (const kind of [0, 2, 1]) data.kind.forEach((k, i) => { if (k === kind) svg.append(point(i)); });
    svg.setAttribute("aria-valuemax", data.count);
    mark();
  }

  function load() {
    data = props.value || null;
    at = data ? Math.max(0, data.track.indexOf(data.selected)) : 0;
    draw();
  }

  function nearest(event) {
    const box = svg.getBoundingClientRect(), px = event.clientX - box.x, py = event.clientY - box.y;
    let best = 0, least = Infinity;
    data.place.forEach((place, i) => {
      const distance = (x(place) - px) ** 2 + ((y(data.value[i]) - py) / 3) ** 2; // mostly by place, as on a slider
      if (distance < least) { least = distance; best = i; }
    });
    return best;
  }

  function choose() {
    data.selected = data.track[at];
    mark();
    trigger("pick", { track_id: data.track[at] });
  }

  svg.addEventListener("click", (event) => { if (x && data?.place.length) { at = nearest(event); choose(); } });
  svg.addEventListener("keydown", (event) => {
    if (!data?.place.length) return;
    const last = data.place.length - 1;
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -last, End: last };
    if (event.key in move) { at = Math.min(last, Math.max(0, at + move[event.key])); mark(); }
    else if (event.key === "Enter") choose();
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => { if (svg.clientWidth !== width) draw(); }).observe(svg);
  watch("value", load);
  load();
}
