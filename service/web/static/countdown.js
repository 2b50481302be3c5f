// @ts-check
// What is counted down to, in seconds: the server writes days, hours and minutes, which stay without a script.

const SECOND = 1000;
const ahead = Number(document.body.dataset.now) - Date.now();
const pattern = document.body.dataset.left ?? "";

/** @param {number} count */
function two(count) {
  return String(count).padStart(2, "0");
}

function tick() {
  for (const each of document.querySelectorAll("[data-until]")) {
    const until = Number(each.getAttribute("data-until"));
    const seconds = Math.max(0, Math.ceil((until - Date.now() - ahead) / SECOND));
    const days = Math.floor(seconds / 86_400);
    const clock = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    const told = days > 0 ? pattern.replace("{days}", String(days)).replace("{clock}", clock) : clock;
    if (each.textContent !== told) each.textContent = told;
  }
}

setInterval(tick, SECOND);
tick();
