// One lane of the player: its texts, waveform or spectrogram, strip of influence, and the drags and keys on it.
const STEP_S = 1, DRAG_PX = 5;

export const clock = (value) => {
  const tenths = Math.max(0, Math.round(value * 10));
  return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
};
const unpack = (text) => Uint8Array.from(atob(text || ""), (letter) => letter.charCodeAt(0));
const decibels = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)} dB`;

function prepared(canvas) {
  const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
  pen.scale(scale, scale);
  return { pen, width, height, color: (name) => style.getPropertyValue(name).trim() };
}

export class LaneView {
  // `host`: seek(key, s), drag(key, from, to), listen(key), drop(key), and the settings of all lanes: zoom, picture, matched.
  constructor(template, host) {
    this.root = template.content.firstElementChild.cloneNode(true);
    this.host = host;
    for (const part of ["listen", "digit", "title", "note", "chip", "place", "gain", "drop", "wave", "strip", "region", "playhead", "why", "clock"])
      this[part] = this.root.querySelector("." + part);
    this.canvas = this.wave.querySelector("canvas");
    this.view = [0, 1]; // the part that is drawn, each end 0..1 of the lane
    this.buffer = null;
    this.image = null;
    this.listen.addEventListener("click", () => host.listen(this.key));
    this.drop.addEventListener("click", () => host.drop(this.key));
    this.wave.addEventListener("keydown", (event) => this.onKey(event));
    this.wave.addEventListener("pointerdown", (event) => this.onPointer(event));
    new ResizeObserver(() => this.paint()).observe(this.wave);
  }

  load(data, digit) {
    const other = this.data?.url !== data.url;
    this.data = data;
    this.key = data.key;
    if (other) { this.buffer = null; this.image = null; this.view = [0, 1]; }
    this.peaks = unpack(data.peaks);
    this.root.dataset.lane = data.key;
    this.root.setAttribute("aria-label", digit ? `Track ${digit}: ${data.title}` : `Clip: ${data.title}`);
    this.root.setAttribute("role", "group");
    this.digit.textContent = digit ? String(digit) : "Clip";
    this.title.textContent = this.title.title = data.title;
    this.note.textContent = this.note.title = data.note;
    this.place.textContent = [data.place, data.q, data.model, data.work].filter(Boolean).join(" · ");
    this.chip.hidden = !data.chip;
    this.chip.className = `chip ${data.chip || ""}`;
    this.chip.textContent = data.chip_text || "";
    this.drop.hidden = !digit;
    this.drop.setAttribute("aria-label", `Take track ${digit} out of the player`);
    this.wave.setAttribute("aria-label", `Position in ${digit ? `track ${digit}` : "the clip"}`);
    this.wave.setAttribute("aria-valuemax", data.duration_s.toFixed(1));
    this.refuse(data.refused);
  }

  refuse(reason) {
    this.refused = reason;
    this.root.classList.toggle("refused", Boolean(reason));
    this.listen.disabled = Boolean(reason);
    this.why.hidden = !reason;
    this.why.textContent = reason ? `Cannot be played: ${reason}.` : "";
    this.level();
    this.paint();
  }

  level() {
    const { lufs, gain_db } = this.data;
    const known = lufs === null ? "loudness unknown" : `${lufs.toFixed(1)} LUFS`.replace("-", "−");
    this.gain.textContent = this.refused ? "" : this.host.matched && lufs !== null ? `${known}, ${decibels(gain_db)}` : known;
  }

  // heard: this lane sounds, or would if the player ran; passage: [from, to] in seconds; looped: the passage is marked.
  show({ heard, playing, passage, marked, buffer, strip, loading }) {
    this.root.classList.toggle("heard", heard);
    this.root.classList.toggle("loading", loading);
    this.listen.setAttribute("aria-pressed", heard);
    this.listen.setAttribute("aria-label", `Listen to ${this.key === "clip" ? "the clip" : `track ${this.digit.textContent}, ${this.data.title}`}`);
    const changed = this.heard !== heard || this.buffer !== buffer || this.stripData !== strip;
    Object.assign(this, { heard, playing, passage, marked, buffer, stripData: strip });
    this.region.hidden = !marked;
    if (changed) this.paint();
    this.placeRegion();
  }

  placeRegion() {
    if (!this.marked) return;
    const [from, to] = this.passage.map((s) => this.toX(s));
    this.region.style.left = `${from}%`;
    this.region.style.width = `${Math.max(0, to - from)}%`;
  }

  toX(s) { return ((s / this.data.duration_s - this.view[0]) / (this.view[1] - this.view[0])) * 100; }

  toSeconds(event) {
    const box = this.wave.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - box.x) / box.width));
    return (this.view[0] + part * (this.view[1] - this.view[0])) * this.data.duration_s;
  }

  move(s) {
    const { duration_s } = this.data, inside = s >= 0 && s <= duration_s + 0.05;
    if (this.host.zoom > 1 && inside) {
      const part = s / duration_s, span = 1 / this.host.zoom;
      if (part < this.view[0] || part > this.view[1] || Math.abs(this.view[1] - this.view[0] - span) > 1e-9) this.look(part, span);
    } else if (this.host.zoom === 1 && this.view[1] - this.view[0] < 1) this.look(0, 1);
    const x = this.toX(Math.min(s, duration_s));
    this.playhead.hidden = !inside || x < 0 || x > 100;
    this.playhead.style.left = `${x}%`;
    const text = `${clock(Math.min(Math.max(0, s), duration_s))} / ${clock(duration_s)}`;
    if (this.clock.textContent === text) return;
    this.clock.textContent = text;
    this.wave.setAttribute("aria-valuenow", Math.max(0, s).toFixed(1));
    this.wave.setAttribute("aria-valuetext", `${s.toFixed(1)} of ${duration_s.toFixed(1)} seconds`);
  }

  look(part, span) {
    const from = Math.max(0, Math.min(part - 0.05 * span, 1 - span));
    this.view = [from, from + span];
    this.paint();
    this.placeRegion();
  }

  // --- input

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowRight: STEP_S, ArrowUp: STEP_S, ArrowLeft: -STEP_S, ArrowDown: -STEP_S }[event.key];
    if (step) this.host.seek(this.key, this.host.at(this.key) + step);
    else if (event.key === "Enter") this.host.listen(this.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  onPointer(event) {
    if (event.button || this.refused) return;
    const start = this.toSeconds(event), x = event.clientX;
    let to = null;
    this.wave.setPointerCapture(event.pointerId); // at once: a quick drag leaves the waveform with its first step
    const move = (moved) => {
      if (to === null && Math.abs(moved.clientX - x) < DRAG_PX) return;
      to = this.toSeconds(moved);
      this.passage = [Math.min(start, to), Math.max(start, to)];
      this.marked = true;
      this.region.hidden = false;
      this.placeRegion();
    };
    const stop = (stopped) => {
      for (const [name, on] of [["pointermove", move], ["pointerup", stop], ["pointercancel", stop]]) this.wave.removeEventListener(name, on);
      if (stopped.type === "pointercancel") { this.host.refresh(); return; } // the page was scrolled
      if (to === null) this.host.seek(this.key, start);
      else this.host.drag(this.key, Math.min(start, to), Math.max(start, to));
    };
    for (const [name, on] of [["pointermove", move], ["pointerup", stop], ["pointercancel", stop]]) this.wave.addEventListener(name, on);
  }

  // --- drawing

  paint() {
    if (!this.data || !this.wave.clientWidth) return;
    const drawing = prepared(this.canvas);
    if (this.host.picture && this.spectrogram(drawing)) { this.paintStrip(); return; }
    this.paintWave(drawing);
    this.paintStrip();
  }

  paintWave({ pen, width, height, color }) {
    const [from, to] = this.view, sizes = this.buffer ? null : this.peaks;
    const loudness = this.host.gain(this.data); // the drawn waveform is as loud as the sound
    pen.fillStyle = color(this.heard ? "--color-accent" : "--whence-wave");
    if (!this.buffer && !sizes.length) { pen.fillRect(0, height / 2, width, 1); return; }
    for (let x = 0; x < width; x += 3) {
      const size = this.buffer ? this.loudest(from + (x / width) * (to - from), (3 / width) * (to - from))
        : this.highest(from + (x / width) * (to - from), (3 / width) * (to - from));
      const tall = Math.max(1, Math.min(1, size * loudness) * (height - 4));
      pen.fillRect(x, (height - tall) / 2, 2, tall);
    }
  }

  highest(part, span) {
    const first = Math.floor(part * this.peaks.length), last = Math.max(first + 1, Math.floor((part + span) * this.peaks.length));
    return Math.max(0, ...this.peaks.subarray(first, last)) / 255;
  }

  // Peaks of the decoded sound: a zoomed waveform shows more than the stored peaks hold.
  loudest(part, span) {
    const samples = this.buffer.getChannelData(0), rate = this.buffer.sampleRate, { duration_s } = this.data;
    const first = Math.floor(part * duration_s * rate), last = Math.min(samples.length, Math.floor((part + span) * duration_s * rate) + 1);
    let found = 0;
    const step = Math.max(1, Math.floor((last - first) / 400));
    for (let i = first; i < last; i += step) found = Math.max(found, Math.abs(samples[i]));
    return Math.min(1, found);
  }

  spectrogram({ pen, width, height }) {
    if (this.refused) return false;
    if (!this.image) {
      this.image = new Image();
      this.image.addEventListener("load", () => this.paint());
      this.image.src = this.data.spectrogram;
    }
    if (!this.image.complete || !this.image.naturalWidth) return false;
    const [from, to] = this.view, whole = this.image.naturalWidth;
    pen.drawImage(this.image, from * whole, 0, (to - from) * whole, this.image.naturalHeight, 0, 0, width, height);
    return true;
  }

  paintStrip() {
    const { strip: canvas, stripData: data } = this;
    canvas.hidden = !data;
    if (!data || !canvas.clientWidth) return;
    const { pen, width, height, color } = prepared(canvas), values = unpack(data.values);
    const left = (s) => ((s / this.data.duration_s - this.view[0]) / (this.view[1] - this.view[0])) * width;
    const bar = data.length_s / values.length;
    pen.fillStyle = color("--border-color-primary");
    pen.fillRect(Math.max(0, left(0)), 0, Math.min(width, left(data.length_s)) - Math.max(0, left(0)), height);
    pen.fillStyle = color(data.chip === "above" ? "--whence-above" : "--whence-noise");
    values.forEach((value, i) => {
      pen.globalAlpha = value / 255;
      pen.fillRect(left(i * bar), 0, left((i + 1) * bar) - left(i * bar) + 0.5, height);
    });
    pen.globalAlpha = 1;
  }
}
