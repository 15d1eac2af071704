// Table of tracks: one page of rows from the server, which filters and sorts. Events: ask (the fields of TableQuery),
// choose {track_id, play}.
// props.value is the dict of explorer/listen/page.py `compact_table`; text reaches the page only through textContent.
const SVG = "http://www.w3.org/2000/svg";
const PAUSE_MS = 250; // after the last key, before the server is asked
const ICONS = { play: "M5 3l9 5-9 5z", pause: "M4 3h3v10H4zM9 3h3v10H9z" };
const WORDS = ["A to Z", "Z to A"], SIZES = ["lowest first", "highest first"], STRENGTHS = ["strongest first", "weakest first"];
const SORTS = { place: STRENGTHS, title: WORDS, composer: WORDS, collection: WORDS, source: WORDS, q: SIZES, error: SIZES, raw: STRENGTHS };
const UNFILTERED = { text: "", collection: null, above: false };
const PATIENCE_MS = 8000; // after which a question counts as unanswered

function make(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function icon() {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

// Rows come as lists, and texts that many rows share come once (explorer/listen/table.py).
function unpacked(data) {
  const rows = data.rows.map((values) => {
    const row = {};
    data.columns.forEach((name, i) => { if (values[i] !== null) row[name] = data.shared.includes(name) ? data.texts[values[i]] : values[i]; });
    return row;
  });
  return { ...data, rows };
}

const grouped = (count) => count.toLocaleString("en");

class Table {
  constructor({ element, props, trigger }) {
    this.element = element;
    this.props = props;
    this.trigger = trigger;
    for (const part of ["ask", "text", "collection", "sort", "above", "decoys", "works", "count", "pages", "back", "on", "scroll", "empty", "clear"])
      this[part] = element.querySelector("." + part);
    this.head = element.querySelector("thead");
    this.body = element.querySelector("tbody");
    this.data = null;
    this.asked = { ...UNFILTERED, decoys: false, works: false, sort: "place", descending: false, offset: 0 };
    this.selected = null;
    this.lanes = new Set();
    this.whole = new Set(); // ids of tracks whose licence is shown in full
    this.playing = null;
    for (const [by, ways] of Object.entries(SORTS))
      ways.forEach((way, down) => {
        const option = make("option", "", `${by}, ${way}`);
        option.value = `${by} ${Boolean(down)}`;
        this.sort.append(option);
      });
    this.listen();
  }

  // ---- asking ----

  send(change, settle = 0) {
    this.asked = { ...this.asked, offset: 0, ...change };
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = null;
      this.scroll.setAttribute("aria-busy", "true");
      this.trigger("ask", { ...this.asked });
      clearTimeout(this.patience);
      this.patience = setTimeout(() => this.scroll.removeAttribute("aria-busy"), PATIENCE_MS); // the question was refused, or lost
    }, settle);
  }

  sortBy(by) { this.send({ sort: by, descending: this.asked.sort === by && !this.asked.descending }); }

  choose(id, play) {
    if (play) window.dispatchEvent(new CustomEvent("whence:play", { detail: { track_id: id } }));
    this.selected = id;
    this.marks();
    this.trigger("choose", { track_id: id, play });
  }

  press(row) {
    if (!row.playable) return;
    if (this.playing === row.track_id) window.dispatchEvent(new CustomEvent("whence:pause"));
    else this.choose(row.track_id, true);
  }

  // ---- showing ----

  load() {
    const before = this.data, data = this.props.value ? unpacked(this.props.value) : null;
    this.data = data;
    this.element.querySelector(".tracks").hidden = !data;
    if (!data) return;
    this.scroll.removeAttribute("aria-busy");
    if (!this.timer) this.asked = { ...data.asked }; // while typing, the answer is not the latest question's
    this.selected = data.selected;
    this.form();
    const held = this.held();
    this.head.replaceChildren(this.heading());
    this.body.replaceChildren(...data.rows.map((row) => this.row(row)));
    this.refocus(held);
    const key = (one) => one && JSON.stringify([one.asked, one.rows[0]?.track_id]);
    if (key(before) !== key(data)) this.scroll.scrollTop = 0;
    this.counted();
    this.fit();
    this.marks();
  }

  // The controls show the answered query, except the one in use: its caret must not jump.
  form() {
    const { asked, data } = this, free = (control) => control !== document.activeElement;
    const names = JSON.stringify(data.collections);
    if (names !== this.names) {
      this.names = names;
      this.collection.replaceChildren(this.collection.options[0], ...data.collections.map((name) => {
        const option = make("option", "", name);
        option.value = `:${name}`; // '' means all; the colon keeps a collection without a name apart
        return option;
      }));
    }
    if (free(this.text) && !this.timer) this.text.value = asked.text;
    if (free(this.collection)) this.collection.value = asked.collection === null ? "" : `:${asked.collection}`;
    if (free(this.sort)) this.sort.value = `${asked.sort} ${asked.descending}`;
    this.above.checked = asked.above;
    this.decoys.checked = asked.decoys;
    this.works.checked = asked.works;
    this.above.nextElementSibling.textContent = data.span ? "only above noise in the whole clip" : "only above noise";
  }

  columns() {
    const { headings, span } = this.data;
    const licence = { name: "licence", text: "licence", sorts: ["source"] }; // last in a span, where the table is wider
    const value = span ? [{ name: "span", text: `in ${span}`, number: true }, { name: "q", text: headings.q, sorts: ["q"], number: true }] : [];
    const whole = span ? [] : [{ name: "q", text: headings.q, sorts: ["q"], number: true }];
    return [
      { name: "hear", text: "hear" }, { name: "place", text: "place", sorts: ["place"], number: true },
      { name: "title", text: "title", sorts: ["title", "composer"] }, { name: "collection", text: "collection", sorts: ["collection"] },
      ...(span ? [] : [licence]), ...value,
      { name: "norm", text: headings.norm, sorts: ["error"], number: true }, { name: "raw", text: headings.raw, sorts: ["raw"], number: true }, ...whole,
      { name: "badge", text: headings.badge }, { name: "model", text: headings.model },
      ...(span ? [licence] : []),
    ];
  }

  heading() {
    const row = make("tr"), { sort, descending } = this.data.asked;
    row.setAttribute("role", "row");
    for (const { name, text, sorts, number } of this.columns()) {
      const cell = make("th", `${name}${number ? " number" : ""}`);
      cell.scope = "col";
      cell.setAttribute("role", "columnheader");
      if (!sorts?.includes(name)) cell.append(make("span", name === "hear" ? "unseen" : "", text));
      for (const by of sorts || []) {
        const button = make("button", "by", by === name ? text : by), active = sort === by, falls = descending !== (by === "raw");
        button.type = "button";
        button.dataset.key = `sort ${by}`;
        button.setAttribute("aria-label", `Sort by ${by}`);
        const arrow = make("span", "arrow", active ? (falls ? "↓" : "↑") : "↕");
        arrow.setAttribute("aria-hidden", "true");
        button.append(arrow);
        button.classList.toggle("active", active);
        if (active) cell.setAttribute("aria-sort", falls ? "descending" : "ascending");
        button.addEventListener("click", () => this.sortBy(by));
        cell.append(button);
      }
      row.append(cell);
    }
    return row;
  }

  row(data) {
    const row = make("tr", data.kind), cells = { hear: this.hear(data), title: this.title(data), licence: this.rights(data), badge: [make("span", `chip ${data.kind}`, data.badge)], model: this.model(data) };
    row.setAttribute("role", "row");
    row.dataset.track = data.track_id;
    for (const { name, text, number } of this.columns()) {
      const cell = make("td", `${name}${number ? " number" : ""}`);
      cell.setAttribute("role", "cell");
      if (number || name === "badge" || name === "model" || name === "collection") cell.dataset.label = text;
      cell.append(...(cells[name] || [make("span", "", data[name])]));
      const own = data[`${name}_place`];
      if (own) cell.append(make("span", "own", `place ${own}`)); // an interval where the error leaves several
      if (name === "collection") cell.firstChild.title = data.collection;
      if (name === "place" && data.kind === "decoy") cell.title = "the place that a track of this score would take";
      row.append(cell);
    }
    row.addEventListener("click", (event) => {
      if (!event.target.closest("button") && !String(getSelection())) this.choose(data.track_id, false);
    });
    return row;
  }

  hear(data) {
    const button = make("button", "play");
    button.type = "button";
    button.dataset.key = `play ${data.track_id}`;
    button.append(icon());
    if (!data.playable) button.setAttribute("aria-disabled", "true");
    button.addEventListener("click", () => this.press(data));
    return [button];
  }

  title(data) {
    const title = make("button", "name", data.title), line = make("span", "muted", [data.composer, data.instrument, data.duration].filter(Boolean).join(" · "));
    title.type = "button";
    title.dataset.key = `title ${data.track_id}`;
    title.addEventListener("click", () => this.choose(data.track_id, false));
    const notes = [];
    if (data.holders) notes.push(make("span", "muted", data.holders));
    if (data.planted) notes.push(make("span", "note", `planted case: ${data.planted}`));
    if (data.work) notes.push(make("span", "note", data.work));
    if (!data.playable) notes.push(make("span", "note", `cannot be played: ${data.why || "no audio"}`));
    return [title, line, ...notes];
  }

  // The claim about the track and the model, apart from that about the clip; a hub is marked.
  model(data) {
    const chip = make("span", `chip ${data.model_kind}`, data.model);
    return data.hub ? [chip, make("span", "note hub", data.hub)] : [chip];
  }

  // Licence and source, cut to a few lines; a click shows them in full.
  rights(data) {
    const button = make("button", "rights"), id = data.track_id, arrow = make("span", "more", "…");
    const show = () => button.setAttribute("aria-expanded", this.whole.has(id));
    button.type = "button";
    button.dataset.key = `rights ${id}`;
    arrow.setAttribute("aria-hidden", "true");
    button.append(make("span", "clamp", data.licence), make("span", "clamp muted", data.source), arrow);
    button.addEventListener("click", () => { if (!this.whole.delete(id)) this.whole.add(id); show(); });
    show();
    return [button];
  }

  // A text that is not cut needs no button: a click on it is a click on the row.
  fit() {
    const cut = (part) => part.scrollHeight > part.clientHeight + 1;
    const buttons = [...this.body.querySelectorAll(".rights")];
    const needed = buttons.map((button) => button.getAttribute("aria-expanded") === "true" || [...button.querySelectorAll(".clamp")].some(cut));
    buttons.forEach((button, i) => { button.disabled = !needed[i]; });
  }

  counted() {
    const { total, of, offset, limit, rows, asked } = this.data, filtered = total !== of;
    const noun = asked.decoys ? "tracks and decoys" : of === 1 ? "track" : "tracks";
    const range = total > limit ? `${grouped(offset + 1)}–${grouped(offset + rows.length)} of ` : "";
    const match = `${range}${grouped(total)} that ${total === 1 ? "matches" : "match"}, of ${grouped(of)} ${noun}`;
    this.count.textContent = filtered ? (total ? match : "") : `${range}${grouped(of)} ${noun}`;
    this.pages.hidden = total <= limit;
    this.back.disabled = offset === 0;
    this.on.disabled = offset + limit >= total;
    this.scroll.hidden = !rows.length;
    this.empty.hidden = rows.length > 0;
    const alone = asked.above && !asked.text.trim() && asked.collection === null;
    const found = `No track matches${asked.text.trim() ? ` “${asked.text.trim()}”` : ""}.`;
    const why = alone ? "No track is above noise for this clip." : found;
    this.empty.firstChild.textContent = of ? why : "This method did not score this clip.";
    this.clear.hidden = !of;
  }

  // Marks that change without a new page of rows: the chosen row, the player's lanes, the one that sounds.
  marks() {
    for (const row of this.body.rows) {
      const id = Number(row.dataset.track), data = this.data.rows.find((one) => one.track_id === id), sounds = this.playing === id;
      row.classList.toggle("chosen", id === this.selected);
      if (id === this.selected) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      row.classList.toggle("lane", this.lanes.has(id));
      const button = row.querySelector(".play");
      button.querySelector("path").setAttribute("d", ICONS[sounds ? "pause" : "play"]);
      button.classList.toggle("sounds", sounds);
      button.setAttribute("aria-label", data.playable ? `${sounds ? "Pause" : "Play"} ${data.title}` : `Cannot play ${data.title}: ${data.why || "no audio"}`);
    }
  }

  // ---- keys and focus ----

  held() { return this.element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined; }

  // After rows were replaced, focus the button that was focused before.
  refocus(key) {
    if (key) [...this.element.querySelectorAll("[data-key]")].find((button) => button.dataset.key === key)?.focus({ preventScroll: true });
  }

  walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key], button = event.target.closest(".play, .name");
    if (!step || !button) return;
    const column = [...this.body.querySelectorAll("." + button.classList[0])], next = column[column.indexOf(button) + step];
    event.preventDefault();
    event.stopPropagation();
    next?.focus();
  }

  turn(by) {
    this.send({ offset: Math.max(0, this.data.offset + by * this.data.limit) });
    this.scroll.focus({ preventScroll: true });
  }

  listen() {
    this.ask.addEventListener("submit", (event) => { event.preventDefault(); this.send({ text: this.text.value }); });
    this.text.addEventListener("input", () => this.send({ text: this.text.value }, PAUSE_MS));
    this.collection.addEventListener("change", () => this.send({ collection: this.collection.value ? this.collection.value.slice(1) : null }));
    this.sort.addEventListener("change", () => {
      const [by, down] = this.sort.value.split(" ");
      this.send({ sort: by, descending: down === "true" });
    });
    for (const name of ["above", "decoys", "works"]) this[name].addEventListener("change", () => this.send({ [name]: this[name].checked }));
    this.clear.addEventListener("click", () => { this.text.value = ""; this.send(UNFILTERED); this.text.focus(); });
    this.back.addEventListener("click", () => this.turn(-1));
    this.on.addEventListener("click", () => this.turn(1));
    this.body.addEventListener("keydown", (event) => this.walk(event));
    new ResizeObserver(() => { if (this.scroll.clientWidth !== this.width) { this.width = this.scroll.clientWidth; this.fit(); } }).observe(this.scroll);
    this.hear_from("whence:focus", ({ track_id: id }) => { this.selected = id ?? null; });
    this.hear_from("whence:lanes", ({ track_ids: ids, playing }) => { this.lanes = new Set(ids); this.playing = playing ?? null; });
  }

  // A listener on the window that removes itself with the component: Gradio has no unmount event.
  hear_from(name, react) {
    const heard = (event) => {
      if (!this.element.isConnected) { window.removeEventListener(name, heard); return; }
      react(event.detail || {});
      if (this.data) this.marks();
    };
    window.addEventListener(name, heard);
  }
}

export function mount(part) {
  const table = new Table(part);
  part.watch("value", () => table.load());
  table.load();
  window.dispatchEvent(new CustomEvent("whence:ready")); // asks the player to send its lanes again: it may have done so before this part was there
}
