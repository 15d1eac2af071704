// Results of a session: anchors, agreement, ratings against scores and controls, pictures, files to download.
import { element, number, plural } from "./common.js";

const PICTURES = { correlations: "Do ratings follow the scores?", means: "Are the strongest rated higher than controls?", scatter: "Rating over score" };
const interval = (low, high) => (low === null ? "" : ` (${number(low)} to ${number(high)})`);
const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)} %`);

function table(caption, head, rows) {
  const made = element("table", {}, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((text) => element("td", {}, String(text)))))));
  const scroll = element("div", { className: "scroll", tabIndex: 0, ariaLabel: caption }, made);
  scroll.setAttribute("role", "region");
  return scroll;
}

async function picture(session, name, reliable) {
  const address = `/host/sessions/${session.session_id}/pictures/${name}.svg${reliable ? "?reliable=true" : ""}`;
  const answer = await fetch(address);
  if (!answer.ok) return element("p", { className: "soft" }, "This picture could not be drawn.");
  const drawn = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
  drawn.removeAttribute("color"); // so that it takes the colour of the page
  const save = element("a", { href: address, download: `session-${session.session_id}-${name}.svg` }, "SVG");
  return element("figure", {}, element("figcaption", {}, PICTURES[name], " ", save), document.importNode(drawn, true));
}

export async function resultsOf(session, reliable, choose) {
  const found = session.results, id = session.session_id;
  const card = element("section", { className: "card" }, element("h2", {}, "Results"));
  if (!found.ratings && !found.listeners) {
    card.append(element("p", { className: "soft" }, "They appear with the first rating."));
    return card;
  }
  const box = element("input", { type: "checkbox", checked: reliable });
  box.dataset.name = "reliable";
  box.addEventListener("change", () => choose(box.checked));
  card.append(
    element("p", {}, `${plural(found.ratings, "answer")} of ${plural(found.counted, "listener")} about ${plural(found.pairs, "pair")} of ${plural(found.clips, "clip")}. Intervals hold 95 % and answer for other listeners, clips and tracks; with few of them they are themselves uncertain.`),
    element("label", { className: "line" }, box, element("span", {}, `Only listeners who passed at least half of their anchors (${found.reliable} of ${found.listeners})`)));
  const pictures = element("div", { className: "pictures" }, ...(await Promise.all(Object.keys(PICTURES).map((name) => picture(session, name, reliable)))));
  card.append(pictures);
  const rows = found.methods.flatMap((method) => method.correlation.map((item) => [method.label, item.question, `${number(item.rho)}${interval(item.low, item.high)}`, item.clips, item.pairs]));
  card.append(element("h3", {}, "Ratings against each method's scores"), table("Spearman's rho between mean rating and normalised influence score within a clip, mean over clips; 0 = no relation", ["Method", "Question", "rho (95 %)", "Clips", "Pairs"], rows));
  const against = found.methods.flatMap((method) => method.against.map((item) => [method.label, item.role === "decoy" ? "decoys" : "random tracks", `${number(item.points)}${interval(item.low, item.high)}`, item.pairs, item.controls]));
  card.append(element("h3", {}, "The strongest against controls"), table(`How much higher the strongest tracks are rated (${found.main}), in points of the scale; 0 = no higher`, ["Method", "Against", "Points (95 %)", "Strongest", "Controls"], against));
  const agreement = found.agreement.map((item) => [item.question, number(item.alpha), item.listeners, item.pairs]);
  card.append(element("h3", {}, "Do listeners agree?"), table("Krippendorff's alpha, ordinal, anchors left out; 1 = always, 0 = as by chance", ["Question", "alpha", "Listeners", "Pairs rated twice or more"], agreement));
  const kinds = { match: "the clip itself, rated 4 or 5", duplicate: "a track heard twice, ratings at most one step apart" };
  const anchors = found.anchors.map((item) => [kinds[item.kind], item.of ? `${item.passed} of ${item.of}` : "–", percent(item.rate), percent(item.chance)]);
  card.append(element("h3", {}, "Anchors"), table("How often listeners passed, and how often answers by a die would", ["Anchor", "Passed", "Rate", "By chance"], anchors));
  const take = (kind, text) => element("a", { href: `/host/sessions/${id}/export.${kind}`, download: `session-${id}.${kind}` }, text);
  card.append(element("p", { className: "buttons" }, "All ratings with scores: ", take("csv", "CSV"), " ", take("parquet", "Parquet")));
  return card;
}
