// @ts-check
// The last hour's sixty bars and their table, redrawn in place: the same elements, other heights and texts.

import { messages, money, number, text, write } from "./words.js";

const MINUTE = 60_000;
const VIETNAM_AHEAD = 7 * 60 * MINUTE;

/** @typedef {{at: string, messages: number, pledged_vnd: number}} Point */

/** @param {number} at milliseconds */
function clock(at) {
  return new Date(at + VIETNAM_AHEAD).toISOString().slice(11, 16);
}

/** The address of the sixty minutes that end with the one `now` lies in. It changes once a minute, for caches.
 * @param {string} slug
 * @param {number} now milliseconds
 */
function address(slug, now) {
  const until = (Math.floor(now / MINUTE) + 1) * MINUTE;
  const query = new URLSearchParams({
    bucket: "minute",
    from: new Date(until - 60 * MINUTE).toISOString(),
    to: new Date(until).toISOString(),
  });
  return { url: `/api/v1/campaigns/${encodeURIComponent(slug)}/series?${query}`, first: until - 60 * MINUTE };
}

/**
 * Reads and redraws. A failure throws and leaves the bars as they are; where there were none, the sentence stays.
 * @param {string} slug
 * @param {number} now milliseconds, by the server's clock
 */
export async function refreshChart(slug, now) {
  const { url, first } = address(slug, now);
  const response = await fetch(url, { signal: AbortSignal.timeout(8000) });
  if (!response.ok) throw new Error(String(response.status));
  const { points } = /** @type {{points: Point[]}} */ (await response.json());
  // Whole minutes: a fraction of a second in the server's writing is cut, not parsed.
  const byMinute = new Map(points.map((point) => [Date.parse(`${point.at.slice(0, 19)}+07:00`), point]));
  draw(Array.from({ length: 60 }, (_, index) => {
    const at = first + index * MINUTE;
    const point = byMinute.get(at);
    return { time: clock(at), messages: point?.messages ?? 0, pledged: point?.pledged_vnd ?? 0 };
  }));
}

/** @param {{time: string, messages: number, pledged: number}[]} minutes */
function draw(minutes) {
  const figure = document.getElementById("chart");
  if (!figure) return;
  const peak = minutes.reduce((best, minute) => (minute.messages > best.messages ? minute : best));
  figure.querySelectorAll("rect").forEach((bar, index) => {
    const count = minutes[index].messages;
    const height = count > 0 ? Math.max(2, Math.floor((count * 100) / peak.messages)) : 0;
    bar.setAttribute("y", String(100 - height));
    bar.setAttribute("height", String(height));
  });
  for (const mark of figure.querySelectorAll("[data-axis]")) {
    write(mark, minutes[Number(mark.getAttribute("data-axis"))].time);
  }
  document.querySelectorAll("#minutes tbody tr").forEach((row, index) => {
    const minute = minutes[59 - index];
    write(row.children[0], minute.time);
    write(row.children[1], number(minute.messages));
    write(row.children[2], money(minute.pledged));
  });
  write(
    document.getElementById("chart-peak"),
    peak.messages > 0
      ? text("chart_peak", { messages: messages(peak.messages), time: peak.time })
      : text("chart_quiet"),
  );
  figure.dataset.drawn = "yes";
}
