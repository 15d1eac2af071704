// Files of this server to take along: props.value is a list of {href, label}; text reaches the page through textContent.
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
