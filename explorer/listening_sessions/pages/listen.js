// A listener's page: welcome, pairs one by one, the end, the reveal. Plays with the explorer's transport.js and lane.js.
import { LaneView } from "/static/whence/lane.js";
import { mount as mountTheme } from "/static/whence/theme.js";
import { Transport } from "/static/whence/transport.js";
import { Access } from "./access.js";
import { AnswerQueue } from "./answer_queue.js";
import { ask, element, part, plural, say } from "./common.js";
import { revealed, standing } from "./reveal.js";

const HOME = location.pathname.replace(/\/+$/, "");
const PLACE_KEY = `whence.place.${HOME}`, VOLUME_KEY = "whence.volume";
const NOTE_WAIT_S = 0.8, REVEAL_WAIT_S = 10;
const typing = (target) => target.closest?.("textarea, input[type=text], dialog");

class Listening {
  constructor() {
    this.session = null;
    this.index = 0; // index of the pair on show
    this.views = new Map();
    this.transport = new Transport(() => this.refresh());
    this.transport.loop = true;
    this.queue = new AnswerQueue(`${HOME}/rate`, (state, reason) => this.tell(state, reason));
    // The host that LaneView calls.
    Object.assign(this, { zoom: 1, picture: false, matched: true, data: { span: null } });
    this.access = new Access(HOME, this);
    this.bind();
  }

  bind() {
    part("play").addEventListener("click", () => this.toggle());
    part("alternate").addEventListener("click", () => this.alternate());
    part("loop").addEventListener("change", () => this.transport.setLoop(part("loop").checked));
    part("volume").addEventListener("input", () => this.loudness(Number(part("volume").value)));
    const remembered = localStorage.getItem(VOLUME_KEY);
    this.loudness(remembered === null ? 100 : Math.min(100, Math.max(0, Number(remembered) || 0)));
    part("form").addEventListener("submit", (event) => { event.preventDefault(); this.go(this.index + 1); });
    part("previous").addEventListener("click", () => this.go(this.index - 1));
    part("note").addEventListener("input", () => { clearTimeout(this.noteTimer); this.noteTimer = setTimeout(() => this.keepNote(), NOTE_WAIT_S * 1000); });
    part("note").addEventListener("change", () => this.keepNote());
    part("again").addEventListener("click", () => this.go(this.firstOpen()));
    part("back").addEventListener("click", () => { this.transport.pause(); this.lookForReveal(true); });
    part("look").addEventListener("click", () => this.lookForReveal(true));
    part("leave").addEventListener("click", () => part("sure").showModal());
    part("stay").addEventListener("click", () => part("sure").close());
    part("gone").addEventListener("click", () => this.leave());
    document.addEventListener("keydown", (event) => this.onKey(event));
    addEventListener("beforeunload", (event) => { this.keepNote(); if (this.queue.unsaved) event.preventDefault(); });
    new MutationObserver(() => this.views.forEach((view) => view.paint())).observe(document.body, { attributeFilter: ["class"] });
  }

  // --- the session

  async load() {
    try {
      this.session = await ask(`${HOME}/state`);
    } catch (error) {
      say(error.message);
      return;
    }
    const { title, nickname, consent, blind, state, pairs } = this.session;
    part("title").textContent = document.title = title;
    part("consent").textContent = part("kept").textContent = consent;
    part("who").textContent = nickname ? `as ${nickname}` : "";
    part("foot").hidden = !nickname;
    // A private link: the code stands behind #, which browsers do not send; it is removed from the address at once.
    const code = location.hash.slice(1);
    if (code) history.replaceState(null, "", location.pathname);
    if (code && !nickname) { await this.access.resume(code); return; }
    part("resume").hidden = Boolean(nickname);
    if (!nickname) {
      part("count").textContent = this.session.count;
      part("kind").textContent = blind ? "It is a blind session: nothing says what a track is until the host opens the reveal."
        : "It is an open session: titles and influence scores are shown.";
      part("welcome").hidden = state !== "open";
      if (state !== "open") say("the host has closed the ratings of this session");
      return;
    }
    part("welcome").hidden = true;
    this.makeQuestions();
    part("progress").max = pairs.length;
    const kept = Number(sessionStorage.getItem(PLACE_KEY) ?? NaN);
    if (state === "revealed") this.lookForReveal(false);
    else this.go(Number.isInteger(kept) && kept >= 0 && kept <= pairs.length ? kept : this.firstOpen());
  }

  async leave() {
    part("sure").close();
    this.transport.pause();
    try {
      await ask(`${HOME}/leave`, {});
    } catch (error) {
      say(error.message);
      return;
    }
    sessionStorage.removeItem(PLACE_KEY);
    for (const name of ["rating", "end", "reveal", "foot"]) part(name).hidden = true;
    part("who").textContent = "";
    say("all that was kept of you is deleted");
  }

  get pair() { return this.session.pairs[this.index]; }
  // In a blind session no waveform is drawn: it would show at a glance that two sounds are the same.
  get hidden() { return this.session.blind && this.session.state !== "revealed"; }
  get open() { return this.session.state === "open"; }
  rated(pair) { return Object.keys(pair.answers).length > 0; }

  // Index of the first pair without an answer; 0 where every pair has one.
  firstOpen() { return Math.max(0, this.session.pairs.findIndex((pair) => !this.rated(pair))); }

  // --- one pair

  go(index) {
    this.keepNote();
    const { pairs } = this.session;
    this.transport.pause();
    this.transport.alternate(null);
    this.index = Math.max(0, index);
    sessionStorage.setItem(PLACE_KEY, this.index);
    if (this.index >= pairs.length) { this.finish(); return; }
    for (const name of ["end", "reveal"]) part(name).hidden = true;
    part("rating").hidden = false;
    this.showPair();
    scrollTo({ top: 0 });
  }

  showPair() {
    const { pair } = this, { pairs } = this.session;
    const lanes = [["clip", "Clip", pair.clip, "made by the machine"], ["pair", "Track", pair.lane, ""]].map(([key, name, token, note]) => ({
      key, name, url: `${HOME}/audio/${token}`, title: key === "pair" && pair.shown ? pair.shown.title : note || "what you compare it with",
      note: "", chip: null, place: null, lufs: null, gain_db: 0, peaks: "", duration_s: pair.seconds, refused: null,
    }));
    lanes.forEach((lane, digit) => {
      const view = this.views.get(lane.key) || new LaneView(part("lane"), this);
      this.views.set(lane.key, view);
      view.load(lane, digit);
      view.digit.textContent = lane.name;
      view.root.setAttribute("aria-label", lane.name);
      view.wave.setAttribute("aria-label", `Position in the ${lane.name.toLowerCase()}`);
    });
    part("lanes").replaceChildren(...[...this.views.values()].map((view) => view.root));
    this.transport.setLanes(lanes.map((lane) => ({ key: lane.key, url: lane.url, duration: lane.duration_s, gain: 1 })));
    this.transport.setPassages({ clip: [0, pair.seconds], pair: [0, pair.seconds] }, 0);
    this.transport.switchTo("clip");
    if (this.transport.context) this.transport.lanes.forEach((lane) => this.transport.load(lane)); // else they load with the first play
    part("back").hidden = this.session.state !== "revealed";
    const next = pairs[this.index + 1];
    if (next) fetch(`${HOME}/audio/${next.lane}`).catch(() => null); // into the browser's cache
    const shown = pair.shown;
    part("shown").hidden = !shown;
    part("shown").textContent = shown ? `${shown.title}${shown.composer ? `, ${shown.composer}` : ""}: ${shown.what}. ${shown.scores.map((score) => `${score.label}: ${standing(score)}`).join("; ")}` : "";
    for (const { name } of this.session.questions) {
      for (const box of document.querySelectorAll(`input[name="${name}"]`)) {
        box.checked = pair.answers[name] === Number(box.value);
        box.disabled = !this.open;
      }
    }
    part("note").value = pair.note;
    part("note").disabled = !this.open;
    part("note").maxLength = this.session.note_chars;
    this.tell(this.open ? "" : "refused", "the host has closed the ratings: you can still listen");
    this.progress();
    this.refresh();
  }

  progress() {
    const { pairs } = this.session, done = pairs.filter((pair) => this.rated(pair)).length;
    part("where").textContent = `Pair ${this.index + 1} of ${pairs.length}`;
    part("done").textContent = `${done} answered`;
    part("progress").value = done;
    part("progress").setAttribute("aria-label", `${done} of ${pairs.length} pairs answered`);
    part("previous").disabled = this.index === 0;
    part("next").textContent = this.index + 1 === pairs.length ? "Finish" : this.rated(this.pair) || !this.open ? "Next" : "Skip";
  }

  makeQuestions() {
    part("questions").replaceChildren(...this.session.questions.map(({ name, text, low, high }) => {
      const boxes = [1, 2, 3, 4, 5].map((value) => {
        const end = value === 1 ? `, ${low}` : value === 5 ? `, ${high}` : "";
        const box = element("input", { type: "radio", name, value, ariaLabel: `${value}${end}` });
        box.addEventListener("change", () => this.rate(name, value));
        return element("label", {}, box, element("span", {}, String(value)));
      });
      const end = (words) => element("span", { className: "end", ariaHidden: "true" }, words);
      const scale = element("div", { className: "scale" }, end(low), ...boxes, end(high));
      return element("fieldset", { className: "question" }, element("legend", {}, text), scale);
    }));
  }

  rate(name, value) {
    if (!this.open) return;
    this.pair.answers[name] = value;
    this.queue.add(this.pair.lane, { answers: { [name]: value } });
    this.progress();
  }

  keepNote() {
    clearTimeout(this.noteTimer);
    const pair = this.session?.pairs?.[this.index], note = part("note").value;
    if (!pair || part("rating").hidden || !this.open || note === pair.note) return;
    pair.note = note;
    this.queue.add(pair.lane, { note });
  }

  tell(state, reason = "") {
    const texts = { saving: "Saving …", saved: "Saved", waiting: `Not saved yet (${reason}): trying again …`, refused: `${reason}.` };
    part("saved").textContent = texts[state] || "";
    part("saved").classList.toggle("failed", state === "waiting" || state === "refused");
    if (state === "refused" && this.open) say(reason);
  }

  // --- the end

  finish() {
    part("rating").hidden = part("reveal").hidden = true;
    part("end").hidden = false;
    const { pairs, blind } = this.session, left = pairs.filter((pair) => !this.rated(pair)).length;
    part("end-title").textContent = left ? `${plural(left, "pair")} without an answer` : "Thank you: every pair has an answer";
    part("end-text").textContent = blind ? "Your answers are kept. When the host opens the reveal, this page shows what each track was, beside the scores."
      : "Your answers are kept. The reveal shows them beside the scores.";
    part("look").textContent = blind ? "Is the reveal open?" : "Show the reveal";
    part("end-title").focus();
    clearInterval(this.revealTimer);
    if (blind) this.revealTimer = setInterval(() => { if (!part("end").hidden) this.lookForReveal(false); }, REVEAL_WAIT_S * 1000);
  }

  async lookForReveal(asked) {
    let found;
    try {
      if (this.session.blind) this.session.state = (await ask(`${HOME}/state`)).state;
      if (this.session.blind && this.session.state !== "revealed") {
        if (asked) part("end-text").textContent = "Not yet: the host has not opened the reveal. This page looks again by itself.";
        return;
      }
      found = await ask(`${HOME}/reveal`);
    } catch (error) {
      if (asked) part("end-text").textContent = error.message;
      return;
    }
    clearInterval(this.revealTimer);
    for (const name of ["rating", "end"]) part(name).hidden = true;
    part("reveal").hidden = false;
    part("reveal").replaceChildren(...found.trials.map((trial, i) => revealed(trial, i, (lane) => { this.go(this.session.pairs.findIndex((pair) => pair.lane === lane)); this.listen("pair"); })));
  }

  // --- the player

  gain() { return 1; }
  drop() {}
  at(key) { const lane = this.transport.lanes.get(key); return lane ? lane.from + this.transport.offset : 0; }
  toggle() { if (this.transport.playing || this.transport.waiting) this.transport.pause(); else this.transport.play(); }
  listen(key) { this.transport.switchTo(key); if (!this.transport.playing) this.transport.play(); }

  alternate() {
    if (this.transport.pair) { this.transport.alternate(null); return; }
    this.transport.alternate(["clip", "pair"]);
    if (!this.transport.playing) this.transport.play();
  }

  seek(key, time) {
    const inside = Math.max(0, Math.min(time, this.pair.seconds - 0.05)), lane = this.transport.lanes.get(key);
    if (inside < lane.from || inside >= lane.to) this.passage(0, this.pair.seconds, inside);
    else this.transport.seek(inside - lane.from);
  }

  drag(_, from, to) { this.passage(from, Math.min(this.pair.seconds, Math.max(to, from + 0.15)), 0); }

  passage(from, to, offset) {
    this.transport.setPassages({ clip: [from, to], pair: [from, to] }, offset);
    this.refresh();
  }

  loudness(percent) {
    part("volume").value = percent;
    localStorage.setItem(VOLUME_KEY, percent);
    this.transport.setVolume((percent / 100) ** 2); // steps of about equal loudness
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || part("rating").hidden || typing(event.target)) return;
    const { key, target } = event;
    if (key === " " && target.closest("button, [type=checkbox]")) return; // the key presses that button
    const actions = {
      " ": () => this.toggle(), c: () => this.listen("clip"), t: () => this.listen("pair"), x: () => this.alternate(),
      n: () => this.go(this.index + 1), p: () => this.go(this.index - 1), Escape: () => this.passage(0, this.pair.seconds, 0),
    };
    const act = /^[1-5]$/.test(key) ? () => this.answer(key) : actions[key.length === 1 ? key.toLowerCase() : key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  // A digit answers the question that has the focus, else the first without an answer; the focus follows.
  answer(digit) {
    const { questions } = this.session, focused = document.activeElement?.name;
    const name = questions.some((question) => question.name === focused) ? focused : (questions.find((question) => !(question.name in this.pair.answers)) || questions[0]).name;
    const box = document.querySelector(`input[name="${name}"][value="${digit}"]`);
    if (box.disabled) return;
    box.checked = true;
    this.rate(name, Number(digit));
    const next = questions[questions.findIndex((question) => question.name === name) + 1];
    (next ? document.querySelector(`input[name="${next.name}"]:checked`) || document.querySelector(`input[name="${next.name}"]`) : part("next")).focus();
  }

  refresh() {
    if (!this.session?.pairs || part("rating").hidden) return;
    const { transport } = this, busy = transport.playing || transport.waiting, sounding = transport.sounding;
    part("play").textContent = busy ? "Pause" : "Play";
    part("play").setAttribute("aria-pressed", busy);
    part("alternate").setAttribute("aria-pressed", Boolean(transport.pair));
    this.views.forEach((view, key) => {
      const lane = transport.lanes.get(key);
      if (!lane) return;
      if (lane.failed && !view.refused) view.refuse(lane.reason);
      const whole = lane.from === 0 && lane.to === this.pair.seconds;
      view.show({ heard: key === sounding, playing: transport.playing, passage: [lane.from, lane.to], marked: !whole, buffer: this.hidden ? null : lane.buffer, strip: null, loading: transport.waiting && key === transport.heard });
      view.listen.setAttribute("aria-label", key === "clip" ? "Listen to the clip" : "Listen to the track");
    });
    part("status").textContent = busy ? `Listening to the ${sounding === "clip" ? "clip" : "track"}.` : "";
    this.draw();
    if (transport.playing) this.tick();
  }

  tick() {
    if (this.ticking) return;
    this.ticking = true;
    requestAnimationFrame(() => {
      this.ticking = false;
      if (this.shown !== this.transport.sounding) { this.shown = this.transport.sounding; this.refresh(); }
      this.draw();
      if (this.transport.playing) this.tick();
    });
  }

  draw() { this.views.forEach((view, key) => view.move(this.at(key))); }
}

mountTheme({ element: part("theme") });
const listening = new Listening();
window.listening = listening; // for the tests
listening.load();
