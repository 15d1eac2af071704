// Links to files of this server. props.value is a list of {href, label}; text reaches the page only through textContent.
export function links(list) {
  return list.map(({ href, label }, i) => {
    const link = document.createElement("a");
    link.className = i ? "" : "primary";
    link.href = href;
    link.download = "";
    link.textContent = label;
    return link;
  });
}

export function mount({ element, props, watch }) {
  const box = element.querySelector(".downloads"), show = () => box.replaceChildren(...links(props.value || []));
  watch("value", show);
  show();
}
