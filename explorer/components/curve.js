// Score curve: place and score on log axes, the decoys as a second curve; one slider over every place of either.
// props.value is the dict of explorer/listen/charts.py `describe_curve`; text reaches the page only through textContent.
// Event: pick {place, decoy}.
const SVG = "http://www.w3.org/2000/svg";
const LEFT = 66, RIGHT = 14, TOP = 28, AXIS = 44, BAND = 28; // px; BAND: the margin for values of zero or below
const NEAR = 8; // px: so near a decoy the pointer selects it, while the slider steps through tracks

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const grouped = (count) => count.toLocaleString("en");
const digits = (value) => String(Number(value.toPrecision(3))).replace("-", "−");

function percent(share, rough = false) {
  const value = 100 * share, about = rough ? "about " : "";
  if (value > 0 && value < 0.1) return "less than 0.1 %";
  if (value > 99 && value < 100) return "more than 99 %";
  return `${about}${value.toFixed(value > 0 && value < 9.95 ? 1 : 0)} %`;
}

// All dots of a kind as one path: hundreds of nodes would be slow.
function dots(points) {
  return points.map(([cx, cy, r]) => `M${(cx - r).toFixed(1)} ${cy.toFixed(1)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`).join("");
}

const diamond = (cx, cy, r) => `M${cx.toFixed(1)} ${(cy - r).toFixed(1)}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`;

class Curve {
  constructor({ element, props, trigger }) {
    this.element = element;
    this.props = props;
    this.trigger = trigger;
    for (const part of ["plot", "readout", "place", "last", "previous", "next", "take", "kinds", "shares", "of", "caption"])
      this[part] = element.querySelector("." + part);
    this.data = null;
    this.at = { decoy: false, place: 1 }; // where the slider stands
    this.hover = null; // where the pointer stands
    this.chosen = null; // {decoy, place, id}; id null until the page says which track it became
    this.picked = []; // places sent to the page that it has not answered yet, oldest first
    this.lanes = [];
    this.listen();
  }

  series(decoy) { return decoy ? this.data.decoy : this.data.track; }

  load() {
    const before = this.data, data = this.props.value || null;
    this.data = data;
    this.element.querySelector(".curve").hidden = !data;
    if (!data) return;
    const same = before && before.name === data.name && String(before.track.id) === String(data.track.id);
    this.chosen = this.find(data.selected);
    if (!same || !this.element.contains(document.activeElement)) this.at = this.chosen || { decoy: false, place: 1 };
    if (!this.series(this.at.decoy).count) this.at = { decoy: !this.at.decoy && data.decoy.count > 0, place: 1 };
    if (!same) this.picked = [];
    this.hover = null;
    this.words();
    this.draw();
  }

  // {decoy, place, id} of a track, null where its place is not known here.
  find(id) {
    if (id === null || id === undefined || !this.data) return null;
    const mark = this.data.marks[id];
    if (mark) return { decoy: mark.decoy, place: mark.place, id };
    for (const decoy of [false, true]) {
      const i = this.series(decoy).id.indexOf(id);
      if (i >= 0) return { decoy, place: this.series(decoy).place[i], id };
    }
    return null;
  }

  // Value and share at a place: exact at samples and marks, else interpolated between the two samples around it.
  know({ decoy, place }) {
    const series = this.series(decoy), { value, share } = series;
    let i = 0;
    for (let step = 2 ** Math.ceil(Math.log2(series.place.length + 1)); step >= 1; step /= 2)
      if (i + step < series.place.length && series.place[i + step] <= place) i += step;
    const mark = Object.values(this.data.marks).find((one) => one.decoy === decoy && one.place === place);
    if (series.place[i] === place)
      return { exact: true, value: value[i], share: share?.[i], title: series.title[i] || mark?.title, q: series.q[i] || mark?.q, may: series.may[i] || mark?.may, out: series.out?.[i] };
    const [a, b] = [value[i], value[i + 1]], log = a > 0 && b > 0;
    const part = Math.log(place / series.place[i]) / Math.log(series.place[i + 1] / series.place[i]);
    const between = log ? a * (b / a) ** part : a + (b - a) * part;
    const held = share && share[i] !== null ? share[i] + (share[i + 1] - share[i]) * part : null;
    return { exact: Boolean(mark), value: mark ? mark.value : between, share: held, rough: true, title: mark?.title, q: mark?.q, may: mark?.may };
  }

  sentence(where) {
    const { data } = this, known = this.know(where), series = this.series(where.decoy), about = known.exact ? "" : "about ";
    const parts = [`${where.decoy ? "Decoy" : "Place"} ${grouped(where.place)} of ${grouped(series.count)}`];
    if (known.may && known.may !== grouped(where.place) && !where.decoy) parts.push(`by its error places ${known.may}`);
    if (known.title) parts.push(known.title);
    parts.push(`score ${about}${digits(known.value)}${data.power}`);
    if (where.decoy) parts.push(data.legend.decoy);
    else if (known.out !== undefined) parts.push(known.out ? data.legend.out : data.legend.rest);
    if (known.q) parts.push(`q ${known.q}`);
    if (known.share !== null && known.share !== undefined && where.place > 1)
      parts.push(`the first ${grouped(where.place)} hold ${percent(known.share, known.rough)} of the positive score`);
    const held = this.lanes.map((id) => this.find(id)).some((lane) => lane && lane.place === where.place && lane.decoy === where.decoy);
    return held ? [...parts, "in the player"] : parts;
  }

  words() {
    const { data } = this;
    for (const item of this.element.querySelectorAll(".legend li")) {
      const text = data.legend[item.dataset.key];
      item.hidden = !text;
      item.querySelector("span").textContent = text || "";
    }
    this.caption.textContent = data.caption;
    this.kinds.hidden = !data.decoy.count;
    this.of.hidden = !data.counts.length || data.shares[0] === null;
    this.shares.replaceChildren(...data.counts.map((count, i) => {
      const item = document.createElement("li"), name = document.createElement("span");
      const bar = document.createElement("i"), held = document.createElement("b");
      name.textContent = `top ${count}`;
      bar.style.setProperty("--held", data.shares[i] ?? 0);
      held.textContent = data.shares[i] === null ? "none" : percent(data.shares[i]);
      item.append(name, bar, held);
      return item;
    }));
  }

  scales() {
    const { track, decoy, low, high } = this.data, { width, height } = this;
    const first = Math.log10(Math.min(1, decoy.at[0] ?? 1)), last = Math.log10(Math.max(2, track.count));
    this.x = (at) => LEFT + 10 + ((Math.log10(at) - first) / (last - first)) * (width - LEFT - RIGHT - 20);
    this.floor = height - AXIS - BAND;
    const bottom = low === null ? 0 : Math.log10(Math.min(low, high / 3)), top = low === null ? 1 : Math.log10(high);
    const scale = (this.floor - 8 - TOP - 8) / (top - bottom);
    this.y = (value) => (low !== null && value >= low ? TOP + 8 + (top - Math.log10(value)) * scale : this.floor + BAND / 2);
    this.range = low === null ? null : [10 ** bottom, high];
  }

  position({ decoy, place }) {
    const { track, decoy: decoys } = this.data;
    return [this.x(decoy ? (place * track.count) / decoys.count : place), this.y(this.know({ decoy, place }).value)];
  }

  axes() {
    const { data, plot, width, height, floor } = this, right = width - RIGHT, bottom = height - AXIS;
    plot.append(node("rect", { x: LEFT, y: floor, width: right - LEFT, height: BAND, class: "band" }));
    [data.cut ? "near zero" : "zero", "or below"].forEach((text, i) => // in the margin, where no dots are
      plot.append(node("text", { x: LEFT - 8, y: floor + BAND / 2 - 2 + 13 * i, class: "label", "text-anchor": "end" }, text)));
    if (this.range) {
      let above = Infinity;
      for (let power = Math.floor(Math.log10(this.range[0])); power <= Math.log10(this.range[1]); power++)
        for (const factor of [1, 2, 5]) {
          const value = factor * 10 ** power, level = this.y(value);
          if (value < this.range[0] * 0.999 || value > this.range[1] || above - level < 22) continue;
          above = level;
          plot.append(node("line", { x1: LEFT, x2: right, y1: level, y2: level, class: "grid" }));
          plot.append(node("text", { x: LEFT - 8, y: level + 4, class: "label", "text-anchor": "end" }, digits(value)));
        }
    } else plot.append(node("text", { x: (LEFT + right) / 2, y: (TOP + floor) / 2, class: "label", "text-anchor": "middle" }, "no score is above zero"));
    let last = -Infinity;
    for (let power = 1; power <= data.track.count; power *= 10)
      for (const place of [power, 2 * power, 5 * power].filter((one) => one <= data.track.count)) {
        const text = grouped(place), half = 4 * text.length + 6, level = this.x(place); // a digit is about 8 px wide
        if (level - half < last) continue;
        last = level + half;
        plot.append(node("line", { x1: level, x2: level, y1: bottom, y2: bottom + 5, class: "tick" }));
        plot.append(node("text", { x: Math.min(level, width - half + 6), y: bottom + 18, class: "label", "text-anchor": "middle" }, text));
      }
    plot.append(node("text", { x: 2, y: 14, class: "label name" }, data.name + (data.power && ` (${data.power.trim()})`)));
    plot.append(node("text", { x: right, y: height - 6, class: "label", "text-anchor": "end" }, "place among the training tracks, 1 = strongest"));
  }

  draw() {
    const { plot, data } = this;
    this.width = plot.clientWidth;
    if (!data || !this.width) return;
    this.height = plot.clientHeight;
    plot.replaceChildren();
    plot.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    if (!data.track.count) { this.readout.textContent = "No scores to draw."; return; }
    this.scales();
    this.axes();
    const { track, decoy } = this.data, line = (points) => "M" + points.map((point) => point.map((one) => one.toFixed(1)).join(" ")).join("L");
    const decoys = decoy.at.map((at, i) => [this.x(at), this.y(decoy.value[i])]);
    const points = track.place.map((place, i) => [this.x(place), this.y(track.value[i])]);
    // A dot shrinks where the next one is near, so that far places read as a line. Dots above noise are drawn last, on top.
    const fit = (all) => all.map(([cx, cy], i) => [cx, cy, clamp((all[i + 1]?.[0] ?? cx + 2) - cx, 1.6, 3.4)]);
    const sized = fit(points);
    if (decoys.length) plot.append(node("path", { class: "line decoys", d: line(decoys) }));
    if (decoys.length) plot.append(node("path", { class: "mark decoy", d: fit(decoys).map((mark) => diamond(...mark)).join("") }));
    plot.append(node("path", { class: "line", d: line(points) }));
    plot.append(node("path", { class: "mark rest", d: dots(sized.filter((_, i) => !track.out[i])) }));
    plot.append(node("path", { class: "mark out", d: dots(sized.filter((_, i) => track.out[i]).map(([cx, cy, r]) => [cx, cy, r + 1])) }));
    this.live = plot.appendChild(node("g", { class: "live" }));
    this.mark();
  }

  // Everything that moves: marks of the player's lanes, the chosen track, the crosshair, and its readout.
  mark() {
    const { live, at, chosen, hover, data } = this, where = hover || at, series = this.series(where.decoy);
    if (!live || !series.count) return;
    live.replaceChildren();
    const ring = (place, r, name) => {
      const [cx, cy] = this.position(place);
      live.append(node("circle", { cx, cy, r, class: name }));
    };
    const [cx] = this.position(where);
    live.append(node("line", { x1: cx, x2: cx, y1: TOP, y2: this.height - AXIS, class: "cross" }));
    for (const lane of this.lanes.map((id) => this.find(id)).filter(Boolean)) ring(lane, 6.5, "lane");
    if (chosen) ring(chosen, 9, "chosen");
    if (!chosen || chosen.place !== where.place || chosen.decoy !== where.decoy) ring(where, 8, "cursor");
    const parts = this.sentence(where), first = document.createElement("strong");
    first.textContent = parts[0];
    this.readout.replaceChildren(first, " · " + parts.slice(1).join(" · "));
    this.plot.setAttribute("aria-valuemax", this.series(at.decoy).count);
    this.plot.setAttribute("aria-valuenow", at.place);
    this.plot.setAttribute("aria-valuetext", this.sentence(at).join(", "));
    this.place.max = this.series(at.decoy).count;
    if (document.activeElement !== this.place) this.place.value = at.place;
    this.last.textContent = `of ${grouped(this.series(at.decoy).count)}`;
    this.previous.disabled = at.place <= 1;
    this.next.disabled = at.place >= this.series(at.decoy).count;
    this.take.setAttribute("aria-label", `${at.decoy ? "Decoy" : "Place"} ${grouped(at.place)} into the player`);
    for (const kind of this.kinds.children) kind.setAttribute("aria-pressed", (kind.dataset.decoy === "true") === at.decoy);
    this.plot.setAttribute("aria-label", `${data.name} by place: ${at.decoy ? "decoys" : "training tracks"}`);
  }

  // The place under the pointer: a decoy's while the slider steps through decoys, else a track's or a decoy's near by.
  under(event) {
    const { data, plot } = this, { track, decoy } = data, box = plot.getBoundingClientRect(), px = event.clientX - box.x, py = event.clientY - box.y;
    const unit = this.x(10) - this.x(1), at = 10 ** ((px - this.x(1)) / unit);
    if (this.at.decoy) return { decoy: true, place: clamp(Math.round((at * decoy.count) / track.count), 1, decoy.count) };
    const place = clamp(Math.round(at), 1, track.count);
    const [tx, ty] = this.position({ decoy: false, place });
    let found = { decoy: false, place }, least = Math.min(NEAR, Math.hypot(tx - px, ty - py));
    decoy.at.forEach((mark, i) => {
      const distance = Math.hypot(this.x(mark) - px, this.y(decoy.value[i]) - py);
      if (distance < least) { least = distance; found = { decoy: true, place: decoy.place[i] }; }
    });
    return found;
  }

  move(place, decoy = this.at.decoy) {
    this.at = { decoy, place: clamp(place, 1, this.series(decoy).count) };
    this.hover = null;
    this.mark();
  }

  swap(decoy) {
    const to = this.series(decoy).count;
    if (decoy !== this.at.decoy && to) this.move(Math.round((this.at.place * to) / this.series(this.at.decoy).count), decoy);
  }

  choose() {
    const { decoy, place } = this.at, again = this.chosen?.decoy === decoy && this.chosen.place === place;
    if (!again) this.picked.push({ decoy, place }); // the server does not answer a place that is chosen already
    if (!again) this.chosen = { decoy, place, id: null };
    this.mark();
    this.trigger("pick", { place, decoy });
  }

  // Moves to the place in the number field; returns false where it holds none.
  typed() {
    const wanted = Math.round(Number(this.place.value)), good = Boolean(this.live && this.data?.track.count) && wanted >= 1;
    if (good) this.move(wanted);
    return good;
  }

  key(event) {
    const { count } = this.series(this.at.decoy), { place } = this.at;
    const to = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1,
      PageDown: place + 10, PageUp: place - 10, Home: 1, End: count }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (to !== undefined) this.move(to);
    else if (event.key === "d") this.swap(!this.at.decoy);
    else if (event.key === "Enter") this.choose();
    else return;
    event.preventDefault();
    event.stopPropagation(); // the player has keys of its own
  }

  listen() {
    const { plot, place } = this, ready = () => Boolean(this.live && this.data?.track.count);
    const leave = () => { if (this.hover) { this.hover = null; this.mark(); } };
    plot.addEventListener("pointermove", (event) => { if (ready()) { this.hover = this.under(event); this.mark(); } });
    plot.addEventListener("pointerleave", leave);
    plot.addEventListener("pointercancel", leave);
    plot.addEventListener("click", (event) => { if (ready()) { const to = this.under(event); this.move(to.place, to.decoy); this.choose(); } });
    plot.addEventListener("keydown", (event) => { if (ready()) this.key(event); });
    for (const [button, by] of [[this.previous, -1], [this.next, 1]])
      button.addEventListener("click", () => { if (ready()) this.move(this.at.place + by); });
    this.take.addEventListener("click", () => { if (ready()) this.choose(); });
    place.addEventListener("input", () => this.typed());
    place.addEventListener("change", () => { place.value = this.at.place; });
    place.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      if (this.typed()) this.choose();
      place.value = this.at.place;
    });
    this.kinds.addEventListener("click", (event) => { if (ready() && event.target.dataset.decoy) this.swap(event.target.dataset.decoy === "true"); });
    this.on("whence:focus", ({ track_id: id }) => {
      const found = this.find(id); // null where the track lies between samples
      const answered = this.picked.findIndex((one) => !found || (one.decoy === found.decoy && one.place === found.place));
      if (answered >= 0) { // the answer to a pick of this part: the slider may have moved on since, and stays there
        const pick = this.picked.splice(0, answered + 1).pop();
        if (!this.picked.length) this.chosen = { ...pick, id };
      } else {
        this.picked = [];
        if (found) this.at = this.chosen = found;
        else if (this.chosen?.id !== id) this.chosen = null;
      }
      if (ready()) this.mark();
    });
    this.on("whence:lanes", ({ track_ids: ids }) => { this.lanes = ids || []; if (ready()) this.mark(); });
    new ResizeObserver(() => { if (plot.clientWidth !== this.width) this.draw(); }).observe(plot);
  }

  // A listener on the window that removes itself with the component: Gradio has no unmount event.
  on(name, react) {
    const heard = (event) => (this.element.isConnected ? react(event.detail || {}) : window.removeEventListener(name, heard));
    window.addEventListener(name, heard);
  }
}

export function mount(part) {
  const curve = new Curve(part);
  part.watch("value", () => curve.load());
  curve.load();
  window.dispatchEvent(new CustomEvent("whence:ready")); // asks the player to send its lanes again: it may have done so before this part was there
}
