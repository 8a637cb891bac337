// The list of runs: lines made on the server, and a box beside each that picks it for a comparison.
export function render({model, el}) {
  const root = document.createElement("div"); el.append(root);
  const draw = () => {
    root.innerHTML = model.lines;
    for (const box of root.querySelectorAll("input.pick")) box.checked = model.picked.includes(box.value); };
  root.addEventListener("change", (event) => {
    if (!event.target.matches?.("input.pick")) return;
    const {value, checked} = event.target;
    model.picked = checked ? [...model.picked, value] : model.picked.filter((key) => key !== value); });
  draw();
  model.on("lines", draw); model.on("picked", draw);
}
