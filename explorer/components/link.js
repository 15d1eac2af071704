// The address bar is the state of the page: props.value is the query of the view that the server rendered and checked.
// A new view is a new step of the browser's history. A refinement replaces the step: the table's filter and order, and
// what the player alone sets (track, start, loop). Event: visit {query}, after back or forward.
const OF_PLAYER = ["track", "start", "loop", "passage"], OF_TABLE = ["find", "in", "sort", "from", "above", "decoys", "down", "works", "holds", "case", "name", "page", "rows"];

const PATIENCE_MS = 15_000; // after which a visit counts as unanswered

function withoutTable(query) {
  const parts = new URLSearchParams(query);
  OF_TABLE.forEach((name) => parts.delete(name));
  return parts.toString();
}

export function mount({ element, props, watch, trigger }) {
  const button = element.querySelector(".copy");
  let known = null; // the query in the address bar
  let travelled = true; // true on opening and after back or forward: the next answer belongs to the present address
  let onward = false; // the listener moved on in the history before the answer was there
  let patience = null;

  const write = (query, step) => {
    const address = new URL(location.href), theme = address.searchParams.get("__theme");
    const asked = new URLSearchParams(query);
    if (theme) asked.set("__theme", theme); // keep Gradio's own parameter
    address.search = asked.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
    if (address.href === location.href) return;
    if (step) history.pushState(null, "", address);
    else history.replaceState(history.state, "", address);
  };

  const follow = () => {
    if (!props.value || props.value === known) return;
    if (onward) { // an answer for an address that was left must not replace the present one
      known = props.value;
      onward = false;
      travelled = elsewhere();
      return;
    }
    write(props.value, !travelled && withoutTable(props.value) !== withoutTable(known));
    known = props.value;
    travelled = false;
  };

  window.addEventListener("whence:link", ({ detail }) => {
    if (!props.value || travelled) return; // the page still shows the view that was left
    const query = new URLSearchParams(props.value);
    for (const name of OF_PLAYER) {
      if (detail[name] === null || detail[name] === undefined) query.delete(name);
      else query.set(name, detail[name]);
    }
    known = query.toString();
    props.value = known; // later events start from this view
    write(known, false);
  });

  const elsewhere = () => {
    const here = new URLSearchParams(location.search);
    here.delete("__theme");
    return here.toString() !== new URLSearchParams(known).toString();
  };
  window.addEventListener("popstate", () => {
    if (!travelled && !elsewhere()) return;
    onward = travelled;
    travelled = true;
    clearTimeout(patience);
    patience = setTimeout(() => { travelled = onward = false; }, PATIENCE_MS);
    window.dispatchEvent(new CustomEvent("whence:travel")); // the player drops its loop, which belongs to the view that was left
    trigger("visit", { query: location.search.slice(1) });
  });

  const say = (text) => {
    button.textContent = text;
    setTimeout(() => { button.textContent = "Copy link"; }, 2000);
  };
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      say("Link copied");
    } catch {
      // No clipboard outside a secure context: hand the text over instead.
      window.prompt("Link to this view", location.href);
    }
  });
  watch("value", follow);
  follow();
}
