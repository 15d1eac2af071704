// All notes on this run in this browser: filter, open, delete, export. props.value: {store}.
// Event: open {clip_id, track_id, method} or {clip_id, tab}.
import { button, holds, make } from "./dom.js";
import { csv, download, keep, notes } from "./notebook.js";

export function mount({ element, props, watch, trigger }) {
  const [find, list, count, nothing, save] = [".find", ".list", ".count", ".nothing", ".export"].map((name) => element.querySelector(name));
  const listed = () => Object.values(notes(props.value?.store ?? "")).filter((note) => note && typeof note.text === "string")
    .filter((note) => holds([note.text, note.title, note.clip, note.method].join(" "), find.value))
    .sort((a, b) => String(b.kept_at).localeCompare(String(a.kept_at)));
  const show = () => {
    element.querySelector(".study").hidden = !props.value;
    if (!props.value) return;
    const shown = listed(), { store } = props.value;
    list.replaceChildren(...shown.map((note) => {
      const item = make("li"), line = make("div", "row"), track = note.track_id ?? null;
      const where = track === null ? `Clip ${note.clip_id}: ${note.clip}` : `${note.title}, for clip ${note.clip_id}`;
      const open = track === null ? { clip_id: note.clip_id, tab: "compare" } : { clip_id: note.clip_id, track_id: track, method: note.method };
      const drop = button("action", "Delete", () => keep(store, { ...note, text: "" }));
      drop.setAttribute("aria-label", `Delete the note on ${where}`);
      line.append(button("name", where, () => trigger("open", open)), make("span", "soft", `${note.method} · ${String(note.kept_at).slice(0, 10)}`), drop);
      item.append(line, make("p", "words", note.text));
      return item;
    }));
    count.textContent = shown.length === 1 ? "1 note" : `${shown.length} notes`;
    nothing.hidden = shown.length > 0;
    save.disabled = !shown.length;
    nothing.textContent = find.value.trim() ? "No note holds these words." : "No note yet: write one in a row above, or beside the player.";
  };
  find.addEventListener("input", show);
  element.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  save.addEventListener("click", () => download("whence-notes.csv", csv(props.value.store, listed())));
  const changed = () => {
    if (!element.isConnected) window.removeEventListener("whence:notes", changed);
    else show();
  };
  window.addEventListener("whence:notes", changed);
  window.addEventListener("storage", changed); // notes changed in another window of this browser
  watch("value", show);
  show();
}
