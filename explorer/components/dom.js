// Helpers that several parts share: making elements, filling lists, matching a filter. Text is set as textContent alone.
const SVG = "http://www.w3.org/2000/svg";

export function make(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function draw(name, attributes = {}, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function button(className, text, act) {
  const made = make("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

// Fills a select with [value, text] pairs. Replaces them only where they changed, so that an open list stays open.
export function options(select, pairs, chosen) {
  const names = JSON.stringify(pairs);
  if (select.dataset.names !== names) {
    select.dataset.names = names;
    select.replaceChildren(...pairs.map(([value, text]) => {
      const option = make("option", "", text);
      option.value = String(value);
      return option;
    }));
  }
  if (document.activeElement !== select || !select.matches(":open")) select.value = String(chosen);
}

export const grouped = (count) => count.toLocaleString("en");

// Without accents and case, as the server compares texts.
export const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

export function holds(text, asked) {
  const folded = plain(text);
  return plain(asked).split(" ").filter(Boolean).every((word) => folded.includes(word));
}
