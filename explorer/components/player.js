// The clip and up to eight tracks: the passage of each, and the buttons and keys. Events: span {from_s, to_s, start}
// or {}, drop {track_id}.
// props.value is the dict of explorer/listen/page.py `player`. transport.js plays, lane.js draws a lane.
import { LaneView, clock } from "./lane.js";
import { SHORTEST_S, Transport } from "./transport.js";

const VOLUME_KEY = "whence.volume", ZOOMS = [1, 2, 4, 8, 16], LEAST_MOMENT_S = 1.5;
const loopText = (id, [from, to]) => `${id === null ? "" : `${id}:`}${from.toFixed(2)}-${to.toFixed(2)}`; // as the address holds it
const said = (event) => window.dispatchEvent(event);
const typing = (target) => target.closest?.("input:not([type=checkbox]):not([type=radio]):not([type=range]), textarea, select, [contenteditable], [role=combobox], [role=listbox], dialog");

class Player {
  constructor(element, trigger) {
    this.element = element;
    this.trigger = trigger;
    this.transport = new Transport(() => this.refresh());
    this.views = new Map(); // key -> LaneView
    this.data = null;
    this.start = "clock"; // where tracks start: "clock" or "moment"
    this.region = null; // [from, to] s of every lane, on the same clock
    this.own = new Map(); // key -> [from, to] s, of one lane, while tracks start at their moments
    this.mark = null; // {key, from}: where a passage set by keys begins
    this.startBefore = null; // where tracks started before a span was chosen
    this.focus = null; // key of the track that the clip is compared with
    this.wanted = null; // key of a track that shall sound as soon as it is a lane
    this.looped = this.spanned = null; // loop and span as the address holds them
    this.pointed = false; // the focus was last moved by a pointer
    this.zoom = 1;
    this.picture = false;
    this.matched = true;
    const find = (name) => element.querySelector(name);
    for (const name of ["play", "alternate", "status", "lanes", "legend", "passage", "clear", "zoom", "keys"]) this[name + "Part"] = find("." + name);
    this.clockPart = find(".bar > .clock");
    this.template = find(".lane-template");
    this.matchBox = find(".match input");
    this.repeatBox = find(".repeat input");
    this.pictureBox = find(".picture input");
    this.volumeBox = find(".volume input");
    this.startBoxes = [...element.querySelectorAll(".starts input")];
    this.bind(find);
  }

  bind(find) {
    this.playPart.addEventListener("click", () => this.toggle());
    this.alternatePart.addEventListener("click", () => this.alternate());
    this.clearPart.addEventListener("click", () => this.clear());
    this.matchBox.addEventListener("change", () => this.match(this.matchBox.checked));
    this.repeatBox.addEventListener("change", () => this.transport.setLoop(this.repeatBox.checked));
    this.pictureBox.addEventListener("change", () => this.show(this.pictureBox.checked));
    this.startBoxes.forEach((box) => box.addEventListener("change", () => this.begin(box.value)));
    find(".zoom .in").addEventListener("click", () => this.enlarge(1));
    find(".zoom .out").addEventListener("click", () => this.enlarge(-1));
    find(".help").addEventListener("click", () => this.keysPart.showModal());
    find(".keys .close").addEventListener("click", () => this.keysPart.close());
    this.keysPart.addEventListener("click", (event) => { if (event.target === this.keysPart) this.keysPart.close(); });
    this.volumeBox.addEventListener("input", () => this.loudness(Number(this.volumeBox.value)));
    const remembered = localStorage.getItem(VOLUME_KEY);
    this.loudness(remembered === null ? 100 : Math.min(100, Math.max(0, Number(remembered) || 0)));
    this.onKeyDown = (event) => this.onKey(event);
    document.addEventListener("keydown", this.onKeyDown);
    // Space ticks a box that was reached by keys; after a click on a box, Space still plays.
    document.addEventListener("pointerdown", () => { this.pointed = true; }, true);
    document.addEventListener("keydown", ({ key }) => { if (key === "Tab" || key.startsWith("Arrow")) this.pointed = false; }, true);
    window.addEventListener("whence:play", (event) => this.playTrack(String(event.detail.track_id)));
    window.addEventListener("whence:ready", () => { this.refresh(); this.tellFocus(); }); // a part that was mounted later asks for the lanes
    window.addEventListener("whence:passage", ({ detail }) => this.playPassage(detail));
    window.addEventListener("whence:pause", () => this.transport.pause());
    window.addEventListener("whence:travel", () => { this.region = null; this.own.clear(); this.looped = this.spanned = null; this.transport.setLoop(false); });
    // A canvas does not follow the theme by itself: draw it again.
    new MutationObserver(() => this.views.forEach((view) => view.paint())).observe(document.body, { attributeFilter: ["class"] });
  }

  // --- data

  load(value) {
    if (!value) return;
    const before = this.data;
    this.data = value;
    const lanes = [value.clip, ...value.tracks];
    const changed = before?.clip.url !== value.clip.url;
    if (changed) { this.region = this.mark = null; this.own.clear(); }
    for (const key of this.own.keys()) if (!lanes.some((lane) => lane.key === key)) this.own.delete(key);
    this.begin(value.start, false);
    // Take loop and span from the address, but not where the server only repeats what was set here.
    const { loop, span } = value, inAddress = loop && loopText(loop.track_id, [loop.from_s, loop.to_s]);
    if (loop && inAddress !== this.looped) {
      const { track_id: id, from_s: from, to_s: to } = loop;
      const last = Math.max(0, ...lanes.filter((lane) => id === null || lane.key === String(id)).map((lane) => lane.duration_s));
      if (last - from >= SHORTEST_S) { // a link may hold any seconds
        const range = [from, Math.min(Math.max(to, from + SHORTEST_S), last)];
        if (id === null) this.region = range;
        else this.own.set(String(id), range);
        this.transport.loop = true;
      }
    }
    this.looped = inAddress;
    if (span && this.start === "clock") this.region = [span.from_s, span.to_s];
    if (span && this.spanned !== span.from_s + span.to_s) this.transport.loop = true;
    this.spanned = span ? span.from_s + span.to_s : null;
    this.arrange(lanes);
    this.transport.setLanes(lanes.map((lane) => ({ key: lane.key, url: lane.refused ? null : lane.url, duration: lane.duration_s, gain: this.gain(lane) })));
    const focus = value.focus === null ? null : String(value.focus);
    if (focus !== null && this.wanted === null) this.setFocus(focus, false);
    else if (!this.views.has(this.focus)) this.setFocus(value.tracks[0]?.key ?? null, false);
    if (changed) this.transport.switchTo("clip");
    this.pass(changed ? 0 : null);
    if (value.passage && !(this.passed && this.passage.text === `${value.passage.track_id}:${value.passage.number}`)) this.playPassage(value.passage, false);
    if (this.wanted !== null && this.views.has(this.wanted)) this.playTrack(this.wanted);
    this.refresh();
  }

  arrange(lanes) {
    const kept = new Map();
    lanes.forEach((lane, digit) => {
      const view = this.views.get(lane.key) || new LaneView(this.template, this);
      view.load(lane, digit);
      kept.set(lane.key, view);
    });
    this.views = kept;
    const roots = [...kept.values()].map((view) => view.root);
    // Leave the nodes where nothing moved: replacing one would take the focus from a button in it.
    if (roots.length !== this.lanesPart.children.length || roots.some((root, i) => root !== this.lanesPart.children[i])) this.lanesPart.replaceChildren(...roots);
    kept.forEach((view) => view.paint());
  }

  lane(key) { return key === "clip" ? this.data.clip : this.data.tracks.find((lane) => lane.key === key); }

  gain(lane) { return this.matched ? 10 ** (lane.gain_db / 20) : 1; }

  // --- passages

  // The passage of each lane, [from, to] in seconds of the lane.
  passages() {
    const whole = (lane) => [0, lane.duration_s], { clip, tracks, span } = this.data;
    if (this.start === "clock") {
      return Object.fromEntries([clip, ...tracks].map((lane) => [lane.key, this.region || whole(lane)]));
    }
    const ofClip = this.own.get("clip") || (span ? [span.from_s, span.to_s] : whole(clip));
    const length = ofClip[1] - ofClip[0];
    const moment = (lane) => {
      // With a span, both passages have its length; with the whole clip there would be no moment to choose.
      const least = span ? length : Math.min(length, LEAST_MOMENT_S);
      const from = lane.strip ? Math.max(0, Math.min(lane.strip.peak_s, lane.duration_s - least)) : 0;
      return [from, Math.min(lane.duration_s, from + length)];
    };
    return Object.fromEntries([["clip", ofClip], ...tracks.map((lane) => [lane.key, this.own.get(lane.key) || moment(lane)])]);
  }

  pass(offset = null) { if (this.data) this.transport.setPassages(this.passages(), offset); }

  marked(key) {
    if (this.start === "clock") return Boolean(this.region);
    return this.own.has(key) || key !== "clip" || Boolean(this.data.span);
  }

  begin(start, byHand = true) {
    if (start !== "moment" && start !== "clock") return;
    this.start = start;
    this.startBoxes.forEach((box) => { box.checked = box.value === start; });
    if (!byHand) return;
    if (start === "clock" && this.data.span) this.region = [this.data.span.from_s, this.data.span.to_s];
    this.pass(0);
    this.link();
    this.refresh();
  }

  // --- called by lanes

  at(key) {
    const lane = this.transport.lanes.get(key);
    return lane ? lane.from + this.transport.offset : 0;
  }

  listen(key) {
    if (this.views.get(key)?.refused) return;
    if (key !== "clip") this.setFocus(key);
    this.transport.switchTo(key);
    this.announce(key);
  }

  drop(key) { this.trigger("drop", { track_id: Number(key) }); }

  seek(key, s) {
    const [from, to] = this.passages()[key];
    const time = Math.max(0, Math.min(s, this.lane(key).duration_s - 0.02));
    if (this.transport.heard !== key || this.transport.pair) this.listen(key);
    if (time < from || time >= to) { // outside the passage: clear it
      if (this.start === "clock") this.region = null;
      else this.own.set(key, [time, Math.min(this.lane(key).duration_s, time + (to - from))]);
      if (key === "clip" && this.start === "clock" && this.data.span) this.trigger("span", {});
    }
    this.transport.setPassages(this.passages(), time - this.passages()[key][0]);
    this.refresh();
  }

  drag(key, from, to) {
    const end = Math.min(Math.max(to, from + SHORTEST_S), this.lane(key).duration_s), range = [Math.max(0, end - Math.max(to - from, SHORTEST_S)), end];
    this.transport.loop = true;
    if (key === "clip" && this.data.window_s) {
      // The ranking is now of this span of the clip: start tracks at their most influential moment.
      this.startBefore ??= this.start;
      if (this.data.tracks.some((lane) => lane.strip)) this.begin("moment", false);
      this.own.delete("clip");
      this.region = this.start === "clock" ? range : null;
      const span = { from_s: range[0], to_s: range[1] };
      this.data = { ...this.data, span };
      this.trigger("span", { ...span, start: this.start });
    } else {
      if (this.start === "clock") this.region = range;
      else this.own.set(key, range);
      this.link();
    }
    if (this.transport.heard !== key && !this.transport.pair) this.listen(key);
    this.pass(0);
    this.refresh();
  }

  // A passage by keys: [ marks its beginning, ] its end.
  bracket(end) {
    const key = this.transport.sounding, here = this.at(key);
    if (!end) {
      this.mark = { key, from: here };
      this.statusPart.textContent = `The passage begins at ${clock(here)}; ] ends it.`;
      this.refresh();
      return;
    }
    const from = this.mark?.key === key ? this.mark.from : this.passages()[key][0];
    this.mark = null;
    this.drag(key, Math.min(from, here), Math.max(from, here));
  }

  clear() {
    this.region = this.mark = null;
    this.own.clear();
    this.transport.setLoop(false);
    if (this.startBefore) this.begin(this.startBefore, false);
    this.startBefore = null;
    if (this.data.span) { this.data = { ...this.data, span: null }; this.trigger("span", { start: this.start }); }
    this.pass();
    this.link();
    this.refresh();
  }

  // --- called by buttons and keys

  toggle() {
    if (this.transport.playing || this.transport.waiting) this.transport.pause();
    else this.transport.play();
  }

  alternate() {
    const { transport } = this;
    if (transport.pair) { transport.alternate(null); return; }
    if (!this.pairable) return;
    transport.alternate(["clip", this.focus]);
    if (!transport.playing) transport.play();
  }

  get pairable() { return this.focus !== null && !this.views.get("clip")?.refused && !this.views.get(this.focus)?.refused; }

  playTrack(key) {
    const view = this.views.get(key);
    if (!view) { this.wanted = key; return; }
    this.wanted = null;
    this.setFocus(key);
    if (view.refused) { this.refresh(); return; }
    this.listen(key); // also ends alternating
    if (!this.transport.playing) this.transport.play();
  }

  // Alternates between a passage of a track and the passage of the clip that it comes close to.
  playPassage({ track_id: id, number, clip, track }, play = true) {
    const key = String(id);
    if (!this.views.has(key)) return;
    this.begin("moment", false);
    this.passage = { text: `${id}:${number}`, key, clip: [...clip], track: [...track] };
    this.own.clear();
    this.own.set("clip", this.passage.clip);
    this.own.set(key, this.passage.track);
    this.transport.loop = true;
    this.setFocus(key, false);
    this.pass(0);
    if (play) {
      this.link();
      this.transport.alternate(null);
      this.alternate();
    }
    this.refresh();
  }

  // True while both lanes still have the passage.
  get passed() { return this.start === "moment" && this.passage && this.own.get("clip") === this.passage.clip && this.own.get(this.passage.key) === this.passage.track; }

  setFocus(key, byHand = true) {
    if (this.focus === key) return;
    this.focus = key;
    this.tellFocus();
    if (byHand) this.link();
  }

  tellFocus() { if (this.focus !== null) said(new CustomEvent("whence:focus", { detail: { track_id: Number(this.focus) } })); }

  match(on) {
    this.matched = this.matchBox.checked = on;
    this.transport.lanes.forEach((lane) => { lane.gain = this.gain(this.lane(lane.key)); });
    this.transport.level();
    this.views.forEach((view) => { view.level(); view.paint(); });
  }

  show(picture) {
    this.picture = this.pictureBox.checked = picture;
    this.element.querySelector(".player").classList.toggle("tall", picture);
    this.views.forEach((view) => view.paint());
  }

  enlarge(step) {
    this.zoom = ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(this.zoom) + step))];
    this.zoomPart.querySelector("output").textContent = `${this.zoom}×`;
    this.refresh();
  }

  loudness(percent) {
    this.volumeBox.value = percent;
    this.volumeBox.setAttribute("aria-valuetext", `${percent} percent`);
    localStorage.setItem(VOLUME_KEY, percent);
    this.transport.setVolume((percent / 100) ** 2); // steps of about equal loudness
  }

  onKey(event) {
    if (!this.element.isConnected) { document.removeEventListener("keydown", this.onKeyDown); this.transport.pause(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !this.data) return;
    if (!this.element.clientWidth) { // another tab of the page is open: there, keys only stop
      if ((event.key === " " || event.key === "Escape") && this.transport.playing && !typing(event.target)) { event.preventDefault(); this.transport.pause(); }
      return;
    }
    const { target, key } = event;
    if (typing(target)) return;
    const pressed = this.pointed ? "button, summary, a, [role=tab]" : "button, summary, a, [role=tab], [type=checkbox], [type=radio]";
    if (key === " " && target.closest?.(pressed) && !target.closest(".listen")) return; // the key presses that button
    const lane = /^[1-8]$/.test(key) ? this.data.tracks[Number(key) - 1] : null;
    const actions = {
      " ": () => this.toggle(), 0: () => this.listen("clip"), c: () => this.listen("clip"), x: () => this.alternate(),
      ArrowLeft: () => this.nudge(-1), ArrowRight: () => this.nudge(1), Home: () => this.transport.seek(0),
      "[": () => this.bracket(false), "]": () => this.bracket(true), Escape: () => this.clear(),
      l: () => this.transport.setLoop(!this.transport.loop), s: () => this.begin(this.start === "clock" ? "moment" : "clock"),
      m: () => this.match(!this.matched), g: () => this.show(!this.picture),
      "+": () => this.enlarge(1), "=": () => this.enlarge(1), "-": () => this.enlarge(-1), "?": () => this.keysPart.showModal(),
    };
    const act = lane ? () => this.listen(lane.key) : actions[key.length === 1 ? key.toLowerCase() : key];
    const arrows = key.startsWith("Arrow") || key === "Home";
    if (!act || (arrows && target.closest?.("[role=slider], [role=tab], input, [tabindex='0']:not(body)"))) return;
    event.preventDefault();
    act();
  }

  nudge(step) { const key = this.transport.sounding; this.seek(key, this.at(key) + step); }

  // --- display

  announce(key) {
    const number = this.data.tracks.findIndex((lane) => lane.key === key) + 1;
    this.statusPart.textContent = key === "clip" ? "Listening to the clip." : `Listening to track ${number}: ${this.lane(key).title}.`;
  }

  link() {
    const set = { track: this.focus, start: this.start === "moment" ? "moment" : null, loop: null, passage: this.passed ? this.passage.text : null };
    if (this.start === "clock" && this.region && !this.data.span) set.loop = loopText(null, this.region);
    if (this.start === "moment" && this.own.has(this.focus) && !this.passed) set.loop = loopText(this.focus, this.own.get(this.focus));
    this.looped = set.loop;
    said(new CustomEvent("whence:link", { detail: set }));
  }

  refresh() {
    if (!this.data) return;
    const { transport } = this, sounding = transport.sounding, passages = this.passages();
    const playing = transport.playing, busy = playing || transport.waiting;
    this.playPart.textContent = busy ? "Pause" : "Play";
    this.playPart.setAttribute("aria-pressed", busy);
    this.playPart.disabled = Boolean(this.views.get(transport.heard)?.refused);
    const number = this.data.tracks.findIndex((lane) => lane.key === this.focus) + 1;
    this.alternatePart.textContent = number ? `Clip ⇄ track ${number}` : "Clip ⇄ track";
    this.alternatePart.title = "Both passages back to back, again and again";
    this.alternatePart.setAttribute("aria-pressed", Boolean(transport.pair));
    this.alternatePart.disabled = !this.pairable;
    this.repeatBox.checked = transport.loop;
    const { span } = this.data, passage = passages[sounding], some = this.region || this.own.size || span || this.mark;
    this.passagePart.querySelector(".words").textContent = this.mark ? `Passage from ${clock(this.mark.from)} …` : span ? `Span of the clip: ${clock(span.from_s)} – ${clock(span.to_s)}`
      : some ? `Passage: ${clock(passage[0])} – ${clock(passage[1])}` : "";
    this.clearPart.hidden = !some;
    const focused = this.data.tracks.find((lane) => lane.key === this.focus);
    this.views.forEach((view, key) => {
      const lane = transport.lanes.get(key), data = this.lane(key);
      const strip = key === "clip" ? focused?.clip_strip && { ...focused.clip_strip, chip: focused.chip } : data.strip && { ...data.strip, chip: data.chip };
      if (lane?.failed && !view.refused) view.refuse(lane.reason);
      view.show({ heard: key === sounding, playing, passage: passages[key], marked: this.marked(key), buffer: lane?.buffer || null, strip: strip || null, loading: transport.waiting && key === transport.heard });
    });
    this.legendPart.textContent = this.explain(focused, number);
    const ids = this.data.tracks.map((lane) => Number(lane.key));
    said(new CustomEvent("whence:lanes", { detail: { track_ids: ids, busy, playing: busy && sounding !== "clip" ? Number(sounding) : null } }));
    this.draw();
    if (playing) this.tick();
  }

  explain(focused, number) {
    if (!this.data.tracks.length) return "Choose a track on the curve or in the table to hear it beside the clip.";
    if (!focused?.strip && !focused?.clip_strip) return "";
    const parts = [];
    if (focused.strip) parts.push("The bar over a track shows which of its moments mattered most for this clip.");
    if (focused.clip_strip) parts.push(`The bar over the clip shows which of its moments draw on track ${number}.`);
    if (focused.chip !== "above") parts.push(`Track ${number} is not above noise for this clip: its bars may show nothing else.`);
    return parts.join(" ");
  }

  tick() {
    if (this.ticking) return;
    this.ticking = true;
    const frame = () => {
      this.ticking = false;
      if (!this.element.isConnected) { this.transport.pause(); return; } // Gradio removed it; there is no unmount event
      const sounding = this.transport.sounding;
      if (this.shown !== sounding && this.transport.pair) { this.shown = sounding; this.refresh(); }
      this.draw();
      if (this.transport.playing) this.tick();
    };
    requestAnimationFrame(frame);
  }

  draw() {
    const { transport } = this;
    this.clockPart.textContent = clock(this.at(transport.sounding));
    this.views.forEach((view, key) => {
      const turn = !transport.pair || !transport.playing || key === transport.sounding;
      view.move(turn ? this.at(key) : transport.lanes.get(key)?.from ?? 0);
    });
  }
}

export function mount({ element, props, watch, trigger }) {
  const player = new Player(element, trigger);
  element.player = player; // for the tests
  watch("value", () => player.load(props.value));
  player.load(props.value);
}
