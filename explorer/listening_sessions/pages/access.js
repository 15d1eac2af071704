// Makes a browser a listener's: by joining, or by the resume code that joining gave. Shows and renews the code.
import { ask, part, say } from "./common.js";

export class Access {
  // `listening`: load(), keepNote(), transport.
  constructor(home, listening) {
    this.home = home;
    this.listening = listening;
    part("welcome").addEventListener("submit", (event) => { event.preventDefault(); this.join(); });
    part("resume").addEventListener("submit", (event) => { event.preventDefault(); this.resume(part("code").value); });
    part("way-on").addEventListener("click", () => { part("way").hidden = true; listening.load(); });
    part("way-copy").addEventListener("click", () => this.copy());
    part("elsewhere").addEventListener("click", () => part("renew").showModal());
    part("renew-no").addEventListener("click", () => part("renew").close());
    part("renew-yes").addEventListener("click", () => this.renew());
  }

  async join() {
    say("");
    try {
      this.show((await ask(`${this.home}/join`, { nickname: part("nickname").value, agreed: part("agreed").checked })).resume);
    } catch (error) {
      say(error.message);
    }
  }

  // Makes this browser one of a listener who joined before.
  async resume(code) {
    say("");
    let refused = "";
    try {
      await ask(`${this.home}/resume`, { resume: code });
    } catch (error) {
      refused = error.message;
    }
    await this.listening.load();
    if (refused) say(refused);
  }

  // Shows the code; the browser does not store it.
  show(code) {
    for (const name of ["welcome", "resume", "rating", "end", "reveal", "foot"]) part(name).hidden = true;
    part("way").hidden = false;
    part("way-code").textContent = code;
    part("way-copy").textContent = "Copy as a private link";
    part("way-link").textContent = "It is yours alone: whoever has it can answer in your place.";
    part("way-title").focus();
    scrollTo({ top: 0 });
  }

  async copy() {
    const link = `${location.origin}${this.home}#${part("way-code").textContent}`;
    try {
      await navigator.clipboard.writeText(link);
      part("way-copy").textContent = "Copied";
    } catch { // without https, browsers refuse to copy
      part("way-link").textContent = `Yours alone: ${link}`;
    }
  }

  async renew() {
    part("renew").close();
    this.listening.keepNote();
    this.listening.transport.pause();
    try {
      this.show((await ask(`${this.home}/code`, {})).resume);
    } catch (error) {
      say(error.message);
    }
  }
}
