export function render({model, el}) {
  const root = document.createElement("div"); root.className = "behind"; el.append(root);
  const make = (tag, name, text, parent) => {
    const node = document.createElement(tag); if (name) node.className = name;
    if (text != null) node.textContent = text; (parent || root).append(node); return node; };
  const button = (kind, value, name, parent, label) => {
    const node = make("button", name, null, parent); node.type = "button";
    if (label) { node.title = label; node.setAttribute("aria-label", label); }
    node.addEventListener("click", () => model.send_msg({kind, value})); return node; };
  const draw = () => {
    const c = model.content, focused = root.getRootNode().activeElement?.dataset?.key;
    root.replaceChildren();
    const head = make("div", "head"); make("h4", null, c.title || "", head);
    if (c.back) {
      const b = button("back", null, "back", head, "Back to the strongest pairs"); b.textContent = "\u00d7"; }
    for (const line of c.lines || []) make("p", line.strong ? "strong" : null, line.text ?? line);
    if (c.pairs?.length) {
      const list = make("div", "pairs");
      for (const pair of c.pairs) {
        const row = button("pair", pair.value, "pair", list); row.dataset.key = "pair" + pair.value.join();
        make("span", "mark" + (pair.strong ? " on" : ""), "", row);
        const names = make("span", "names", null, row);
        make("b", null, pair.layer, names); make("span", null, " with ", names); make("b", null, pair.class, names);
        make("span", "text", pair.text, row); } }
    if (c.filters?.length) {
      make("h5", null, c.filters_title); const list = make("div", "filters");
      for (const f of c.filters) {
        const chip = button("filter", f.value, "chip" + (f.picked ? " picked" : ""), list, f.label + ", " + f.count);
        chip.dataset.key = "filter" + f.value;
        make("span", null, f.short, chip); make("i", null, "\u00d7" + f.times, chip); } }
    if (c.images?.length) {
      make("h5", null, c.images_title); const list = make("div", "images");
      for (const image of c.images) {
        const name = "image" + (image.picked ? " picked" : "");
        const b = button("image", image.value, name, list, image.label + ", " + image.count);
        b.dataset.key = "image" + image.value;
        if (image.src) { const p = make("img", null, null, b); p.src = image.src; p.alt = image.label; }
        else make("span", "none", image.label, b);
        make("i", null, "\u00d7" + image.times, b); } }
    if (c.more) make("p", null, c.more);
    if (focused) root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  };
  draw(); model.on("content", draw);
}
