// @ts-check
// A form that is on its way is not sent a second time by a double click: codes are shown once, a draft is kept once.

/** Whoever heard nothing for so long may try again. */
const AGAIN_MS = 10_000;
/** @type {WeakMap<EventTarget, number>} */
const sentAt = new WeakMap();

addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.method !== "post" || event.defaultPrevented) return;
  if (Date.now() - (sentAt.get(form) ?? -AGAIN_MS) < AGAIN_MS) event.preventDefault();
  else sentAt.set(form, Date.now());
});

// Back on a page that the browser kept as it was: whoever came back may send it anew.
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const form of document.forms) sentAt.delete(form);
});
