// Sends answers to the server: one request at a time, in order, repeated until the server has confirmed it.
import { ask } from "./common.js";

const FIRST_WAIT_S = 1, LONGEST_WAIT_S = 10;
const FINAL = new Set([400, 401, 403, 404, 409, 413]); // HTTP statuses after which another try is useless

export class AnswerQueue {
  // report(state, reason): called with "saving", "saved", "waiting" (tries again) or "refused".
  constructor(address, report) {
    this.address = address;
    this.report = report;
    this.waiting = new Map(); // lane -> {answers, note} that the server has not confirmed
    this.busy = false;
  }

  get unsaved() { return this.waiting.size > 0 || this.busy; }

  add(lane, { answers = {}, note }) {
    const before = this.waiting.get(lane) || { answers: {} };
    const now = { answers: { ...before.answers, ...answers } };
    if (note !== undefined || before.note !== undefined) now.note = note ?? before.note;
    this.waiting.delete(lane);
    this.waiting.set(lane, now);
    this.run();
  }

  async run() {
    if (this.busy) return;
    this.busy = true;
    let wait = FIRST_WAIT_S;
    while (this.waiting.size) {
      const [lane, given] = this.waiting.entries().next().value;
      this.waiting.delete(lane);
      this.report("saving");
      try {
        await ask(this.address, { lane, ...given });
        wait = FIRST_WAIT_S;
      } catch (error) {
        if (FINAL.has(error.status)) {
          this.report("refused", error.message);
          this.waiting.clear();
          this.busy = false;
          return;
        }
        const newer = this.waiting.get(lane); // given during the request: it replaces the older one
        this.waiting.set(lane, { ...given, ...newer, answers: { ...given.answers, ...newer?.answers } });
        this.report("waiting", error.message);
        await new Promise((done) => setTimeout(done, wait * 1000));
        wait = Math.min(LONGEST_WAIT_S, 2 * wait);
      }
    }
    this.busy = false;
    this.report("saved");
  }
}
