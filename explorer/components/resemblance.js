// The track in focus: four bars of resemblance, passages that come close to the clip, and a note on it.
// props.value is the dict of explorer/listen/page.py `resemblance`: all tracks of the player; the one in focus is shown.
// Sends the window event whence:passage, at which the player plays a passage.
import { button, make } from "./dom.js";
import { keep, keyOf, notes } from "./notebook.js";

const seconds = ([from, to]) => `${from.toFixed(1)}–${to.toFixed(1)} s`;

class TrackResemblance {
  constructor({ element, props }) {
    this.element = element;
    this.props = props;
    for (const part of ["title", "bars", "missing", "legend", "passages", "copied", "text", "save", "said"])
      this[part] = element.querySelector("." + part);
    this.who = element.querySelector(".remarks");
    this.focus = null;
    this.save.addEventListener("click", () => this.keep());
    this.text.addEventListener("input", () => { this.said.textContent = ""; this.save.disabled = false; });
    this.listen("whence:focus", ({ track_id: id }) => { this.focus = id ?? null; this.show(); });
    this.listen("whence:notes", () => this.note());
  }

  listen(name, react) {
    const handle = (event) => {
      if (!this.element.isConnected) { window.removeEventListener(name, handle); return; }
      react(event.detail || {});
    };
    window.addEventListener(name, handle);
  }

  load() {
    const data = this.props.value || null;
    this.data = data;
    if (data && (this.focus === null || !data.tracks[this.focus])) this.focus = data.focus;
    this.show();
  }

  show() {
    const track = this.data?.tracks[this.focus];
    this.element.querySelector(".study").hidden = !this.data;
    this.element.querySelector(".inside").hidden = !track;
    this.element.querySelector(".nothing").hidden = Boolean(track);
    if (!track) return;
    this.title.textContent = track.title;
    this.who.replaceChildren(...track.remarks.map((line) => make("p", "", line)));
    this.bars.replaceChildren(...track.aspects.flatMap(([name, percentile]) => {
      const bar = make("div", "bar"), fill = make("div", "fill");
      fill.style.width = `${percentile}%`;
      bar.append(fill, make("div", "half"));
      bar.setAttribute("role", "img");
      bar.setAttribute("aria-label", `${name}: more alike than ${percentile.toFixed(0)} % of random pairs`);
      return [make("span", "aspect", name), bar, make("span", "percent", percentile.toFixed(0))];
    }));
    this.bars.hidden = this.legend.hidden = !track.aspects.length;
    this.missing.textContent = track.missing;
    this.passages.replaceChildren(...track.passages.map((one) => this.passage(one)));
    this.copied.textContent = track.copied;
    this.note();
  }

  passage(one) {
    const item = make("li", one.close ? "close" : ""), id = Number(this.focus);
    const text = `Clip ${seconds(one.clip)}, track ${seconds(one.track)}`;
    const play = button("action", "Play", () => {
      window.dispatchEvent(new CustomEvent("whence:passage", { detail: { ...one, track_id: id } }));
    });
    play.setAttribute("aria-label", `Play passage ${one.number}: ${text}`);
    play.disabled = Boolean(one.why);
    const what = make("div");
    what.append(make("strong", "", text), make("span", "sub", one.why ? `${one.text}; cannot be heard: ${one.why}` : one.text));
    what.append(make("span", "sub", one.close ? "closer than decoys come" : "no closer than decoys come: likely chance"));
    item.append(play, what);
    return item;
  }

  // ---- the note

  subject() {
    const { clip_id, clip, method } = this.data, track = this.data.tracks[this.focus];
    return { clip_id, clip, method, track_id: Number(this.focus), title: track.title, facts: track.facts };
  }

  note() {
    if (!this.data?.tracks[this.focus]) return;
    const key = `${this.data.store} ${keyOf(this.subject())}`;
    if (key === this.shown && document.activeElement === this.text) return; // do not replace a note while it is being written
    this.shown = key;
    this.text.value = notes(this.data.store)[keyOf(this.subject())]?.text || "";
    this.save.disabled = true;
  }

  keep() {
    const kept = keep(this.data.store, { ...this.subject(), text: this.text.value });
    this.said.textContent = kept ? (this.text.value.trim() ? "Kept in this browser." : "Deleted.") : "This browser has no room for it.";
    this.save.disabled = kept;
  }
}

export function mount(part) {
  const resemblance = new TrackResemblance(part);
  part.watch("value", () => resemblance.load());
  resemblance.load();
  window.dispatchEvent(new CustomEvent("whence:ready")); // asks the player to send the track in focus again
}
