// @ts-check
// The desk's first page follows its stream: the server sends pieces of the page as it would lay them out, and only
// a piece that changed is put in the place of the one before.

import { lose, regain, serverNow } from "./lost.js";

/** Three beats of the server: a network that is lost closes nothing by itself, it only falls silent. */
const SILENCE_MS = 30_000;
const LOOK_MS = 1_000;
const AGAIN_MS = 3_000;

/** @type {Map<string, string>} */
const shown = new Map();
const connection = document.getElementById("connection");
/** @type {EventSource | undefined} */
let stream;
/** @type {number | undefined} */
let timer;
let heardAt = Date.now();
/** Until when what is shown is known to be true, by the server's clock. */
let trueAt = serverNow();
let isOver = false;

/** Said again only when it is something else: each time it is written, it is read out.
 * @param {"live" | "lost" | "gone"} state one of the connection's sentences
 */
function tell(state) {
  if (isOver) return;
  const sentence = connection?.dataset[state] ?? "";
  if (connection && connection.textContent !== sentence) connection.textContent = sentence;
  if (state === "live") regain();
  else lose(state, trueAt);
}

function heard() {
  heardAt = Date.now();
  trueAt = serverNow();
  tell("live");
}

function end() {
  stream?.close();
  tell("gone");
  isOver = true;
}

/** A browser asks no more for a stream that was refused. Where it leads to the way in, the session is over; what is
 * only busy, or begins anew, is asked again.
 */
async function refused() {
  tell("lost");
  try {
    const answer = await fetch("/desk/stream", { redirect: "manual", signal: AbortSignal.timeout(8000) });
    void answer.body?.cancel();
    if (answer.type === "opaqueredirect") {
      end();
      return;
    }
  } catch {
    // No network: there is no answer of which to learn anything.
  }
  clearTimeout(timer);
  timer = setTimeout(connect, AGAIN_MS);
}

function connect() {
  stream?.close();
  clearTimeout(timer);
  if (isOver) return;
  heardAt = Date.now();
  const opened = new EventSource("/desk/stream");
  stream = opened;
  opened.addEventListener("desk", (event) => {
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
    heard();
  });
  opened.addEventListener("beat", heard);
  opened.addEventListener("gone", end);
  opened.addEventListener("error", () => {
    tell("lost");
    if (opened.readyState === EventSource.CLOSED) void refused();
  });
}

// A stream of the network before is heard of no more in another; where the browser was wrong, it is asked for again
// when it has been silent for long.
addEventListener("offline", () => {
  stream?.close();
  tell("lost");
});
addEventListener("online", connect);
setInterval(() => {
  if (isOver || Date.now() - heardAt <= SILENCE_MS) return;
  tell("lost");
  connect();
}, LOOK_MS);
connect();
