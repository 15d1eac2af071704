// Diagnostics of the scores on show: against length, over the noise level t, along training, settings and cost.
// props.value is the dict of explorer/methods/page.py `diagnostics`; text reaches the page only through textContent.
// Event: open {clip_id, track_id}.
import { draw, holds, make } from "./dom.js";
import { scatter, whenWide } from "./scatter.js";

const HEIGHT = 200, LEFT = 50, BOTTOM = 42, TOP = 12;
const shown = (value) => (value === null ? "–" : String(Number(value.toPrecision(3)))).replace("-", "−");

class ScoreDiagnostics {
  constructor({ element, props, trigger }) {
    this.element = element;
    this.props = props;
    this.trigger = trigger;
    for (const part of ["subject", "dots", "length", "whose", "remarks", "parts", "about", "find", "findings", "empty", "settings"])
      this[part] = element.querySelector("." + part);
    this.find.addEventListener("input", () => this.showFindings());
    element.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    whenWide(element.querySelector(".study"), () => this.paint());
  }

  load() {
    const data = this.props.value || null;
    this.data = data;
    this.element.querySelector(".study").hidden = !data;
    if (!data) return;
    this.subject.textContent = `For clip ${data.clip_id}, “${data.clip}”, by ${data.method_label}. A row above or a dot opens another one.`;
    this.length.textContent = data.duration.said;
    this.whose.textContent = data.track_id === null ? "No track is chosen." : `Track ${data.track_id}: ${data.parts.title}`;
    this.remarks.replaceChildren(...data.remarks.map((line) => make("p", "", line)));
    this.about.textContent = data.parts.said;
    this.parts.toggleAttribute("hidden", !data.parts.bars.length);
    this.showFindings();
    this.settings.replaceChildren(...data.settings.map(([heading, text]) => {
      const more = make("details"), words = make("pre", "", text);
      words.tabIndex = 0;
      more.append(make("summary", "", heading), words);
      return more;
    }));
    this.paint();
  }

  showFindings() {
    const { steps, rows } = this.data.findings, [head, body] = [this.findings.querySelector("thead"), this.findings.querySelector("tbody")];
    const heading = make("tr"), listed = rows.filter((row) => holds(`${row.name} ${row.meaning}`, this.find.value));
    heading.append(...["finding", ...steps.map((step) => `step ${step.toLocaleString("en")}`)].map((text, i) => {
      const cell = make("th", i ? "number" : "", text);
      cell.scope = "col";
      return cell;
    }));
    head.replaceChildren(heading);
    body.replaceChildren(...listed.map((row) => {
      const line = make("tr"), what = make("td");
      what.append(make("span", "", row.meaning), make("span", "sub", row.name));
      line.append(what, ...row.values.map((value) => make("td", "number", shown(value))));
      return line;
    }));
    this.findings.closest(".scroll").hidden = !listed.length;
    this.empty.hidden = listed.length > 0;
    this.empty.textContent = rows.length ? "No finding holds these words." : "The run kept no findings about this method.";
  }

  paint() {
    const { data } = this;
    if (!data || !this.element.clientWidth) return;
    const { x } = data.duration.track, log = x.length > 1 && Math.max(...x) / Math.min(...x) > 10;
    const pick = (track_id) => this.trigger("open", { clip_id: data.clip_id, track_id });
    scatter(this.dots, data.duration, { x: { name: "length, s", log }, y: { name: "normalised score" } }, data.track_id, pick);
    if (data.parts.bars.length) this.drawBars();
  }

  // The score of each stratum of t as a bar from the zero line.
  drawBars() {
    const svg = this.parts, { bars, power } = this.data.parts, width = Math.max(260, svg.clientWidth || 260);
    const values = bars.map(([, , value]) => value), low = Math.min(0, ...values), high = Math.max(0, ...values), range = high - low || 1;
    const t0 = bars[0][0], t1 = bars.at(-1)[1];
    const x = (t) => LEFT + ((t - t0) / (t1 - t0)) * (width - LEFT - 14), y = (value) => TOP + ((high - value) / range) * (HEIGHT - TOP - BOTTOM);
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const parts = [];
    for (const value of new Set([low, 0, high])) if (!value || Math.abs(y(value) - y(0)) > 14) parts.push(draw("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, shown(value)));
    for (const [from, to, value] of bars) {
      const bar = draw("rect", { class: value < 0 ? "part below" : "part", x: x(from) + 2, width: Math.max(1, x(to) - x(from) - 4), y: Math.min(y(0), y(value)), height: Math.max(1, Math.abs(y(value) - y(0))) });
      bar.append(draw("title", {}, `t from ${shown(from)} to ${shown(to)}: ${shown(value)}${power}`));
      parts.push(bar, draw("text", { x: x(from), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, shown(from)));
    }
    parts.push(draw("text", { x: x(t1), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, shown(t1)));
    parts.push(draw("line", { class: "axis", x1: LEFT, x2: width - 14, y1: y(0), y2: y(0) }));
    parts.push(draw("text", { x: (LEFT + width) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, `noise level t; part of the score${power}`));
    svg.replaceChildren(...parts);
  }
}

export function mount(part) {
  const diagnostics = new ScoreDiagnostics(part);
  part.watch("value", () => diagnostics.load());
  diagnostics.load();
}
