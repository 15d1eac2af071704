// Plays all lanes on one clock: every lane starts from its own `from` at the same moment, and one of them is audible.
//
// Time: `offset` = seconds since the beginning of the passage; a lane sounds at lane time from + offset. A round is
// one pass through the passage of the lane that is heard; rounds are planned AHEAD_S before they begin, each lane
// with a source and a short fade at both ends, so neither a switch nor the turn of a loop clicks.
const AHEAD_S = 1.3; // browsers wake a hidden page once a second
const FADE_S = 0.004;
const SOON_S = 0.02; // from the decision to start to the start
export const SHORTEST_S = 0.15;

const seconds = (value) => (Number.isFinite(value) ? value : 0);

// Cancels what is planned for a gain from `at` on and holds its value. For an `at` in the future that is 1: fades are over.
function hold(gain, at, now) {
  const value = at > now ? 1 : gain.value;
  gain.cancelScheduledValues(at);
  gain.setValueAtTime(value, at);
}

class Lane {
  constructor(key) {
    this.key = key;
    this.url = null;
    this.duration = 0;
    this.from = 0; // passage, seconds of the lane
    this.to = 0;
    this.gain = 1; // linear: matched loudness
    this.buffer = null;
    this.node = null; // its GainNode: open for the audible lane
    this.loading = null;
    this.failed = false;
    this.reason = null; // why loading failed, for the listener
  }

  get length() { return Math.max(SHORTEST_S, this.to - this.from); }
}

export class Transport {
  // `changed` is called whenever something to show has changed; `makeContext` gives the AudioContext on first use.
  constructor(changed, makeContext = () => new AudioContext()) {
    this.changed = changed;
    this.makeContext = makeContext;
    this.context = null;
    this.lanes = new Map();
    this.heard = null; // key of the lane that is heard
    this.pair = null; // two keys that alternate, a round each
    this.loop = false;
    this.playing = false;
    this.waiting = false; // play was pressed, the sound is not loaded yet
    this.turn = null; // key of the pair's lane that a pause interrupted
    this.rounds = [];
    this.rest = 0; // offset while nothing plays
    this.volume = 1;
    this.timer = null;
  }

  // --- lanes

  // items: [{key, url, duration, gain}]; a lane that stays keeps its sound, also while it plays.
  setLanes(items) {
    const kept = new Map();
    for (const item of items) {
      const same = this.lanes.get(item.key);
      const lane = same && same.url === item.url ? same : new Lane(item.key);
      Object.assign(lane, { url: item.url, duration: item.duration, gain: item.gain });
      if (lane !== same) Object.assign(lane, { from: 0, to: item.duration });
      kept.set(item.key, lane);
    }
    const lost = [...this.lanes.values()].filter((lane) => kept.get(lane.key) !== lane);
    this.lanes = kept;
    lost.forEach((lane) => this.leave(lane));
    if (this.pair && !this.pair.every((key) => kept.has(key))) this.pair = null;
    if (!kept.has(this.heard)) { // the first lane takes over
      this.heard = kept.keys().next().value ?? null;
      this.rest = 0;
      if (this.playing && this.current) this.restart(0);
    }
    if (this.playing) this.lanes.forEach((lane) => this.load(lane));
    this.level();
  }

  silence(lane, at = 0) {
    for (const round of this.rounds) {
      round.voices.get(lane)?.source.stop(at);
      round.voices.delete(lane);
    }
  }

  // Removes a lane; one that sounds fades out.
  leave(lane) {
    if (!lane.node) return;
    const now = this.context.currentTime;
    hold(lane.node.gain, now, now);
    lane.node.gain.linearRampToValueAtTime(0, now + FADE_S);
    this.silence(lane, now + FADE_S);
  }

  async load(lane) {
    if (lane.buffer || lane.failed || !lane.url) return;
    lane.loading ||= (async () => {
      const answer = await fetch(lane.url);
      if (!answer.ok) throw new Error((await answer.json()).detail);
      lane.buffer = await this.context.decodeAudioData(await answer.arrayBuffer());
    })();
    try {
      await lane.loading;
    } catch (error) {
      lane.failed = true;
      lane.reason = error.name === "Error" ? error.message : "its audio did not load";
    }
    lane.loading = null;
    if (this.lanes.get(lane.key) !== lane) return;
    if (lane.buffer) for (const round of this.rounds) this.voice(round, lane); // it joins the rounds that play
    if (lane.failed && lane.key === this.heard && this.waiting) this.pause();
    this.changed();
  }

  // --- what is heard

  get current() { return this.lanes.get(this.heard) || null; }

  // The lane that sounds now: with a pair, the one whose turn it is.
  get sounding() {
    if (!this.pair) return this.heard;
    return this.playing ? this.round()?.key ?? this.heard : this.turn ?? this.heard;
  }

  level() {
    if (!this.context) return;
    const now = this.context.currentTime;
    this.lanes.forEach((lane) => {
      if (!lane.node) return;
      const open = this.pair ? this.pair.includes(lane.key) : lane.key === this.heard;
      hold(lane.node.gain, now, now);
      lane.node.gain.linearRampToValueAtTime(open ? lane.gain * this.volume : 0, now + FADE_S);
    });
  }

  switchTo(key) {
    if (!this.lanes.has(key)) return;
    const was = this.sounding;
    if (this.pair) {
      const offset = this.offset;
      this.pair = null;
      this.heard = key;
      if (this.playing) this.restart(key === was ? offset : 0);
    } else {
      this.heard = key;
      if (this.playing) this.replan();
      else if (this.rest >= this.current.length) this.rest = 0;
      if (this.playing && !this.current.buffer) this.load(this.current);
    }
    this.level();
    this.changed();
  }

  setVolume(volume) { this.volume = volume; this.level(); }

  setLoop(on) {
    this.loop = on;
    if (this.playing) this.replan();
    this.changed();
  }

  // Passages by key: {key: [from, to]}. What plays goes on at its place in the lane where that lies inside.
  setPassages(passages, offset = null) {
    const heard = this.current, at = heard ? heard.from + this.offset : 0;
    const moved = [];
    for (const [key, [from, to]] of Object.entries(passages)) {
      const lane = this.lanes.get(key);
      if (!lane || (lane.from === from && lane.to === to)) continue;
      lane.from = from;
      lane.to = to;
      moved.push(lane);
    }
    if (!heard) return;
    if (offset !== null) this.seek(offset);
    else if (moved.includes(heard)) this.seek(at >= heard.from && at < heard.to ? at - heard.from : 0);
    else if (this.pair && moved.some((lane) => this.pair.includes(lane.key))) this.seek(this.rest);
    else if (this.playing) moved.forEach((lane) => { this.silence(lane); this.rounds.forEach((round) => this.voice(round, lane)); });
  }

  // --- transport

  get offset() {
    const round = this.playing ? this.round() : null;
    if (!round) return this.rest;
    return Math.max(0, this.context.currentTime - round.at) + round.offset;
  }

  // The round that sounds now.
  round() {
    const now = this.context.currentTime;
    let found = this.rounds[0] || null;
    for (const round of this.rounds) if (round.at <= now) found = round;
    return found;
  }

  async play() {
    if (!this.current || this.playing) return;
    this.context ||= this.makeContext();
    this.waiting = true;
    this.changed();
    const wanted = this.pair ? this.pair.map((key) => this.lanes.get(key)) : [this.current];
    await Promise.all([this.context.resume?.(), ...wanted.map((lane) => this.load(lane))]);
    if (!this.waiting) return; // stopped meanwhile
    this.waiting = false;
    if (wanted.some((lane) => !lane.buffer)) { this.pair = null; this.changed(); return; }
    this.playing = true;
    this.restart(this.rest);
    this.level();
    this.lanes.forEach((lane) => this.load(lane));
    this.timer ||= setInterval(() => this.plan(), 100);
    this.changed();
  }

  pause() {
    this.turn = this.sounding;
    this.rest = this.playing ? this.offset : this.rest;
    this.playing = this.waiting = false;
    clearInterval(this.timer);
    this.timer = null;
    this.rounds.forEach((round) => this.end(round, this.context.currentTime));
    this.rounds = [];
    const lane = this.lanes.get(this.sounding);
    if (lane && this.rest >= lane.length) this.rest = 0;
    this.changed();
  }

  seek(offset) {
    const length = this.current?.length || 0;
    this.rest = Math.max(0, Math.min(seconds(offset), length - 0.01));
    if (this.playing) this.restart(this.rest);
    this.changed();
  }

  // Two lanes in turn, each through its passage; null ends that.
  alternate(pair) {
    this.pair = pair;
    this.turn = null;
    if (pair) {
      this.heard = pair[0];
      this.rest = 0;
      if (this.playing) this.restart(0);
    } else if (this.playing) this.restart(this.offset);
    this.level();
    this.changed();
  }

  // --- rounds

  restart(offset) {
    const now = this.context.currentTime;
    this.rounds.forEach((round) => this.end(round, now));
    this.rounds = [];
    const key = this.pair ? (this.pair.includes(this.turn) ? this.turn : this.pair[0]) : this.heard;
    this.turn = null;
    const inside = offset < this.lanes.get(key).length ? offset : 0;
    this.add(now + (now > 0 ? SOON_S : 0), key, inside);
    this.plan();
  }

  add(at, key, offset) {
    const round = { at, key, offset, length: this.lanes.get(key).length, until: Infinity, voices: new Map() };
    this.rounds.push(round);
    this.lanes.forEach((lane) => this.voice(round, lane));
    return round;
  }

  // The sound of one lane in one round.
  voice(round, lane) {
    if (!lane.buffer || round.voices.has(lane) || (this.pair && lane.key !== round.key)) return;
    // A lane that joins late starts a little later still: a start in the past would put it out of step.
    const now = this.context.currentTime, at = round.at >= now ? round.at : now + SOON_S;
    if (at + 2 * FADE_S >= round.until) return;
    const start = lane.from + round.offset + (at - round.at);
    if (start >= lane.buffer.duration) return;
    if (!lane.node) {
      lane.node = this.context.createGain();
      lane.node.gain.value = 0;
      lane.node.connect(this.context.destination);
      this.level();
    }
    const source = this.context.createBufferSource(), edge = this.context.createGain();
    source.buffer = lane.buffer;
    source.connect(edge).connect(lane.node);
    edge.gain.value = 0;
    edge.gain.setValueAtTime(0, at);
    edge.gain.linearRampToValueAtTime(1, at + FADE_S);
    source.start(at, Math.max(0, start));
    round.voices.set(lane, { source, edge });
    if (round.until < Infinity) this.fadeOut({ source, edge }, round.until);
  }

  fadeOut({ source, edge }, at) {
    const now = this.context.currentTime, from = Math.max(at - FADE_S, now);
    hold(edge.gain, from, now);
    edge.gain.linearRampToValueAtTime(0, from + FADE_S);
    source.stop(from + FADE_S);
  }

  end(round, at) {
    if (round.at > this.context.currentTime && at <= round.at) {
      round.voices.forEach(({ source }) => source.stop()); // it never began
      return;
    }
    round.until = at;
    round.voices.forEach((voice) => this.fadeOut(voice, at));
  }

  // After a switch of lane or loop: plans the rounds after the present one again, without a cut.
  replan() {
    const now = this.context.currentTime, current = this.round();
    if (!current) return;
    for (const round of this.rounds) if (round.at > now && round !== current) this.end(round, 0);
    this.rounds = [current];
    current.key = this.heard;
    current.length = this.current.length;
    if (current.until < Infinity) {
      current.until = Infinity;
      current.voices.forEach(({ source, edge }) => {
        hold(edge.gain, now, now);
        edge.gain.linearRampToValueAtTime(1, now + FADE_S);
        source.stop(now + 1e6);
      });
    }
    if (this.offset >= current.length) this.restart(0);
    else this.plan();
  }

  plan() {
    if (!this.playing) return;
    const now = this.context.currentTime;
    const newest = this.rounds.at(-1);
    this.rounds = this.rounds.filter((round) => round === newest || round.until + 0.1 > now);
    for (;;) {
      const last = this.rounds.at(-1), ends = last.at + last.length - last.offset;
      if (ends > now + AHEAD_S) return;
      if (last.until === Infinity) this.end(last, ends);
      if (!this.loop && !this.pair) {
        if (now >= ends) { this.pause(); this.rest = 0; this.changed(); }
        return;
      }
      const next = this.pair ? this.pair[1 - this.pair.indexOf(last.key)] : this.heard;
      this.add(ends, next, 0);
    }
  }
}
