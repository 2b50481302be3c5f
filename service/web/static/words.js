// @ts-check
// Figures and times in the page's language. Money is a whole number of đồng below 2^53, grouped through BigInt:
// nothing here adds, divides or rounds an amount.

/** @type {Record<string, string>} The server's texts for this page. */
const texts = JSON.parse(document.body.dataset.texts ?? "{}");
const months = text("months").split(",");

/**
 * A text with its {places} filled.
 * @param {string} key
 * @param {Record<string, string>} [values]
 */
export function text(key, values = {}) {
  return (texts[key] ?? "").replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

/** @param {number | bigint} value a whole number */
export function number(value) {
  return BigInt(value).toString().replace(/\B(?=(\d{3})+$)/g, text("thousands_mark"));
}

/** @param {number | bigint} vnd */
export function money(vnd) {
  return text("money", { amount: number(vnd) });
}

/** The amount of a stage of money; null is one that nobody has recorded, and is never written as 0.
 * @param {number | null} vnd
 */
export function stage(vnd) {
  return vnd === null ? text("no_figures_yet") : money(vnd);
}

/** @param {number} count */
export function messages(count) {
  return text(count === 1 ? "messages_one" : "messages_many", { count: number(count) });
}

/**
 * A part of a goal in tenths of a percent, rounded down as the server does; more than nothing is never told as 0.
 * @param {number} part
 * @param {number} whole
 */
export function percent(part, whole) {
  const thousandfold = BigInt(Math.max(0, part)) * 1000n;
  const under = thousandfold > 0n && thousandfold < BigInt(whole);
  const tenths = under ? 1n : thousandfold / BigInt(whole);
  return text(under ? "percent_under" : "percent", { number: number(tenths / 10n) + text("decimal_mark") + (tenths % 10n) });
}

/**
 * Time and day as the server wrote them: its times carry Vietnam's zone, so the letters are the local time.
 * @param {string} at RFC 3339 with +07:00
 */
export function moment(at) {
  const day = at.slice(8, 10).replace(/^0/, "").padStart(Number(text("days_pad")), "0");
  const date = text("date", { day, month: months[Number(at.slice(5, 7)) - 1], year: at.slice(0, 4) });
  return { time: at.slice(11, 19), date };
}

/** @param {number} seconds */
export function ago(seconds) {
  const whole = Math.floor(seconds);
  if (whole >= 3600) return text("ago_hours", { count: String(Math.floor(whole / 3600)) });
  if (whole >= 60) return text("ago_minutes", { count: String(Math.floor(whole / 60)) });
  return text("ago_seconds", { count: String(whole) });
}

/**
 * Writes only what changed, so that nothing is drawn twice.
 * @param {Element | null} element
 * @param {string} value
 */
export function write(element, value) {
  if (element && element.textContent !== value) element.textContent = value;
}
