// What the pages of a session share: parts by id, elements with text, requests, saying what went wrong.
export const part = (id) => document.getElementById(id);

// element("p", {className: "soft"}, "text", child): text is never markup.
export function element(name, options = {}, ...children) {
  const made = Object.assign(document.createElement(name), options);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// The answer's JSON; an Error with the server's sentence and its status otherwise.
export async function ask(address, body = undefined) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw Object.assign(new Error("the server cannot be reached"), { status: 0 });
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(typeof found.detail === "string" ? found.detail : `the server answered ${answer.status}`), { status: answer.status });
  return found;
}

export function say(text) {
  part("said").textContent = text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "";
}

export const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
