// A clip of the listener's own: sends words or a file to /attribute/..., shows how far the work is, opens the result.
const POLL_MS = 2000, LIMIT = 20_000_000;

class Form {
  constructor({ element }) {
    this.element = element;
    for (const part of ["words", "sound", "prompt", "file", "caption", "state", "open"])
      this[part] = element.querySelector("." + part);
    this.mine = 0; // number of the clip that this page asked for
    this.words.addEventListener("submit", (event) => {
      event.preventDefault();
      const prompt = this.prompt.value.trim();
      if (!prompt) return this.say("Write a few words first.");
      this.send("/attribute/prompt", JSON.stringify({ prompt }), "application/json");
    });
    this.sound.addEventListener("submit", (event) => {
      event.preventDefault();
      const file = this.file.files[0];
      if (!file) return this.say("Choose a file first.");
      if (file.size > LIMIT) return this.say("That is too large: a file may have 20 MB.");
      const about = new URLSearchParams({ name: file.name, caption: this.caption.value.trim() });
      this.send(`/attribute/audio?${about}`, file, "application/octet-stream");
    });
    this.open.addEventListener("click", () => location.assign(`/?clip=${this.clip}`));
    this.look();
  }

  say(text) {
    this.state.textContent = text;
  }

  busy(yes) {
    for (const button of this.element.querySelectorAll("form button")) button.disabled = yes;
  }

  async send(address, body, type) {
    this.open.hidden = true;
    this.busy(true);
    this.say("Sending");
    try {
      const answer = await fetch(address, { method: "POST", body, headers: { "Content-Type": type } });
      const job = await answer.json();
      if (!answer.ok) {
        this.busy(false);
        return this.say(job.detail || "That was not taken.");
      }
      this.mine = job.number;
      this.show(job);
    } catch {
      this.busy(false);
      this.say("The server cannot be reached.");
    }
  }

  async look() {
    if (!this.element.isConnected) return;
    try {
      const answer = await fetch("/attribute/state");
      if (answer.ok) return this.show(await answer.json());
    } catch { /* asked again below */ }
    setTimeout(() => this.look(), POLL_MS);
  }

  show(job) {
    const running = job.name === "running", mine = job.number === this.mine && this.mine > 0;
    this.busy(running);
    if (running) {
      this.say(`${mine ? "At work on your clip" : "At work on somebody's clip"}: ${job.text}`);
      setTimeout(() => this.look(), POLL_MS);
    } else if (mine) {
      this.say(job.text);
      this.clip = job.clip_id;
      this.open.hidden = job.name !== "done";
      if (!this.open.hidden) this.open.focus();
    } else if (this.state.textContent.startsWith("At work")) {
      this.say("");
    }
  }
}

export function mount(part) {
  new Form(part);
}
