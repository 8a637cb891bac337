// The episodes of a run: a card each, with its sentences, its place in the run and the course of its findings.
export function render({model, el}) {
  const SVG = "http://www.w3.org/2000/svg", LANE = 11, WIDE = 180;
  const root = document.createElement("div"); root.className = "episodes"; el.append(root);
  const make = (tag, name, text, parent) => {
    const node = document.createElement(tag); if (name) node.className = name;
    if (text != null) node.textContent = text; parent.append(node); return node; };
  const shape = (tag, values, parent) => {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(values)) node.setAttribute(key, value); parent.append(node); return node; };
  const note = make("div", "note", "", root); note.setAttribute("role", "status");
  const list = make("div", "list", null, root); list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Episodes"); list.tabIndex = 0;
  const text = (number) => number.toLocaleString("en-US");
  const pick = (key) => model.send_msg({kind: "pick", value: key});

  const place = (card, whole, parent) => {
    const length = Math.max(whole[1] - whole[0], 1), share = (at) => (at - whole[0]) / length * WIDE;
    const svg = shape("svg", {class: "place", width: WIDE, height: 7, role: "img"}, parent);
    shape("title", {}, svg).textContent = `Iterations ${text(card.start)} to ${text(card.stop - 1)} of the run`;
    shape("rect", {class: "run", x: 0, y: 2.5, width: WIDE, height: 2, rx: 1}, svg);
    const width = Math.max(share(card.stop) - share(card.start), 3);
    shape("rect", {class: "span", x: Math.min(share(card.start), WIDE - width), y: 0, width, height: 7, rx: 1}, svg); };

  const course = ({first, last, lanes}, parent) => {
    if (last === first) return;
    const box = make("div", "course", null, parent), height = lanes.length * LANE;
    const svg = shape("svg", {width: WIDE, height, role: "img"}, box);
    shape("title", {}, svg).textContent = "Where its findings begin: those that made the episode, and, faint, what went along";
    lanes.forEach(({name, marks}, row) => {
      const y = row * LANE;
      shape("line", {class: "lane", x1: 58, x2: WIDE, y1: y + LANE / 2, y2: y + LANE / 2}, svg);
      shape("text", {x: 54, y: y + 9, "text-anchor": "end"}, svg).textContent = name;
      for (const [at, made] of marks)
        shape("rect", {class: made ? "made" : "beside", x: 59 + at * (WIDE - 62), y: y + 1.5, width: 2, height: LANE - 3}, svg); });
    const ends = make("div", "ends", null, box); make("span", null, text(first), ends); make("span", null, text(last), ends); };

  const draw = () => {
    const top = list.scrollTop; list.replaceChildren();
    const {cards = [], whole = [0, 1], note: words = "", title = "", words: more = "", offer = ""} = model.content;
    note.textContent = words;
    for (const card of cards) {
      const row = make("article", "card " + card.place + (card.repeat ? " repeat" : ""), null, list);
      row.setAttribute("role", "option"); row.dataset.key = card.key; row.id = "episode-" + card.rank;
      row.dataset.start = card.start; row.dataset.stop = card.stop;
      make("div", "rank", card.rank, row).title = "Rank by importance";
      const body = make("div", "body", null, row), head = make("div", "head", null, body);
      make("span", "where", card.where, head);
      make("span", "when", card.stop - card.start > 1 ? `iterations ${text(card.start)} – ${text(card.stop - 1)}` : `iteration ${text(card.start)}`, head);
      if (card.new) make("span", "tag new", "new", head);
      if (card.repeat) make("span", "tag", "found before", head);
      make("p", "first", card.first, body);
      for (const one of card.followed) make("p", "followed", one, body);
      for (const one of card.beside) make("p", "beside", one, body);
      const side = make("div", "side", null, row);
      const score = make("div", "score", null, side); score.title = "How important: the highest score of its findings, more for what is certain";
      make("span", "track", null, score).append(Object.assign(document.createElement("i"), {style: `width:${card.share * 100}%`}));
      make("b", null, card.score, score);
      place(card, whole, side); course(card.course, side);
      row.addEventListener("click", () => pick(card.key)); }
    if (!cards.length && title) {
      const empty = make("div", "empty", null, list); empty.setAttribute("role", "status");
      make("h3", null, title, empty); if (more) make("p", null, more, empty);
      if (offer) make("button", null, offer, empty).addEventListener("click", () => model.send_msg({kind: "findings"})); }
    list.scrollTop = top; drawWindow(); drawPicked(); };

  const drawWindow = () => {
    const [start, stop] = model.window;
    for (const {dataset, classList} of list.querySelectorAll(".card"))
      classList.toggle("away", Number(dataset.start) >= stop || Number(dataset.stop) <= start); };
  const drawPicked = () => {
    list.removeAttribute("aria-activedescendant");
    for (const row of list.querySelectorAll(".card")) {
      const on = row.dataset.key === model.picked;
      row.classList.toggle("picked", on); row.setAttribute("aria-selected", on);
      if (on) { list.setAttribute("aria-activedescendant", row.id);
        const {offsetTop: t, offsetHeight: h} = row;
        if (t < list.scrollTop || t + h > list.scrollTop + list.clientHeight) list.scrollTop = t - 40; } } };

  list.addEventListener("keydown", (event) => {
    const rows = [...list.querySelectorAll(".card")], at = rows.findIndex((row) => row.classList.contains("picked"));
    const step = {ArrowDown: 1, ArrowUp: -1, PageDown: 5, PageUp: -5}[event.key];
    if (!step || !rows.length || event.target !== list) return;
    event.preventDefault();
    const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + step));
    if (next !== at) pick(rows[next].dataset.key); });
  draw();
  model.on("content", draw); model.on("picked", drawPicked); model.on("window", drawWindow);
}
