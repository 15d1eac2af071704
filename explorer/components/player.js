// The clip and the chosen track, one sounding at a time. props.value is the dict of explorer/callbacks.py `player`.
// Audio streams through <audio> (so Range works) into a gain each: element volume cannot boost, and iOS ignores it.
const SEEK_S = 2;

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

class Lane {
  constructor(root, player) {
    this.root = root;
    this.player = player;
    this.data = null;
    for (const part of ["play", "title", "note", "clock", "wave", "below"]) this[part] = root.querySelector("." + part);
    this.canvas = root.querySelector("canvas");
    this.audio = root.querySelector("audio");
    this.name = root.dataset.lane;
    this.gain = null;
    this.play.addEventListener("click", () => (this.playing ? player.stop() : player.start([this])));
    this.wave.addEventListener("click", (event) => {
      const box = this.wave.getBoundingClientRect();
      this.seek(((event.clientX - box.x) / box.width) * this.length);
    });
    this.wave.addEventListener("keydown", (event) => {
      const step = { ArrowRight: SEEK_S, ArrowUp: SEEK_S, ArrowLeft: -SEEK_S, ArrowDown: -SEEK_S }[event.key];
      if (step) this.seek(this.position + step);
      else if (event.key === "Home") this.seek(0);
      else if (event.key === " " || event.key === "Enter") this.play.click();
      else return;
      event.preventDefault();
    });
    this.audio.addEventListener("ended", () => player.ended(this));
    this.audio.addEventListener("error", () => { if (this.audio.getAttribute("src")) player.failed(this); });
    new ResizeObserver(() => this.paint()).observe(this.wave);
  }

  get playing() { return this.player.active === this; }
  get length() { return this.data?.duration_s || 0; }
  get position() { return this.audio.currentTime; }
  get playable() { return Boolean(this.data) && !this.data.refused; }

  load(data) {
    const same = data && this.data && data.url === this.data.url;
    this.data = data;
    this.root.hidden = !data;
    if (!data) { this.audio.removeAttribute("src"); return; }
    if (!same) {
      if (this.playable) this.audio.src = data.url;
      else this.audio.removeAttribute("src");
    }
    this.title.textContent = this.title.title = data.title;
    this.note.textContent = data.note;
    this.play.disabled = !this.playable;
    this.wave.setAttribute("aria-valuemax", this.length.toFixed(1));
    this.level();
    this.explain();
    this.paint();
  }

  // The line under the waveform: why nothing sounds, or what the strip shows and how to jump to its peak.
  explain() {
    const { refused, strip } = this.data, parts = [];
    if (refused) parts.push(`Cannot be played: ${refused}.`);
    if (strip) {
      const jump = document.createElement("button");
      jump.type = "button";
      jump.className = "jump";
      jump.textContent = "Play from its most influential moment";
      jump.addEventListener("click", () => this.player.start([this], strip.peak_s));
      const sure = strip.above_noise ? "" : " The score is not distinguishable from noise, nor is this.";
      parts.push(jump, `at ${clock(strip.peak_s)}. The bar shows influence over time, relative to its largest value.${sure}`);
    }
    this.below.replaceChildren(...parts);
  }

  level() {
    if (!this.gain) return;
    const db = this.player.matched ? this.data?.gain_db || 0 : 0;
    this.gain.gain.setTargetAtTime(10 ** (db / 20), this.gain.context.currentTime, 0.01);
  }

  connect(context) {
    if (this.gain) return;
    this.gain = context.createGain();
    context.createMediaElementSource(this.audio).connect(this.gain).connect(context.destination);
    this.level();
  }

  seek(seconds) {
    // Before the file is known this sets where it will start: a jump sounds from its moment, not from the beginning.
    this.audio.currentTime = Math.max(0, Math.min(seconds, this.length - 0.05));
    this.paint();
  }

  paint() {
    const { canvas, wave, data } = this, width = wave.clientWidth, height = wave.clientHeight;
    if (!data || !width) return;
    const at = this.position, scale = devicePixelRatio || 1;
    this.clock.textContent = `${clock(at)} / ${clock(this.length)}`;
    wave.setAttribute("aria-valuenow", at.toFixed(1));
    wave.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${this.length.toFixed(1)} seconds`);
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d"), style = getComputedStyle(wave), color = (name) => style.getPropertyValue(name).trim();
    pen.scale(scale, scale);
    const top = data.strip ? 12 : 0, middle = top + (height - top) / 2, played = (at / this.length) * width;
    const { peaks } = data;
    for (let px = 0; px < width; px += 3) {
      const from = Math.floor((px / width) * peaks.length), to = Math.max(from + 1, Math.floor(((px + 3) / width) * peaks.length));
      const size = Math.max(1, (Math.max(0, ...peaks.slice(from, to)) / 255) * (height - top));
      pen.fillStyle = px < played ? color("--color-accent") : color("--body-text-color-subdued");
      pen.fillRect(px, middle - size / 2, 2, size);
    }
    if (data.strip) {
      const { values, length_s } = data.strip, whole = (length_s / this.length) * width, bar = whole / values.length;
      pen.fillStyle = color("--border-color-primary");
      pen.fillRect(0, 0, whole, 7);
      pen.fillStyle = color(data.strip.above_noise ? "--whence-above" : "--whence-noise");
      values.forEach((value, i) => { pen.globalAlpha = value; pen.fillRect(i * bar, 0, bar + 0.5, 7); });
      pen.globalAlpha = 1;
    }
    pen.fillStyle = color("--body-text-color");
    pen.fillRect(Math.min(width - 2, played), top, 2, height - top);
  }
}

class Player {
  constructor(element) {
    this.element = element;
    this.active = null; // the lane that sounds
    this.queue = []; // lanes still to come
    this.matched = true;
    this.context = null;
    this.lanes = [...element.querySelectorAll(".lane")].map((root) => new Lane(root, this));
    this.both = element.querySelector(".both");
    this.status = element.querySelector(".status");
    this.both.addEventListener("click", () => (this.sequence ? this.stop() : this.start(this.lanes, 0)));
    const match = element.querySelector(".match input");
    match.addEventListener("change", () => { this.matched = match.checked; this.lanes.forEach((lane) => lane.level()); });
  }

  load(value) {
    const [clip, track] = this.lanes, data = value || {};
    // What sounds goes on only where it stays on the page.
    if (this.active && data[this.active.name]?.url !== this.active.data?.url) this.stop();
    clip.load(data.clip || null);
    track.load(data.track || null);
    this.queue = this.queue.filter((lane) => lane.playable); // a newly chosen track takes its turn
    this.both.disabled = !(clip.playable && track.playable);
    this.show();
  }

  // Plays `lanes` in order; the first from `from` seconds, or from where it stands, the others from their start.
  async start(lanes, from) {
    this.stop();
    const [first, ...rest] = lanes;
    this.sequence = rest.length > 0;
    this.queue = rest;
    this.active = first;
    this.show("");
    this.context ||= new AudioContext();
    this.lanes.forEach((lane) => lane.connect(this.context));
    await this.context.resume();
    if (this.active === first) await this.sound(first, from ?? first.position);
  }

  async sound(lane, from) {
    this.active = lane;
    lane.seek(from);
    this.show();
    try {
      await lane.audio.play();
    } catch (error) {
      if (error.name !== "AbortError" && this.active === lane) this.failed(lane); // abort: stopped meanwhile
      return;
    }
    if (this.active !== lane) { lane.audio.pause(); return; }
    requestAnimationFrame(() => this.tick());
  }

  tick() {
    if (!this.active) return;
    if (!this.element.isConnected) { this.stop(); return; } // Gradio took the component away; there is no unmount hook
    this.active.paint();
    requestAnimationFrame(() => this.tick());
  }

  ended(lane) {
    if (this.active !== lane) return;
    lane.seek(0);
    const next = this.queue.shift();
    if (next) { this.sound(next, 0); return; }
    this.stop();
  }

  failed(lane) {
    if (this.active === lane) this.stop();
    this.show(`The ${lane.name} cannot be played: its audio did not load.`);
  }

  stop() {
    this.active = null;
    this.queue = [];
    this.sequence = false;
    this.lanes.forEach((lane) => { lane.audio.pause(); lane.paint(); });
    this.show("");
  }

  show(status) {
    for (const lane of this.lanes) {
      lane.root.classList.toggle("on", lane.playing);
      lane.play.setAttribute("aria-pressed", lane.playing);
      lane.play.textContent = `${lane.playing ? "Pause" : "Play"} ${lane.name}`;
    }
    this.both.setAttribute("aria-pressed", Boolean(this.sequence));
    this.both.textContent = this.sequence ? "Stop" : "Hear both, one after the other";
    if (status !== undefined) this.status.textContent = status;
    else if (this.active && this.sequence) this.status.textContent = `Now: the ${this.active.name}`;
  }
}

export function mount({ element, props, watch }) {
  const player = new Player(element);
  watch("value", () => player.load(props.value));
  player.load(props.value);
}
