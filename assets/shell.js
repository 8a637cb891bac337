// Keys that work anywhere on the page, and the browser's address and back button. It shows nothing itself.
const TYPED = "textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=button])";

export function render({model, el}) {
  const shown = () => new URLSearchParams(location.search).toString();
  const typing = (event) => {
    const target = event.composedPath()[0];
    return target instanceof Element && (target.matches(TYPED) || target.isContentEditable); };

  const pressed = (event) => {
    if (typing(event) || event.defaultPrevented || event.altKey) return;
    const control = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
    let kind = null;
    if (control && key === "z") kind = event.shiftKey ? "redo" : "undo";
    else if (control && key === "y") kind = "redo";
    else if (!control && event.key === "?") kind = "help";
    if (!kind) return;
    event.preventDefault();
    model.send_msg({kind}); };

  let visits = 0;
  const went = () => model.send_msg({kind: "went", query: location.search, visit: ++visits});

  // A step is a page to go back to; whatever changes within a step replaces its page's address.
  const move = () => {
    const {query, push, visit} = model.place;
    if (visit !== visits) return;  // about the page that was left, not about this one
    if (!query || new URLSearchParams(query).toString() === shown()) return;
    history[push ? "pushState" : "replaceState"](null, "", query); };

  window.addEventListener("keydown", pressed);
  window.addEventListener("popstate", went);
  model.on("place", move);
  model.on("remove", () => {
    window.removeEventListener("keydown", pressed);
    window.removeEventListener("popstate", went); });
  move();
}
