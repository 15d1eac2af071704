// Hard cases: one page of a list from the server. Each row can be played, opened in the player, and noted.
// props.value is the dict of explorer/methods/page.py `cases`; text reaches the page only through textContent.
// Events: ask {method, kind, first, text, offset}; open {clip_id, track_id, method} or {clip_id, tab}.
import { button, grouped, make, options } from "./dom.js";
import { csv, download, keep, keyOf, notes } from "./notebook.js";
import { hear } from "./preview.js";

const PAUSE_MS = 250; // after the last key, before the server is asked

class HardCases {
  constructor({ element, props, trigger }) {
    this.element = element;
    this.props = props;
    this.trigger = trigger;
    for (const part of ["kind", "method", "first", "find", "about", "count", "pages", "back", "on", "scroll", "nothing", "export"])
      this[part] = element.querySelector("." + part);
    this.head = element.querySelector("thead");
    this.body = element.querySelector("tbody");
    this.editing = null; // key of the row whose note is being written
    element.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); this.ask({ text: this.find.value }); });
    this.kind.addEventListener("change", () => this.ask({ kind: this.kind.value }));
    this.first.addEventListener("change", () => this.ask({ first: Number(this.first.value) }));
    this.method.addEventListener("change", () => this.ask({ method: this.method.value }));
    this.find.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => { this.timer = null; this.ask({ text: this.find.value }); }, PAUSE_MS);
    });
    this.back.addEventListener("click", () => this.ask({ offset: Math.max(0, this.data.offset - this.data.limit) }));
    this.on.addEventListener("click", () => this.ask({ offset: this.data.offset + this.data.limit }));
    this.export.addEventListener("click", () => download(`whence-${this.data.asked.kind}.csv`, csv(this.data.store, this.data.rows.map((row) => this.noted(row)))));
    const changed = () => {
      if (!element.isConnected) window.removeEventListener("whence:notes", changed);
      else if (this.data) this.rows();
    };
    window.addEventListener("whence:notes", changed);
  }

  ask(change) { // a choice made before the first list is there is sent when it comes
    if (!this.data) this.waiting = { ...this.waiting, ...change };
    else this.trigger("ask", { ...this.data.asked, method: this.data.method, offset: 0, ...change });
  }

  load() {
    const data = this.props.value || null;
    this.data = data;
    this.element.querySelector(".study").hidden = !data;
    if (!data) return;
    const { waiting } = this;
    this.waiting = null;
    if (waiting) return this.ask(waiting);
    options(this.kind, data.kinds, data.asked.kind);
    options(this.method, data.methods, data.method);
    options(this.first, data.firsts.map((count) => [count, `first ${count}`]), data.asked.first);
    if (!this.timer && document.activeElement !== this.find) this.find.value = data.asked.text;
    this.method.closest(".field").hidden = data.methods.length < 2 || data.asked.kind === "disagree";
    this.about.textContent = data.about;
    const { total, offset, limit, rows } = data;
    const range = total > limit ? `${grouped(offset + 1)}–${grouped(offset + rows.length)} of ` : "";
    this.count.textContent = `${range}${grouped(total)} ${total === 1 ? "case" : "cases"}`;
    this.pages.hidden = total <= limit;
    this.back.disabled = offset === 0;
    this.on.disabled = offset + limit >= total;
    this.scroll.hidden = this.export.hidden = !rows.length;
    this.nothing.hidden = rows.length > 0;
    this.nothing.textContent = data.empty;
    this.rows();
  }

  rows() {
    const { columns, rows, asked } = this.data, head = make("tr"), clips = asked.kind === "disagree";
    const names = [...(clips ? [] : [["hear-it", ""], ["track", "track"]]), ["clip", asked.kind === "hubs" ? "its best clip" : "clip"], ...columns.map((text) => ["number", text]), ["note", "note"]];
    head.append(...names.map(([name, text]) => {
      const heading = make("th", name, text);
      heading.scope = "col";
      if (!text) heading.append(make("span", "unseen", "hear"));
      return heading;
    }));
    this.head.replaceChildren(head);
    this.body.replaceChildren(...rows.map((row) => this.row(row, clips)));
  }

  row(data, clips) {
    const row = make("tr"), cell = (name, ...parts) => { const made = make("td", name); made.append(...parts); return made; };
    row.dataset.clip = data.clip_id;
    if (data.track_id !== null) row.dataset.track = data.track_id;
    const open = () => this.trigger("open", clips ? { clip_id: data.clip_id, tab: "compare" } : { clip_id: data.clip_id, track_id: data.track_id, method: this.data.method });
    if (!clips) {
      row.append(cell("hear-it", hear("track", data.track_id, data.title, data.why, data.gain_db)));
      const notes = [data.note, ...data.remarks, data.planted ? `planted case: ${data.planted}` : ""].filter(Boolean);
      const badge = make("span", `sub badge ${data.kind}`, this.data.asked.kind === "hubs" ? `${data.badge}, for its best clip` : data.badge);
      row.append(cell("track", button("name", data.title, open), ...notes.map((text) => make("span", "sub", text)), badge));
    }
    const clip = clips ? [button("name", data.clip, open), make("span", "sub", "opens both methods side by side")] : [make("span", "", data.clip)];
    row.append(cell("clip", ...clip));
    data.cells.forEach((text, i) => {
      const made = cell("number", make("span", "", text));
      made.dataset.label = this.data.columns[i];
      row.append(made);
    });
    row.append(cell("note", ...this.note(data)));
    return row;
  }

  // ---- notes

  noted(row) {
    const bare = { clip_id: row.clip_id, clip: row.clip, track_id: row.track_id, title: row.title || "", method: this.data.method, facts: row.facts };
    const kept = notes(this.data.store)[keyOf(bare)];
    return { ...bare, text: kept?.text || "", kept_at: kept?.kept_at };
  }

  note(row) {
    const noted = this.noted(row), key = keyOf(noted), name = row.title || row.clip;
    if (this.editing !== key) {
      const edit = button("action", noted.text ? "Change" : "Note", () => { this.editing = key; this.rows(); this.body.querySelector("textarea").focus(); });
      edit.setAttribute("aria-label", `${noted.text ? "Change the note" : "Write a note"} on ${name}`);
      return [...(noted.text ? [make("span", "kept", noted.text)] : []), edit];
    }
    const text = make("textarea"), close = () => { this.editing = null; this.rows(); };
    text.value = noted.text;
    text.maxLength = 4000;
    text.setAttribute("aria-label", `Note on ${name}`);
    const save = button("action", "Keep", () => {
      this.editing = null;
      if (!keep(this.data.store, { ...noted, text: text.value })) { this.editing = key; save.textContent = "No room in this browser"; }
    });
    return [text, save, button("action", "Cancel", close)];
  }
}

export function mount(part) {
  const cases = new HardCases(part);
  part.watch("value", () => cases.load());
  cases.load();
}
