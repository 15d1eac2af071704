// Overview of clips: a card each, sorted and filtered here, as all cards are in the page. Event: open {clip_id}.
// props.value is the dict of explorer/listen/overview.py `describe_clips`; text reaches the page only through textContent.
import { hear } from "./preview.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 160, HEIGHT = 56; // of a spark line, in units of its viewBox
const FIRST = 24; // cards that are shown before "more" is pressed

function make(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function draw(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Without accents and case, as the server compares tracks.
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

class Overview {
  constructor({ element, props, trigger }) {
    this.element = element;
    this.props = props;
    this.trigger = trigger;
    for (const part of ["text", "sort", "count", "made", "known", "more", "controls", "empty", "clear"])
      this[part] = element.querySelector("." + part);
    this.all = false;
    this.data = null;
    this.text.addEventListener("input", () => this.show());
    this.sort.addEventListener("change", () => this.show());
    this.more.addEventListener("click", () => {
      const first = this.made.children.length;
      this.all = true;
      this.show();
      this.made.children[first]?.querySelector("button").focus();
    });
    this.clear.addEventListener("click", () => { this.text.value = ""; this.show(); this.text.focus(); });
    element.querySelector(".ask").addEventListener("submit", (event) => event.preventDefault());
  }

  load() {
    this.data = this.props.value || null;
    this.element.querySelector(".clips").hidden = !this.data;
    if (!this.data) return;
    const { controls, selected } = this.data;
    if (controls.some((card) => card.clip_id === selected)) this.controls.open = true;
    this.show();
  }

  // Cards that hold every word of the filter, in the chosen order; clips that were not scored come last.
  listed(cards) {
    const words = plain(this.text.value).split(" ").filter(Boolean), by = this.sort.value;
    const found = cards.filter((card) => words.every((word) => plain(`${card.name} ${card.detail}`).includes(word)));
    return by === "clip" ? found : found.sort((a, b) => (b[by] ?? -1) - (a[by] ?? -1));
  }

  show() {
    const { clips, controls, selected } = this.data, made = this.listed(clips), known = this.listed(controls);
    const at = made.findIndex((card) => card.clip_id === selected), few = this.all || made.length <= FIRST + 4 || at >= FIRST;
    const held = this.element.contains(document.activeElement) ? document.activeElement.dataset.clip : undefined;
    this.made.replaceChildren(...(few ? made : made.slice(0, FIRST)).map((card) => this.card(card)));
    this.known.replaceChildren(...known.map((card) => this.card(card)));
    if (held) this.element.querySelector(`[data-clip="${held}"]`)?.focus({ preventScroll: true });
    this.more.hidden = few;
    this.more.textContent = `Show the other ${made.length - FIRST} clips`;
    this.controls.hidden = !known.length;
    this.controls.querySelector("summary").textContent = known.length === 1 ? "1 control" : `${known.length} controls`;
    const found = made.length + known.length, all = clips.length + controls.length;
    if (this.text.value && known.length && !made.length) this.controls.open = true;
    this.empty.hidden = found > 0;
    this.count.textContent = found < all ? `${found} of ${all} clips` : all === 1 ? "1 clip" : `${all} clips`;
  }

  card(data) {
    const item = make("li"), button = make("button", "card-of"), chosen = data.clip_id === this.data.selected;
    button.type = "button";
    button.dataset.clip = data.clip_id;
    const name = make("span", "name", data.name), above = make("span", "above", data.above_text);
    name.title = data.name;
    button.classList.toggle("some", data.above > 0);
    button.classList.toggle("chosen", chosen);
    if (chosen) button.setAttribute("aria-current", "true");
    // The card's name for a screen reader: full stops keep its lines apart.
    button.setAttribute("aria-label", [data.name, data.detail.replaceAll(" · ", ", "), data.above_text, data.share_text].filter(Boolean).join(", "));
    const facts = make("span", "facts");
    facts.append(above, make("span", "share", data.share_text));
    button.append(name, make("span", "detail", chosen ? `${data.detail} · open` : data.detail));
    if (data.spark.length) button.append(this.spark(data.spark));
    button.append(facts);
    button.addEventListener("click", () => {
      this.trigger("open", { clip_id: data.clip_id });
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      window.scrollTo({ top: 0, behavior: calm ? "instant" : "smooth" }); // the clip opens at the top of the page
    });
    item.append(button, hear("clip", data.clip_id, data.name, data.why, data.gain_db));
    return item;
  }

  spark(values) {
    const root = (value) => Math.sign(value) * Math.sqrt(Math.abs(value)), [low, high] = this.data.scale.map(root);
    const y = (value) => (HEIGHT - 3 - ((root(value) - low) / (high - low || 1)) * (HEIGHT - 6)).toFixed(1);
    const svg = draw("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const points = values.map((value, i) => `${((i / Math.max(1, values.length - 1)) * WIDTH).toFixed(1)},${y(value)}`);
    svg.append(draw("polygon", { points: `0,${y(0)} ${points.join(" ")} ${WIDTH},${y(0)}` }));
    svg.append(draw("line", { class: "zero", x1: 0, x2: WIDTH, y1: y(0), y2: y(0) }));
    svg.append(draw("polyline", { points: points.join(" ") }));
    return svg;
  }
}

export function mount(part) {
  const overview = new Overview(part);
  part.watch("value", () => overview.load());
  overview.load();
}
