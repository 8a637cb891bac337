// A component is rendered when all that came with it has been built: only then does the server change its parts.
export function render({ model }) {
  model.send_msg({});
  return document.createElement("span");
}
