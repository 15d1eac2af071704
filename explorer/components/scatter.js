// Draws a scatter of tracks into an svg. data: {track: {id, x, y, title, above?}, decoy: the same}.
// axes: {x: {name, log, reverse}, y: the same}. A click on a dot calls `pick` with the track's id.
import { draw } from "./dom.js";

const HEIGHT = 340, LEFT = 56, RIGHT = 14, TOP = 12, BOTTOM = 46;

function scale(values, { log, reverse }, from, to) {
  const usable = values.filter((value) => !log || value > 0), turn = log ? Math.log10 : (value) => value;
  let low = Math.min(...usable), high = Math.max(...usable);
  if (!usable.length) [low, high] = [log ? 1 : 0, log ? 10 : 1];
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 1, high + 1];
  const [a, b] = reverse ? [to, from] : [from, to];
  const place = (value) => a + ((turn(value) - turn(low)) / (turn(high) - turn(low))) * (b - a);
  return { place, ticks: log ? logTicks(low, high) : evenTicks(low, high) };
}

function logTicks(low, high) {
  const made = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1)
    for (const step of high / low > 60 ? [1] : [1, 2, 5]) if (step * 10 ** power >= low && step * 10 ** power <= high) made.push(step * 10 ** power);
  return made;
}

function evenTicks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const made = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step / 1e6; at += step) made.push(Number(at.toFixed(10)));
  return made;
}

const shown = (value) => (Math.abs(value) >= 1000 ? value.toLocaleString("en") : String(Number(value.toPrecision(4)))).replace("-", "−");

export function scatter(svg, data, axes, chosen, pick) {
  const width = Math.max(260, Math.round(svg.clientWidth || svg.parentElement.clientWidth));
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const all = (axis) => [...data.track[axis], ...data.decoy[axis]];
  const x = scale(all("x"), axes.x, LEFT, width - RIGHT), y = scale(all("y"), axes.y, HEIGHT - BOTTOM, TOP);
  const parts = [];
  for (const tick of x.ticks) {
    parts.push(draw("line", { class: "grid", x1: x.place(tick), x2: x.place(tick), y1: TOP, y2: HEIGHT - BOTTOM }));
    parts.push(draw("text", { x: x.place(tick), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, shown(tick)));
  }
  for (const tick of y.ticks) {
    parts.push(draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y.place(tick), y2: y.place(tick) }));
    parts.push(draw("text", { x: LEFT - 7, y: y.place(tick) + 4, "text-anchor": "end" }, shown(tick)));
  }
  parts.push(draw("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, axes.x.name));
  parts.push(draw("text", { x: 12, y: (HEIGHT - BOTTOM) / 2 + TOP, transform: `rotate(-90 12 ${(HEIGHT - BOTTOM) / 2 + TOP})`, "text-anchor": "middle" }, axes.y.name));
  for (const kind of ["decoy", "track"])
    data[kind].id.forEach((id, i) => {
      const [across, up] = [data[kind].x[i], data[kind].y[i]];
      if ((axes.x.log && across <= 0) || (axes.y.log && up <= 0)) return;
      const name = data[kind].title[i] || (kind === "decoy" ? `decoy ${id}` : `track ${id}`);
      const classes = ["dot", kind === "decoy" ? "decoy" : "", data[kind].above?.[i] ? "above" : "", id === chosen ? "chosen" : ""];
      const dot = draw("circle", { class: classes.filter(Boolean).join(" "), cx: x.place(across).toFixed(1), cy: y.place(up).toFixed(1), r: id === chosen ? 6 : 4, "data-track": id });
      dot.append(draw("title", {}, `${name}: ${axes.x.name} ${shown(across)}, ${axes.y.name} ${shown(up)}`));
      dot.addEventListener("click", () => pick(id));
      parts.push(dot);
    });
  svg.replaceChildren(...parts);
}

// Calls `paint` whenever the element becomes visible or changes its width.
export function whenWide(element, paint) {
  let width = 0;
  new ResizeObserver(() => {
    if (element.clientWidth === width || !element.clientWidth) return;
    width = element.clientWidth;
    paint();
  }).observe(element);
}
