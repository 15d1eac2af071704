// The host's page: the key, the sessions, a new one, and one session with its listeners and results (results.js).
import { mount as mountTheme } from "/static/whence/theme.js";
import { ask, element, part, plural, say } from "./common.js";
import { resultsOf } from "./results.js";

const REFRESH_S = 5;
const STATES = { open: "takes ratings", closed: "closed", revealed: "revealed" };
const linkOf = (session) => `${location.origin}/session/${session.code}`;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
const VIEWS = ["enter", "list", "make", "one"];

let offer = null, watched = null, reliable = false, drawn = "";

function show(view) {
  for (const name of VIEWS) part(name).hidden = name !== view;
  part("out").hidden = view === "enter";
  if (view !== "one") watched = null;
}

// Runs the action of a button; shows the server's sentence where it refuses.
async function attempt(action) {
  say("");
  try {
    return await action();
  } catch (error) {
    if (error.status === 401) show("enter");
    if (error.status !== 401 || offer) say(error.message);
    return null;
  }
}

function sure(title, text, yes) {
  part("sure-title").textContent = title;
  part("sure-text").textContent = text;
  part("yes").textContent = yes;
  part("sure").showModal();
  return new Promise((done) => {
    part("sure").onclose = () => done(part("sure").returnValue === "yes");
    part("sure").returnValue = "";
    part("yes").onclick = () => part("sure").close("yes");
    part("no").onclick = () => part("sure").close("");
  });
}

const button = (text, act, className = "") => {
  const made = element("button", { type: "button", className }, text);
  made.addEventListener("click", act);
  return made;
};

// --- the list

const list = () => attempt(async () => {
  const found = await ask("/host/state");
  offer = found.offer;
  show("list");
  const cards = found.sessions.map((session) => {
    const answers = session.listeners.reduce((sum, one) => sum + one.rated, 0);
    return element("article", { className: "card" },
      element("h2", {}, session.title, " ", badge(session)),
      element("p", { className: "soft" }, `${session.blind ? "Blind" : "Open"} · made ${session.created_at.slice(0, 16).replace("T", " ")} UTC · ${plural(session.listeners.length, "listener")} · ${plural(answers, "pair")} rated`),
      element("div", { className: "buttons" }, button("Open", () => open(session.session_id), "primary"), copyButton(session)));
  });
  part("sessions").replaceChildren(...(cards.length ? cards : [element("p", { className: "soft" }, "No session yet. Make one, send its link to the listeners, and open the reveal when they are done.")]));
});

const badge = (session) => element("span", { className: `badge ${session.state}` }, STATES[session.state]);

function copyButton(session) {
  const made = button("Copy the listeners' link", async () => {
    try {
      await navigator.clipboard.writeText(linkOf(session));
      made.textContent = "Copied";
    } catch { // without https, browsers refuse to copy
      made.textContent = linkOf(session);
    }
  });
  return made;
}

// --- a new session

function boxes(into, items, checked) {
  into.replaceChildren(...items.map(({ value, text }) => element("label", { className: "line" }, element("input", { type: "checkbox", value, checked }), element("span", {}, text))));
}
const chosen = (id) => [...part(id).querySelectorAll("input:checked")].map((box) => box.value);

function fresh() {
  show("make");
  boxes(part("clips"), offer.clips.map(({ clip_id: value, label: text }) => ({ value, text })), false);
  [...part("clips").querySelectorAll("input")].slice(0, 4).forEach((box) => { box.checked = true; });
  boxes(part("methods"), offer.methods.map(({ name: value, label: text }) => ({ value, text })), true);
  boxes(part("asked"), offer.questions.map(({ name: value, text }) => ({ value, text })), true);
  part("seconds").value = offer.seconds;
  part("consent").value = offer.consent;
  size();
  part("make-title").focus();
}

function size() {
  const blind = document.querySelector("[name=blind]:checked").value === "yes", value = (id) => Number(part(id).value) || 0;
  part("anchors").disabled = !blind;
  const anchors = blind ? part("duplicate").checked + part("match").checked : 0;
  const most = chosen("clips").length * (value("k") * chosen("methods").length + value("random") + value("decoys") + anchors);
  part("size").textContent = `${plural(chosen("clips").length, "clip")}, at most ${plural(most, "pair")}: about ${plural(Math.max(1, Math.round(most * 0.6)), "minute")} a listener`;
}

const create = () => attempt(async () => {
  const blind = document.querySelector("[name=blind]:checked").value === "yes";
  part("create").disabled = true;
  try {
    const made = await ask("/host/sessions", {
      title: part("name").value, clips: chosen("clips").map(Number), methods: chosen("methods"), questions: chosen("asked"),
      k: Number(part("k").value), random: Number(part("random").value), decoys: Number(part("decoys").value),
      seconds: Number(part("seconds").value), starts: document.querySelector("[name=starts]:checked").value, blind,
      duplicate: blind && part("duplicate").checked, match: blind && part("match").checked, consent: part("consent").value,
    });
    await open(made.session_id);
  } finally {
    part("create").disabled = false;
  }
});

// --- one session

const open = (id) => attempt(async () => {
  drawn = "";
  await refresh(id);
  show("one");
  watched = id;
});

async function refresh(id) {
  const found = await ask(`/host/sessions/${id}${reliable ? "?reliable=true" : ""}`);
  const now = JSON.stringify(found);
  if (now === drawn) return; // nothing has changed: keep the focus where it is
  const place = document.activeElement?.dataset?.name;
  drawn = now;
  part("one").replaceChildren(headOf(found), listenersOf(found), await resultsOf(found, reliable, (only) => { reliable = only; attempt(() => refresh(id)); }));
  if (place) part("one").querySelector(`[data-name="${place}"]`)?.focus();
}

function headOf(session) {
  const id = session.session_id;
  const state = (to) => attempt(async () => { await ask(`/host/sessions/${id}/state`, { state: to }); await refresh(id); });
  const buttons = [button("All sessions", list), copyButton(session)];
  if (session.state === "open") buttons.push(button("Close the ratings", () => state("closed")));
  if (session.state === "closed") buttons.push(button("Open the ratings again", () => state("open")));
  if (session.state !== "revealed") buttons.push(button("Open the reveal", async () => {
    if (await sure("Open the reveal?", "Every listener then sees what each track was, beside the scores. Ratings are closed for good.", "Open the reveal")) state("revealed");
  }, "primary"));
  const remove = button("Delete the session", async () => {
    if (await sure("Delete the session?", "All its listeners, answers and notes are removed from the file. This cannot be undone.", "Delete")) await attempt(async () => { await ask(`/host/sessions/${id}/delete`, {}); await list(); });
  }, "danger small");
  [...buttons, remove].forEach((one) => { one.dataset.name = one.textContent; });
  const link = element("a", { href: linkOf(session) }, linkOf(session));
  const settings = session.settings;
  return element("section", { className: "card" },
    element("h2", {}, session.title, " ", badge(session)),
    element("p", {}, session.state === "open" ? "Listeners join at " : "The listeners' link: ", link, ". Here you are the host: to try it as a listener, use another browser or a private window."),
    session.playable ? null : element("p", { className: "said" }, "This session was made over another store than the one that is served now: nothing of it can be heard."),
    element("p", { className: "soft" }, `${session.blind ? "Blind" : "Open"} · ${plural(settings.clips.length, "clip")} · ${settings.k} strongest of ${settings.methods.join(", ")} · ${settings.random} random · ${plural(settings.decoys, "decoy")} · ${settings.seconds} s · seed ${settings.seed}`),
    settings.begins ? element("p", { className: "soft" }, settings.begins) : null,
    LOOPBACK.test(location.hostname) ? element("p", { className: "soft" }, `The link works on this machine alone. For others, start the explorer with --host 0.0.0.0 and a password, and put this machine's name or address in the network in place of ${location.hostname}.`) : null,
    ...session.left_out.map((text) => element("p", { className: "soft" }, text)),
    element("div", { className: "buttons" }, ...buttons, element("span", { className: "gap" }), remove));
}

function listenersOf(session) {
  const rows = session.listeners.map((one) => {
    const anchors = session.results.by_listener[one.listener_id] || {};
    const passed = (kind) => (anchors[kind] ? `${anchors[kind][0]} of ${anchors[kind][1]}` : "–");
    const remove = button("Delete", async () => {
      if (await sure("Delete this listener?", `The nickname ${one.nickname}, its answers and notes are removed from the file.`, "Delete")) {
        await attempt(async () => { await ask(`/host/sessions/${session.session_id}/listeners/${one.listener_id}/delete`, {}); await refresh(session.session_id); });
      }
    }, "danger small");
    remove.setAttribute("aria-label", `Delete ${one.nickname}`);
    return element("tr", {}, ...[one.nickname, `${one.rated} of ${one.pairs}`, passed("match"), passed("duplicate")].map((text) => element("td", {}, text)), element("td", {}, remove));
  });
  const head = element("tr", {}, ...["Listener", "Pairs rated", "The clip itself, found", "Duplicates agree", ""].map((text) => element("th", { scope: "col" }, text)));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("section", { className: "card" }, element("h2", {}, "Listeners"),
    rows.length ? element("div", { className: "scroll" }, table) : element("p", { className: "soft" }, "Nobody has joined yet."));
}

// --- start

const enter = (key) => attempt(async () => {
  await ask("/host/enter", { key });
  part("key").value = "";
  await list();
});

mountTheme({ element: part("theme") });
part("enter").addEventListener("submit", (event) => { event.preventDefault(); enter(part("key").value); });
part("out").addEventListener("click", () => attempt(async () => { await ask("/host/leave", {}); offer = null; show("enter"); }));
part("new").addEventListener("click", fresh);
part("cancel").addEventListener("click", list);
part("make").addEventListener("submit", (event) => { event.preventDefault(); create(); });
part("make").addEventListener("input", size);
for (const [id, checked] of [["all", true], ["none", false]]) {
  part(id).addEventListener("click", () => { part("clips").querySelectorAll("input").forEach((box) => { box.checked = checked; }); size(); });
}
setInterval(() => { if (watched !== null && !part("sure").open) refresh(watched).catch((error) => say(error.message)); }, REFRESH_S * 1000);

// The key may stand behind # in the address, which browsers do not send; it is removed from the address at once.
const key = decodeURIComponent(location.hash.slice(1));
if (key) {
  history.replaceState(null, "", location.pathname);
  enter(key);
} else list();
