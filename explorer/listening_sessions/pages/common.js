// Helpers of all pages of a session: elements by id, new elements, requests, and the line for errors.
export const part = (id) => document.getElementById(id);

// element("p", {className: "soft"}, "text", child): text is never markup.
export function element(name, options = {}, ...children) {
  const made = Object.assign(document.createElement(name), options);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Requests an address. Returns the JSON answer; throws an Error with the server's sentence and HTTP status.
export async function ask(address, body = undefined) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw Object.assign(new Error("the server cannot be reached"), { status: 0 });
  }
  const fields = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(typeof fields.detail === "string" ? fields.detail : `the server answered ${answer.status}`), { status: answer.status });
  return fields;
}

export function say(text) {
  part("said").textContent = text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "";
}

export const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−"));
export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
