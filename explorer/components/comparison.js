// Two methods on one clip: two columns of strongest tracks, lines between tracks in both, and a scatter of places.
// props.value is the dict of explorer/methods/page.py `compare`; text reaches the page only through textContent.
// Events: choose {clip_id | method | versus | measure}, open {clip_id, track_id, method}.
import { button, draw, holds, make, options } from "./dom.js";
import { hear } from "./preview.js";
import { scatter, whenWide } from "./scatter.js";

class MethodComparison {
  constructor({ element, props, trigger }) {
    this.element = element;
    this.props = props;
    this.trigger = trigger;
    for (const part of ["clip", "first", "second", "measure", "lines", "sides", "links", "left", "right", "dots", "keys", "find"])
      this[part] = element.querySelector("." + part);
    const asked = { clip: "clip_id", first: "method", second: "versus", measure: "measure" };
    for (const [part, name] of Object.entries(asked))
      this[part].addEventListener("change", () => trigger("choose", { [name]: name === "clip_id" ? Number(this[part].value) : this[part].value }));
    this.find.addEventListener("input", () => this.show());
    element.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    whenWide(this.element.querySelector(".study"), () => this.paint());
  }

  load() {
    const data = this.props.value || null;
    this.data = data;
    this.element.querySelector(".study").hidden = !data;
    if (!data) return;
    options(this.clip, data.clips, data.clip_id);
    options(this.first, data.methods, data.method);
    options(this.second, data.methods.filter(([name]) => name !== data.method), data.versus);
    options(this.measure, data.measures, data.measure);
    const alone = data.versus === null;
    for (const part of [this.second, this.measure]) part.closest(".field").hidden = alone;
    this.lines.replaceChildren(...data.lines.map((line) => make("p", "", line)));
    this.sides.hidden = this.dots.hidden = this.keys.hidden = !data.columns.some((column) => column.rows.length);
    this.find.closest(".field").hidden = this.sides.hidden;
    this.show();
  }

  // Both columns, filtered; the scatter keeps every track.
  show() {
    const { columns } = this.data;
    if (columns.length) [this.left, this.right].forEach((side, i) => this.column(side, columns[i], columns[1 - i]));
    this.paint();
  }

  column(side, data, other) {
    side.querySelector("h3").textContent = data.label;
    const rows = data.rows.filter((row) => holds(`${row.title} ${row.note}`, this.find.value));
    side.querySelector("ol").replaceChildren(...rows.map((row) => {
      const item = make("li", row.above ? "above" : ""), what = make("div", "what"), elsewhere = row.other === null ? "not scored" : `place ${row.other}`;
      item.dataset.track = row.track_id;
      what.append(button("name", row.title, () => this.open(row.track_id, data === this.data.columns[0] ? this.data.method : this.data.versus)));
      what.append(make("span", "sub", row.note), make("span", "sub sure", row.sure));
      const there = make("span", "there", row.other === null ? "–" : row.other);
      there.title = `${elsewhere} by ${other.label}`;
      item.append(hear("track", row.track_id, row.title, row.why, row.gain_db), make("span", "place", row.place), what, there);
      for (const [name, on] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]])
        item.addEventListener(name, () => this.light(row.track_id, on));
      return item;
    }));
    side.querySelector(".own").textContent = rows.length ? `on the right of a row: its place by ${other.label}` : "";
    const none = data.rows.length ? `None of the ${data.rows.length} tracks listed holds “${this.find.value.trim()}”.` : `${data.label} did not score this clip.`;
    side.querySelector(".empty").hidden = rows.length > 0;
    side.querySelector(".empty").textContent = rows.length ? "" : none;
  }

  open(track_id, method) { this.trigger("open", { clip_id: this.data.clip_id, track_id, method }); }

  light(id, on) { this.element.querySelectorAll(`[data-track="${id}"]`).forEach((part) => part.classList.toggle("lit", on)); }

  // The lines between rows, then the scatter: both depend on the size of the part on the page.
  paint() {
    const { data } = this;
    if (!data?.columns.length || !this.links.clientWidth) return;
    const top = this.links.getBoundingClientRect().top, width = this.links.clientWidth;
    const middle = (item) => { const box = item.getBoundingClientRect(); return box.top + box.height / 2 - top; };
    const right = new Map([...this.right.querySelectorAll("li")].map((item) => [item.dataset.track, item]));
    const pairs = [...this.left.querySelectorAll("li")].filter((item) => right.has(item.dataset.track)).map((item) => [item, right.get(item.dataset.track)]);
    this.links.setAttribute("viewBox", `0 0 ${width} ${this.links.clientHeight}`);
    this.links.replaceChildren(...pairs.map(([a, b]) => {
      const [from, to] = [middle(a), middle(b)], both = a.classList.contains("above") && b.classList.contains("above");
      const path = `M0 ${from} C${width / 2} ${from} ${width / 2} ${to} ${width} ${to}`;
      return draw("path", { d: path, class: both ? "above" : "", "data-track": a.dataset.track });
    }));
    this.element.querySelectorAll("li").forEach((item) => item.classList.toggle("shared", pairs.some((pair) => pair.includes(item))));
    const [a, b] = data.columns.map((column) => `place by ${column.label}`);
    scatter(this.dots.querySelector("svg"), data.scatter, { x: { name: a, log: true }, y: { name: b, log: true, reverse: true } }, null, (id) => this.open(id, data.method));
  }
}

export function mount(part) {
  const comparison = new MethodComparison(part);
  part.watch("value", () => comparison.load());
  comparison.load();
}
