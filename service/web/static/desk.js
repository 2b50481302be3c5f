// @ts-check
// The desk's first page follows its stream: the server sends pieces of the page as it would lay them out, and only
// a piece that changed is put in the place of the one before.

/** @type {Map<string, string>} */
const shown = new Map();
const connection = document.getElementById("connection");

/** @param {string} state one of the connection's sentences */
function tell(state) {
  if (connection) connection.textContent = connection.dataset[state] ?? "";
}

const stream = new EventSource("/desk/stream");
stream.addEventListener("desk", (event) => {
  const pieces = JSON.parse(event.data);
  for (const name of Object.keys(pieces)) {
    const place = document.getElementById(name);
    if (place === null) {
      // A campaign more than when the page was made.
      location.reload();
      return;
    }
    if (shown.get(name) !== pieces[name]) {
      place.innerHTML = pieces[name];
      shown.set(name, pieces[name]);
    }
  }
  tell("live");
});
stream.addEventListener("gone", () => {
  stream.close();
  tell("gone");
});
stream.addEventListener("error", () => tell(stream.readyState === EventSource.CLOSED ? "gone" : "lost"));
