// Small helpers of the parts for researchers. Text reaches the page only through textContent.
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

// [value, text] pairs into a select, made anew only where they changed: an open list must not close.
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

// Accents and case apart, as the server compares.
export const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

export function holds(text, asked) {
  const folded = plain(text);
  return plain(asked).split(" ").filter(Boolean).every((word) => folded.includes(word));
}
