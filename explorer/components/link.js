// The address bar follows the view that the server rendered (props.value, a query string already checked there).
export function mount({ element, props, watch }) {
  const button = element.querySelector(".copy");
  const follow = () => {
    if (!props.value) return;
    const address = new URL(location.href);
    const theme = address.searchParams.get("__theme"); // Gradio's own switch survives
    address.search = props.value;
    if (theme) address.searchParams.set("__theme", theme);
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  };
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
