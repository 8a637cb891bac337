// The list of anomalies: chips that filter by rule, one line per event, arrow keys to walk along it.
export function render({model, el}) {
  const root = document.createElement("div"); root.className = "anomalies"; el.append(root);
  const make = (tag, name, text, parent) => {
    const node = document.createElement(tag); if (name) node.className = name;
    if (text != null) node.textContent = text; parent.append(node); return node; };
  const chips = make("div", "chips", null, root); chips.setAttribute("role", "group");
  chips.setAttribute("aria-label", "Rules shown");
  const note = make("div", "note", "", root); note.setAttribute("role", "status");
  const list = make("div", "list", null, root); list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Anomalies and landmarks"); list.tabIndex = 0;
  const pick = (row) => model.send_msg({kind: "pick", value: row});

  const drawChips = () => {
    chips.replaceChildren();
    for (const chip of model.chips) {
      const button = make("button", "chip" + (chip.on ? " on" : "") + (chip.count ? "" : " none"), null, chips);
      button.type = "button"; button.setAttribute("aria-pressed", chip.on); button.title = chip.source;
      make("span", "dot" + (chip.landmark ? " landmark" : ""), "", button).style.background = chip.color;
      make("span", null, chip.title, button); make("b", null, chip.count.toLocaleString("en-US"), button);
      button.addEventListener("click", () => model.send_msg({kind: "rule", value: chip.rule})); } };

  const drawList = () => {
    const top = list.scrollTop; list.replaceChildren();
    const {lines, note: words} = model.content; note.textContent = words || "";
    for (const line of lines || []) {
      const row = make("div", "line", null, list); row.setAttribute("role", "option"); row.dataset.row = line.row;
      row.id = "anomaly-" + line.row; row.dataset.start = line.start; row.dataset.stop = line.stop;
      make("span", "when", line.start.toLocaleString("en-US"), row);
      make("span", "dot" + (line.landmark ? " landmark" : ""), "", row).style.background = line.color;
      const text = make("span", "text", null, row); make("span", null, line.text, text);
      if (line.members) make("small", null, line.members, text);
      make("span", "score", line.score, row).title = "How unusual, by the rule's own measure";
      row.addEventListener("click", () => pick(line.row)); }
    list.scrollTop = top; drawWindow(); drawPicked(); };

  const drawWindow = () => {
    const [start, stop] = model.window;
    for (const {dataset, classList} of list.children)
      classList.toggle("away", Number(dataset.start) >= stop || Number(dataset.stop) <= start); };

  const drawPicked = () => {
    const covers = model.picked;
    for (const row of list.children) {
      const on = covers != null && Number(row.dataset.row) === covers;
      row.classList.toggle("picked", on); row.setAttribute("aria-selected", on);
      if (on) { list.setAttribute("aria-activedescendant", row.id);
        const {offsetTop: t, offsetHeight: h} = row;
        if (t < list.scrollTop || t + h > list.scrollTop + list.clientHeight)
          list.scrollTop = t - list.clientHeight / 2; } } };

  list.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10}[event.key];
    if (!step || !list.children.length) return;
    event.preventDefault();
    const rows = [...list.children], at = rows.findIndex((row) => row.classList.contains("picked"));
    const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + step));
    pick(Number(rows[next].dataset.row)); });
  drawChips(); drawList();
  model.on("chips", drawChips); model.on("content", drawList); model.on("picked", drawPicked);
  model.on("window", drawWindow);
}
