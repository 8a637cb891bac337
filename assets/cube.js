export function render({model, el}) {
  const make = (name, parent, tag = "div") => {
    const node = document.createElement(tag); node.className = name; parent.append(node); return node; };
  const stage = make("stage", el); stage.tabIndex = 0;
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", "Correlation cube. Arrow keys turn it, Home turns it back.");
  const body = make("body", stage), note = make("note", stage), help = make("help", stage);
  note.setAttribute("role", "status");
  help.textContent = "Drag or use the arrow keys to turn, click a cell to pick it";
  const HOME = [-24, -36]; let [tilt, turn] = HOME, drag = null, moved = false;
  // Iterations run along x, layers down the front, classes away from the viewer.
  const faces = {};
  for (const [key, across, down] of [["layer", "bins", "layers"], ["class", "bins", "classes"], ["pair", "classes", "layers"]]) {
    const face = make("face " + key, body); const img = make("tile", face, "img"); img.alt = key; img.draggable = false;
    const cross = make("cross", face), chosen = make("chosen", face);
    faces[key] = {face, img, cross, chosen, across, down};
    const cell = (event) => {
      const {across, down} = faces[key], n = model.names;
      const column = Math.min(n[across].length - 1, Math.floor(event.offsetX / face.clientWidth * n[across].length));
      const place = Math.min(n[down].length - 1, Math.floor(event.offsetY / face.clientHeight * n[down].length));
      return {column, row: down === "classes" ? n[down].length - 1 - place : place}; };
    face.addEventListener("pointermove", (event) => { if (!drag) point(key, cell(event)); });
    face.addEventListener("pointerleave", () => point(null));
    face.addEventListener("click", (event) => { if (moved) return; const {row, column} = cell(event);
      model.send_msg({face: key, layer: key === "class" ? null : row, class: key === "class" ? row : key === "pair" ? column : null,
        bin: key === "pair" ? null : column}); }); }
  const labels = {iteration: make("label iteration", body), layer: make("label layer", body), class: make("label class", body)};
  const short = (name) => name.length > 14 ? name.slice(0, 6) + "\u2026" + name.slice(-7) : name;
  const name = () => { const {classes = [], layers = [], span = [0, 0]} = model.names;
    labels.iteration.textContent = "iteration " + span.map((one) => one.toLocaleString("en-US")).join(" \u2192 ");
    labels.layer.textContent = layers.length ? `${short(layers.at(-1))} \u2190 layer \u2190 ${short(layers[0])}` : "\u2190 layer";
    labels.class.textContent = classes.length ? `${short(classes[0])} \u2192 ${short(classes.at(-1).slice(6))}` : "class \u2192"; };
  const band = (node, low, high, upright) => { node.style.display = low == null ? "none" : "block";
    if (low == null) return; const p = (v) => v * 100 + "%";
    Object.assign(node.style, upright ? {left: p(low), width: p(high - low), top: 0, height: "100%"}
      : {top: p(low), height: p(high - low), left: 0, width: "100%"}); };
  const point = (key, at) => {
    const n = model.names;
    for (const one of Object.values(faces)) one.cross.style.display = "none";
    if (!key) { note.textContent = ""; return; }
    const {across, down} = faces[key], f = model.faces[key];
    note.textContent = `${n[down][at.row]}, ${n[across][at.column]}: ${f.values[at.row][at.column]} ${f.unit}`;
    const spot = {[across]: at.column, [down]: at.row};
    for (const [other, one] of Object.entries(faces)) if (other !== key) {
      if (spot[one.across] != null) { const k = n[one.across].length; band(one.cross, spot[one.across] / k, (spot[one.across] + 1) / k, true); }
      else if (spot[one.down] != null) { const k = n[one.down].length;
        const r = one.down === "classes" ? k - 1 - spot[one.down] : spot[one.down]; band(one.cross, r / k, (r + 1) / k, false); } } };
  const mark = () => { const n = model.names, {class: c, layer: l} = model.picked;
    const k = n.classes.length, m = n.layers.length;
    band(faces.class.chosen, c == null ? null : (k - 1 - c) / k, c == null ? null : (k - c) / k, false);
    band(faces.layer.chosen, l == null ? null : l / m, l == null ? null : (l + 1) / m, false);
    if (c != null) band(faces.pair.chosen, c / k, (c + 1) / k, true);
    else band(faces.pair.chosen, l == null ? null : l / m, l == null ? null : (l + 1) / m, false); };
  const paint = () => { name(); for (const key in faces) if (model.faces[key]) faces[key].img.src = model.faces[key].src; mark(); };
  const place = () => {
    const w = stage.clientWidth, h = stage.clientHeight; if (!w || !h) return;
    const unit = Math.min(w / 1.75, h / 1.5), x = unit, y = unit * 0.72, z = unit * 0.6;
    const put = (node, width, height, transform) => Object.assign(node.style,
      {width: width + "px", height: height + "px", marginLeft: -width / 2 + "px", marginTop: -height / 2 + "px", transform});
    put(faces.layer.face, x, y, `translateZ(${z / 2}px)`);
    put(faces.class.face, x, z, `translateY(${-y / 2}px) rotateX(90deg)`);
    put(faces.pair.face, z, y, `translateX(${x / 2}px) rotateY(90deg)`);
    labels.iteration.style.transform = `translate3d(${-x / 2}px, ${y / 2 + 6}px, ${z / 2}px)`;
    labels.layer.style.transform = `translate3d(${-x / 2 - 8}px, ${-y / 2}px, ${z / 2}px) rotateZ(-90deg) translate(-100%, -100%)`;
    labels.class.style.transform = `translate3d(${x / 2}px, ${y / 2 + 6}px, ${z / 2}px) rotateY(90deg)`;
    body.style.transform = `rotateX(${tilt}deg) rotateY(${turn}deg)`; };
  const clamp = (v, low, high) => Math.max(low, Math.min(high, v));
  const rotate = (t, u) => { tilt = clamp(t, -85, 0); turn = clamp(u, -85, 0); place(); };
  stage.addEventListener("pointerdown", (event) => { drag = [event.clientX, event.clientY, tilt, turn]; moved = false; });
  stage.addEventListener("pointermove", (event) => { if (!drag) return;
    const dx = event.clientX - drag[0], dy = event.clientY - drag[1];
    if (Math.abs(dx) + Math.abs(dy) > 4 && !moved) { moved = true; body.classList.add("held"); stage.setPointerCapture(event.pointerId); }
    if (moved) rotate(drag[2] - dy * 0.3, drag[3] + dx * 0.3); });
  const release = () => { drag = null; body.classList.remove("held"); };
  stage.addEventListener("pointerup", release); stage.addEventListener("pointercancel", release);
  stage.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: [0, -6], ArrowRight: [0, 6], ArrowUp: [6, 0], ArrowDown: [-6, 0]}[event.key];
    if (event.key === "Home") rotate(...HOME); else if (step) rotate(tilt + step[0], turn + step[1]); else return;
    event.preventDefault(); });
  const watch = new ResizeObserver(place); watch.observe(stage); model.on("remove", () => watch.disconnect());
  // It begins flat, as the faces were, and folds up before the eye.
  [tilt, turn] = [0, 0]; place(); paint(); requestAnimationFrame(() => setTimeout(() => rotate(...HOME), 60));
  model.on("faces", paint); model.on("picked", mark);
}
