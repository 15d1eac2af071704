// A play button beside a row of a list: plays one sound by itself and stops every other, the player's included.
// The gain comes from the server: at most 0 dB.
import { draw, make } from "./dom.js";

const ICONS = { play: "M5 3l9 5-9 5z", stop: "M4 4h8v8H4z" };
const sound = new Audio();
let pressed = null; // the button whose sound plays
let heard = null; // address of that sound

function face(button, on) {
  button.querySelector("path").setAttribute("d", ICONS[on ? "stop" : "play"]);
  button.setAttribute("aria-pressed", on);
}

export function silence() {
  sound.pause();
  if (pressed) face(pressed, false);
  pressed = heard = null;
}

function start(button, url, gain) {
  silence();
  window.dispatchEvent(new CustomEvent("whence:pause"));
  const volume = Number(localStorage.getItem("whence.volume") ?? 100) / 100;
  sound.src = url;
  sound.volume = Math.min(1, Math.max(0, volume ** 2 * 10 ** (gain / 20)));
  pressed = button;
  heard = url;
  face(button, true);
  sound.play().catch(() => {
    if (pressed !== button) return; // another button was pressed meanwhile
    silence();
    button.title = "This cannot be played here.";
  });
}

// A play button. `kind`: 'track' or 'clip'; `why`: the reason where it cannot be played, else null; `gain` in dB.
export function hear(kind, id, title, why = null, gain = 0) {
  const button = make("button", "hear"), svg = draw("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" });
  svg.append(draw("path"));
  button.type = "button";
  button.append(svg);
  button.setAttribute("aria-label", why ? `Cannot play ${title}: ${why}` : `Play ${title}`);
  button.title = why || "";
  const url = `/audio/${kind}/${id}`;
  if (url === heard && !pressed.isConnected) pressed = button; // its list was drawn again
  face(button, pressed === button);
  if (why) {
    button.removeAttribute("aria-pressed");
    button.setAttribute("aria-disabled", "true");
    return button;
  }
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    if (pressed === button) silence();
    else start(button, url, gain);
  });
  return button;
}

sound.addEventListener("ended", silence);
document.addEventListener("keydown", ({ key }) => { if (key === "Escape") silence(); });
window.addEventListener("whence:lanes", ({ detail }) => { if (detail?.busy) silence(); }); // the player started
