// @ts-check
// Says on a page of the desk that nothing new comes, and of when the figures are that it still shows: a number whose
// time nobody can tell is not shown as if it were of now.

const VIETNAM_AHEAD_MS = 7 * 3_600_000;
const banner = document.getElementById("lost");
/** By how much the server's clock is ahead of this one. */
const ahead = Number(document.body.dataset.now) - Date.now();

/** The server's time now, in milliseconds. */
export function serverNow() {
  return Date.now() + ahead;
}

/** Said again only when it is something else: each time it is written, it is read out.
 * @param {"lost" | "late" | "gone"} state one of the banner's sentences
 * @param {number} at until when what is shown is known to be true, in milliseconds of the server's clock
 */
export function lose(state, at) {
  const time = new Date(at + VIETNAM_AHEAD_MS).toISOString().slice(11, 19);
  const sentence = (banner?.dataset[state] ?? "").replace("{time}", time);
  document.body.dataset.lost = state;
  if (banner && banner.textContent !== sentence) banner.textContent = sentence;
}

export function regain() {
  delete document.body.dataset.lost;
  if (banner?.textContent) banner.textContent = "";
}
