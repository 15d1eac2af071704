// Every method: what it is, what it costs and how it did; and those that could not run.
// props.value is the dict of explorer/methods/page.py `methods`.
import { holds, make } from "./dom.js";

export function mount({ element, props, watch }) {
  const [text, list, skipped, count] = [".find", ".list", ".skipped", ".count"].map((name) => element.querySelector(name));
  const card = (one) => {
    const item = make("li", one.shown ? "shown" : ""), record = make("ul", "record");
    record.append(...one.record.map((line) => make("li", "", line)));
    item.append(make("h3", "", one.label), make("p", "", one.about), make("p", "soft", one.cost), ...(one.reliability ? [make("p", "soft", one.reliability)] : []), record);
    if (one.settings) {
      const more = make("details"), words = make("pre", "", one.settings);
      words.tabIndex = 0;
      more.append(make("summary", "", "Settings"), words);
      item.append(more);
    }
    return item;
  };
  const show = () => {
    const data = props.value || null;
    element.querySelector(".study").hidden = !data;
    if (!data) return;
    const found = data.methods.filter((one) => holds([one.label, one.name, one.about, ...one.record].join(" "), text.value));
    list.replaceChildren(...found.map(card));
    count.textContent = data.methods.length === 1 ? `${found.length} of 1 method` : `${found.length} of ${data.methods.length} methods`;
    skipped.replaceChildren(...(data.skipped.length ? data.skipped : ["None is recorded."]).map((line) => make("li", "", line)));
  };
  text.addEventListener("input", show);
  element.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  watch("value", show);
  show();
}
