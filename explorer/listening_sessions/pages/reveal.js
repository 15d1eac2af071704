// The reveal of one clip: role, ratings and scores of each of its tracks. On a narrow screen a row is a card.
import { element, number } from "./common.js";

export const standing = (score) => `${score.place === null ? "decoy" : `place ${score.place}`} · ${number(score.score_norm)} · ${score.above_noise ? "above noise" : score.tested ? "not distinguishable from noise" : "not tested"}`;

export function revealed({ prompt, question, pairs }, place, listen) {
  const labels = pairs.find((pair) => pair.scores.length)?.scores.map((score) => score.label) || [];
  const heading = (text) => element("th", { scope: "col" }, text);
  const head = element("tr", {}, ...["Track", "It was", `You (${question})`, "Mean (listeners)", ...labels.map((label) => `${label}: influence score`)].map(heading));
  const rows = pairs.map((pair) => {
    const hear = element("button", { type: "button", className: "small", ariaLabel: `Hear ${pair.title}` }, "Hear");
    hear.addEventListener("click", () => listen(pair.lane));
    const everybody = pair.everybody ? `${number(pair.everybody.mean, 1)} (${pair.everybody.count})` : "–";
    const from = pair.start_s >= 0.05 ? `from ${number(pair.start_s, 1)} s` : "";
    const title = element("span", {}, pair.title + (pair.composer ? `, ${pair.composer}` : ""), element("span", { className: "soft" }, from));
    const track = element("td", {}, element("div", { className: "track" }, hear, title));
    const names = ["It was", "You", "Mean", ...labels];
    const cells = [pair.what, pair.mine ?? "–", everybody];
    const scores = labels.map((label) => pair.scores.find((score) => score.label === label)).map((score) => (score ? standing(score) : "–"));
    return element("tr", {}, track, ...[...cells, ...scores].map((text, i) => {
      const cell = element("td", {}, String(text));
      cell.dataset.name = names[i];
      return cell;
    }));
  });
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Clip ${place + 1}`);
  return element("section", { className: "card" }, element("h2", {}, `Clip ${place + 1}${prompt ? `: ${prompt}` : ""}`), scroll);
}
