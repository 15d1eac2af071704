// Light, dark, or as the system has it; kept in this browser. Gradio marks dark by a class of the body.
const KEY = "whence.theme";

export function mount({ element }) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const boxes = [...element.querySelectorAll("input")];
  const forced = new URLSearchParams(location.search).get("__theme");
  let chosen = ["light", "dark"].includes(forced) ? forced : localStorage.getItem(KEY) || "system";

  const apply = () => {
    const dark = chosen === "dark" || (chosen === "system" && system.matches);
    document.body.classList.toggle("dark", dark);
    document.documentElement.style.colorScheme = dark ? "dark" : "light";
    document.body.style.background = "var(--body-background-fill)"; // Gradio paints it once, in light
    boxes.forEach((box) => { box.checked = box.value === chosen; });
  };
  boxes.forEach((box) => box.addEventListener("change", () => {
    chosen = box.value;
    localStorage.setItem(KEY, chosen);
    apply();
  }));
  system.addEventListener("change", apply);
  apply();
}
