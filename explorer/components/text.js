// Paragraphs from props.value, a list of strings.
export function mount({ element, props, watch }) {
  const box = element.querySelector(".text");
  const show = () =>
    box.replaceChildren(
      ...(props.value || []).filter(Boolean).map((text) => {
        const paragraph = document.createElement("p");
        paragraph.textContent = text;
        return paragraph;
      }),
    );
  watch("value", show);
  show();
}
