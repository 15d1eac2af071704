// Rights holders: groups by lift over chance, a holder's first questions, and where one group's tracks come up.
// props.value is the dict of `HoldersPage.describe_holders` (explorer/holders/page.py); text reaches the page only through
// textContent.
// Events: ask (the fields of HolderQuery), switch {method}, hear {clip_id, track_id, from_s, to_s, clip_from_s, clip_to_s}.
import { links } from "./downloads.js";

const SVG = "http://www.w3.org/2000/svg";
const PAUSE_MS = 250; // after the last key, before the server is asked
const WIDTH = 150, HEIGHT = 18, FURTHEST = 8; // of a drawn interval, in its own units; lift is drawn from 1/8 to 8, on a log axis
const COLUMNS = [
  ["name", "name"], ["tracks", "training tracks"], ["hits", "comes up"], ["expected", "by chance"],
  ["interval", "lift (95 % interval)"], ["above", "above noise"], ["best", "best place"],
];

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

const EFFECTS = [["clip", "clip"], ["total", "sum"], ["usual", "of such sets, median"], ["p", "p"], ["q", "q"], ["badge", "the catalogue"]];

const seconds = ([from, to]) => `${from.toFixed(1)}–${to.toFixed(1)} s`;

class Holders {
  constructor({ element, props, trigger }) {
    this.props = props;
    this.trigger = trigger;
    this.root = element.querySelector(".holders");
    const part = (name) => this.root.querySelector(name);
    for (const name of ["grouping", "count", "method", "methods", "find", "note", "unknown", "chosen", "questions", "where", "all", "found", "sift", "catalogue", "unlearn"])
      this[name] = part("." + name);
    this.data = null;
    part(".ask").addEventListener("submit", (event) => { event.preventDefault(); this.toList(); });
    this.grouping.addEventListener("change", () => this.ask({ grouping: this.grouping.value, name: null, find: "" }));
    this.count.addEventListener("change", () => this.ask({ count: this.count.value }));
    this.method.addEventListener("change", () => this.trigger("switch", { method: this.method.value }));
    for (const [field, name] of [["find", "find"], ["sift", "within"]])
      this[field].addEventListener("input", () => {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => { this.timer = null; this.ask({ [name]: this[field].value }); }, PAUSE_MS);
      });
    part(".leave").addEventListener("click", () => { this.ask({ name: null }); this.find.focus(); });
    this.unlearn.addEventListener("click", () => this.ask({ unlearn: !this.data.chosen.catalogue.asked, row: this.data.chosen.offset }));
    this.turns(this.all, "offset", () => this.data.groups);
    this.turns(this.where, "row", () => this.data.chosen);
  }

  turns(section, field, page) {
    const turn = (by) => this.ask({ [field]: Math.max(0, page().offset + by * page().limit) });
    section.querySelector(".back").addEventListener("click", () => turn(-1));
    section.querySelector(".on").addEventListener("click", () => turn(1));
  }

  ask(change) {
    const { grouping, count, groups, chosen } = this.data, name = chosen ? chosen.name : null;
    const stays = chosen && !("name" in change), within = stays ? chosen.within : "", unlearn = Boolean(stays && chosen.catalogue?.asked);
    this.trigger("ask", { grouping, count, name, find: groups.find, offset: 0, row: 0, within, unlearn, ...change });
  }

  hear(pair, where) { this.trigger("hear", { clip_id: pair.clip_id, track_id: pair.track_id, ...where }); window.scrollTo({ top: 0, behavior: "instant" }); }

  load() {
    const before = this.data, data = this.props.value || null;
    this.data = data;
    this.root.hidden = !data;
    if (!data) return;
    this.options(this.grouping, data.groupings, data.grouping);
    this.options(this.count, data.counts, data.count);
    this.options(this.method, data.methods, data.method);
    this.methods.hidden = data.methods.length < 2;
    if (this.find !== document.activeElement) this.find.value = data.groups.find;
    this.showCount(data.groups);
    this.note.textContent = data.note;
    this.note.hidden = !data.note;
    this.unknown.textContent = data.unknown === null ? "" : `No ${data.grouping} of this store is called “${data.unknown}”.`;
    this.showChosen(data.chosen);
    this.questions.replaceChildren(...data.questions.map((one) => this.question(one)));
    this.showGroups(data.groups);
    if (before && data.chosen && before.chosen?.name !== data.chosen.name) {
      this.root.scrollIntoView({ block: "start", behavior: "instant" });
      this.chosen.querySelector("h3").focus({ preventScroll: true });
    }
  }

  // The list lies far below the field: the number of matches stands beside the field, and Enter scrolls to the list.
  showCount({ find, total, of }) {
    const number = total.toLocaleString("en"), all = of.toLocaleString("en");
    this.found.textContent = find.trim() ? `${number} of ${all} names ${total === 1 ? "holds" : "hold"} “${find.trim()}”${total ? ": listed below, Enter goes there." : "."}` : "";
  }

  toList() {
    this.all.scrollIntoView({ block: "start", behavior: "instant" });
    this.all.querySelector("tbody button")?.focus({ preventScroll: true });
  }

  options(select, list, value) {
    const names = JSON.stringify(list);
    if (select.dataset.names !== names) {
      select.dataset.names = names;
      select.replaceChildren(...list.map(({ id, label }) => { const option = make("option", "", label); option.value = id; return option; }));
    }
    select.value = value;
  }

  showChosen(chosen) {
    this.chosen.hidden = this.where.hidden = !chosen;
    if (!chosen) return;
    this.chosen.querySelector("h3").textContent = chosen.role ? `${chosen.name}, ${chosen.role}` : chosen.name;
    this.chosen.querySelector(".result").replaceChildren(...chosen.result.map((line) => make("p", "", line)));
    this.chosen.querySelector(".downloads").replaceChildren(...links(chosen.downloads));
    this.showCatalogue(chosen.catalogue);
    const filtered = Boolean(chosen.within.trim());
    this.where.querySelector("h3").textContent = filtered ? `${chosen.heading}: ${chosen.total} of ${chosen.of} rows` : chosen.heading;
    this.sift.closest(".within").hidden = !chosen.of;
    if (this.sift !== document.activeElement) this.sift.value = chosen.within;
    this.where.querySelector(".empty").textContent = filtered ? `No row holds “${chosen.within.trim()}”.` : "Nothing was scored.";
    this.paged(this.where, chosen);
    this.where.querySelector(".pairs").replaceChildren(...chosen.rows.map((row) => this.pair(row)));
  }

  // What unlearning the whole group would do, clip by clip: on request.
  showCatalogue(catalogue) {
    this.catalogue.hidden = !catalogue;
    if (!catalogue) return;
    const { label, asked, lines, rows, left_out: more, sum } = catalogue, part = (name) => this.catalogue.querySelector(name);
    this.unlearn.textContent = label;
    this.unlearn.setAttribute("aria-expanded", asked);
    part(".whole").replaceChildren(...lines.map((line) => make("p", "", line)));
    part(".effects").hidden = !rows.length;
    part(".left-out").textContent = more ? `${more.toLocaleString("en")} further clips, with larger p, are not listed.` : "";
    const columns = EFFECTS.map(([name, text]) => [name, name === "total" ? sum : text]), head = make("tr");
    for (const [name, text] of columns) {
      const cell = make("th", name, text);
      cell.scope = "col";
      head.append(cell);
    }
    part("thead").replaceChildren(head);
    part("tbody").replaceChildren(...rows.map((row) => {
      const line = make("tr", row.kind);
      for (const [name, text] of columns) {
        const cell = make("td", name);
        cell.dataset.label = text;
        cell.append(name === "badge" ? make("span", `chip ${row.kind}`, row.badge) : row[name]);
        line.append(cell);
      }
      return line;
    }));
  }

  pair(row) {
    const item = make("li", row.kind), what = make("div", "what"), facts = make("div", "facts"), hear = make("div", "hear");
    what.append(make("strong", "title", row.title), make("span", "muted", row.people));
    for (const note of [row.work, row.planted && `planted case: ${row.planted}`, row.why && `cannot be played: ${row.why}`])
      if (note) what.append(make("span", "flag", note));
    what.append(make("span", "muted", `clip ${row.clip}`));
    facts.append(make("span", `chip ${row.kind}`, row.badge), make("span", "", `place ${row.place} of ${row.of}`));
    for (const text of [row.q, `normalised ${row.norm}`, row.model]) if (text) facts.append(make("span", "", text));
    const button = (text, label, where) => {
      const made = make("button", "", text);
      made.type = "button";
      made.setAttribute("aria-label", label);
      made.addEventListener("click", () => this.hear(row, where));
      hear.append(made);
    };
    const track = row.track_at && { from_s: row.track_at[0], to_s: row.track_at[1] };
    if (row.hears) button(`track ${seconds(row.track_at)}`, `Hear ${row.title} at its strongest moment`, track);
    else button("in the player", `Open ${row.title} beside clip ${row.clip_id}`, {});
    if (row.clip_at) button(`clip ${seconds(row.clip_at)}`, `Open clip ${row.clip_id} where it draws most from ${row.title}`,
      { ...(row.hears ? track : {}), clip_from_s: row.clip_at[0], clip_to_s: row.clip_at[1] });
    item.append(what, facts, hear);
    return item;
  }

  question({ title, lines, passages, command }) {
    const box = make("section", "question");
    box.append(make("h4", "", title), ...lines.map((line) => make("p", "", line)));
    if (passages?.length) {
      const list = make("ul", "passages");
      for (const one of passages) {
        const item = make("li"), button = make("button", "", "hear both");
        button.type = "button";
        button.setAttribute("aria-label", `Hear both: ${one.text}`);
        button.addEventListener("click", () => this.hear(one, { from_s: one.track_at[0], to_s: one.track_at[1], clip_from_s: one.clip_at[0], clip_to_s: one.clip_at[1] }));
        item.append(make("span", "", one.text), button);
        list.append(item);
      }
      box.append(list);
    }
    if (command) box.append(make("code", "", command));
    return box;
  }

  paged(section, { total, offset, limit, rows }) {
    const pages = section.querySelector(".pages");
    pages.hidden = total <= limit;
    pages.querySelector(".back").disabled = offset === 0;
    pages.querySelector(".on").disabled = offset + limit >= total;
    section.querySelector(".empty").hidden = rows.length > 0;
  }

  showGroups(groups) {
    const shown = groups.rows.length, range = groups.total > groups.limit ? `${groups.offset + 1}–${groups.offset + shown} of ` : "";
    this.all.querySelector("h3").textContent = `By lift over chance: ${range}${groups.total.toLocaleString("en")} ${groups.total === 1 ? "name" : "names"}${groups.total < groups.of ? ` of ${groups.of.toLocaleString("en")}` : ""}`;
    this.all.querySelector(".why").replaceChildren(...this.data.why.map((line) => make("p", "", line)));
    this.paged(this.all, groups);
    this.all.querySelector(".scroll").hidden = !shown;
    const head = make("tr");
    for (const [name, text] of COLUMNS) {
      const cell = make("th", name, text);
      cell.scope = "col";
      head.append(cell);
    }
    this.all.querySelector("thead").replaceChildren(head);
    this.all.querySelector("tbody").replaceChildren(...groups.rows.map((row) => this.group(row)));
  }

  group(data) {
    const row = make("tr", data.stands);
    for (const [name, text] of COLUMNS) {
      const cell = make("td", name);
      cell.dataset.label = text;
      if (name === "name") {
        const button = make("button", "name", data.name);
        button.type = "button";
        button.addEventListener("click", () => this.ask({ name: data.name, offset: this.data.groups.offset }));
        if (this.data.chosen?.name === data.name) row.setAttribute("aria-current", "true");
        cell.append(button);
      } else if (name === "interval") {
        const words = make("span", "words");
        words.append(make("span", "", data.text), make("span", "stands", data.stands_text));
        cell.append(this.interval(data), words);
      } else if (name === "tracks" && data.works !== data.tracks) {
        cell.append(make("span", "", data.tracks), make("span", "muted", ` (${data.works} ${data.works === "1" ? "work" : "works"})`));
      } else cell.textContent = data[name];
      row.append(cell);
    }
    return row;
  }

  // Lift and its interval on a log axis around 1, clipped at the edges.
  interval({ low, lift, high }) {
    const span = Math.log(FURTHEST), x = (value) => (WIDTH / 2) * (1 + Math.max(-1, Math.min(1, Math.log(Math.max(value, 1e-9)) / span)));
    const svg = draw("svg", { viewBox: `-4 0 ${WIDTH + 8} ${HEIGHT}`, class: "interval", "aria-hidden": "true" });
    svg.append(draw("line", { class: "one", x1: WIDTH / 2, x2: WIDTH / 2, y1: 0, y2: HEIGHT }));
    if (high === null) return svg;
    svg.append(draw("line", { class: "range", x1: x(low), x2: x(high), y1: HEIGHT / 2, y2: HEIGHT / 2 }));
    svg.append(draw("circle", { cx: x(lift), cy: HEIGHT / 2, r: 4 }));
    return svg;
  }
}

export function mount(part) {
  const holders = new Holders(part);
  part.watch("value", () => holders.load());
  holders.load();
}
