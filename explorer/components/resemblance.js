// Why a track: four bars of resemblance, passages that come close, and a note on this track for this clip.
// props.value is the dict of explorer/methods/page.py `why`: all tracks of the player; the one in focus is shown.
import { button, make } from "./dom.js";
import { keep, keyOf, notes } from "./notebook.js";

const seconds = ([from, to]) => `${from.toFixed(1)}–${to.toFixed(1)} s`;

class Why {
  constructor({ element, props }) {
    this.element = element;
    this.props = props;
    for (const part of ["title", "bars", "missing", "legend", "passages", "copied", "text", "save", "said"])
      this[part] = element.querySelector("." + part);
    this.who = element.querySelector(".named");
    this.focus = null;
    this.save.addEventListener("click", () => this.keep());
    this.text.addEventListener("input", () => { this.said.textContent = ""; this.save.disabled = false; });
    this.hear_from("whence:focus", ({ track_id: id }) => { this.focus = id ?? null; this.show(); });
    this.hear_from("whence:notes", () => this.note());
  }

  hear_from(name, react) {
    const heard = (event) => {
      if (!this.element.isConnected) { window.removeEventListener(name, heard); return; }
      react(event.detail || {});
    };
    window.addEventListener(name, heard);
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
    this.who.replaceChildren(...track.named.map((line) => make("p", "", line)));
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

  named() {
    const { clip_id, clip, method } = this.data, track = this.data.tracks[this.focus];
    return { clip_id, clip, method, track_id: Number(this.focus), title: track.title, facts: track.facts };
  }

  note() {
    if (!this.data?.tracks[this.focus]) return;
    const key = `${this.data.store} ${keyOf(this.named())}`;
    if (key === this.shown && document.activeElement === this.text) return; // do not write over what is being written
    this.shown = key;
    this.text.value = notes(this.data.store)[keyOf(this.named())]?.text || "";
    this.save.disabled = true;
  }

  keep() {
    const kept = keep(this.data.store, { ...this.named(), text: this.text.value });
    this.said.textContent = kept ? (this.text.value.trim() ? "Kept in this browser." : "Taken away.") : "This browser has no room for it.";
    this.save.disabled = kept;
  }
}

export function mount(part) {
  const why = new Why(part);
  part.watch("value", () => why.load());
  why.load();
  window.dispatchEvent(new CustomEvent("whence:ready")); // the player says again which track is in focus
}
