// A researcher's notes, one for each (clip, track, method) of a run, kept in this browser alone; and tables as CSV.
const KEY = "whence.notes", LONGEST = 4000;

function readAll() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) || "{}");
    return stored && typeof stored === "object" && !Array.isArray(stored) ? stored : {};
  } catch {
    return {}; // another program wrote to this key
  }
}

export const keyOf = ({ clip_id, track_id, method }) => `${clip_id}.${track_id ?? ""}.${method}`;

// The notes on one run, by key.
export const notes = (store) => readAll()[store] || {};

// Stores a note {clip_id, clip, track_id, title, method, text, facts}; an empty text deletes it. False: storage is full.
export function keep(store, note) {
  const all = readAll(), own = all[store] || {}, key = keyOf(note), text = note.text.trim().slice(0, LONGEST);
  if (text) own[key] = { ...note, text, kept_at: new Date().toISOString() };
  else delete own[key];
  all[store] = own;
  try {
    localStorage.setItem(KEY, JSON.stringify(all));
  } catch {
    return false;
  }
  window.dispatchEvent(new CustomEvent("whence:notes"));
  return true;
}

const NUMBER = /^-?\d+(\.\d+)?(e[-+]?\d+)?$/i;

// One CSV cell. An apostrophe goes before a text that a spreadsheet would run as a formula; numbers stay numbers.
export function cell(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (/^[\s\0]*[=+\-@\uff0b\uff0d\uff1d\uff20|%]/.test(text) || /^[\t\r\n]/.test(text)) if (!NUMBER.test(text)) text = `'${text}`;
  return /[",\r\n;\t]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// CSV with a header. rows: notes, or rows of a list of hard cases (with an empty text where there is no note).
export function csv(store, rows) {
  const facts = [...new Set(rows.flatMap((row) => Object.keys(row.facts || {})))].sort();
  const first = ["run", "clip_id", "clip", "track_id", "title", "method", "note", "kept_at"];
  const lines = rows.map((row) => [store, row.clip_id, row.clip, row.track_id, row.title, row.method, row.text, row.kept_at, ...facts.map((name) => row.facts?.[name])]);
  return [[...first, ...facts], ...lines].map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

export function download(name, text) {
  const link = document.createElement("a"), address = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
