// @ts-check
// Keeps a page live. Every snapshot is whole: it is shown or, when its version is not higher, ignored.
// Nothing is ever added up here.

import { refreshChart } from "./chart.js";
import { ago, messages, moment, money, number, percent, stage, text, write } from "./words.js";

const PULSE_MS = 15_000;
const STALE_SECONDS = 2;
const LOST_AFTER_MS = 1_500;
/** How often the page looks whether a campaign has opened or closed, and whether figures have grown old. */
const LOOK_MS = 500;
/** A page of the book's last change is not asked for more often. */
const REFRESH_MS = 1_000;
/** Who types or has selected text is left alone so long, and no longer: what is shown must be so. */
const PATIENCE_MS = 10_000;

/**
 * @typedef {{campaign: string, version: number, as_of: string, messages: number, units: number,
 *   pledged_vnd: number, confirmed_vnd: number | null, received_vnd: number | null,
 *   disbursed_vnd: number | null, goal_vnd: number | null, reversed: {messages: number, vnd: number},
 *   by_carrier: {carrier: string, messages: number, pledged_vnd: number}[],
 *   uncounted: Record<string, number>}} Totals
 */

const isList = document.body.dataset.page === "list";
const slug = isList ? null : document.querySelector("[data-campaign]")?.getAttribute("data-campaign") ?? null;

/** @type {Map<string, Totals>} The highest version seen of each campaign. */
const newest = new Map();
/** @type {EventSource | undefined} */
let stream;
let heardAt = Date.now();
let drift = 0;
let chartOf = "";
let refreshedAt = 0;
let outdated = false;
/** The newest book that was heard of; a page of an older one, from a worker a moment behind, is not the last word. */
let newestBook = Number(document.body.dataset.book);
/** Whether the server says that there is no such campaign (any more). */
let isAbsent = false;
/** Since when a reader who types or selects is waited for; 0: nobody is. */
let waitingSince = 0;
/** When the server last read its database, by this page's clock; 0: it has not yet. */
let readAt = Date.now();
let isStale = false;
/** @type {number | undefined} */
let lostTimer;

/** @type {Record<string, (totals: Totals, root: HTMLElement) => string>} Sentences that hold a figure. */
const LINES = {
  as_of: (totals) => text("as_of", moment(totals.as_of)),
  messages: (totals) => messages(totals.messages),
  meaning: (totals) =>
    text(totals.confirmed_vnd === null ? "pledged_meaning" : "pledged_confirmed", { confirmed: stage(totals.confirmed_vnd) }),
  goal: (totals) => (totals.goal_vnd ? text("goal", { goal: money(totals.goal_vnd) }) : ""),
  goal_reached: (totals) =>
    totals.goal_vnd ? text("goal_reached", { percent: percent(totals.pledged_vnd, totals.goal_vnd) }) : "",
  uncounted: (totals) =>
    text("uncounted", Object.fromEntries(Object.entries(totals.uncounted).map(([key, n]) => [key, number(n)]))),
  reversed: ({ reversed: { messages: count, vnd } }) =>
    count || vnd ? text("reversed", { messages: messages(count), amount: money(vnd) }) : "",
  version: (totals) => text("version", { version: String(totals.version) }),
  quote: (totals, root) =>
    text(totals.confirmed_vnd === null ? "quote" : "quote_confirmed", {
      ...moment(totals.as_of),
      messages: messages(totals.messages),
      amount: money(totals.pledged_vnd),
      confirmed: stage(totals.confirmed_vnd),
      reversed: totals.reversed.vnd ? text("quote_reversed", { amount: money(totals.reversed.vnd) }) : "",
      campaign: root.dataset.name ?? "",
    }),
};

/** A figure by its name; `viettel.messages` is a carrier's. What a snapshot leaves out is zero.
 * @param {Totals} totals
 * @param {string} name
 * @returns {number}
 */
function figure(totals, name) {
  const [carrier, key] = name.split(".");
  /** @type {Record<string, any> | undefined} */
  const source = key ? totals.by_carrier.find((share) => share.carrier === carrier) : totals;
  return source?.[key ?? carrier] ?? 0;
}

/** @param {Totals} totals */
function show(totals) {
  const root = /** @type {HTMLElement | null} */ (
    document.querySelector(`[data-campaign="${CSS.escape(totals.campaign)}"]`)
  );
  const known = newest.get(totals.campaign);
  const best = known && known.version >= totals.version ? known : totals;
  newest.set(totals.campaign, best);
  if (root && best.version > Number(root.dataset.version)) {
    paint(root, best);
    // The hour is read again with the next pulse; until then it must not say beside a gift that none came.
    const hour = document.getElementById("chart-peak");
    if (hour?.textContent?.trim() === text("chart_quiet")) write(hour, "\u00a0");
  }
  return root;
}

/** @param {HTMLElement} root @param {Totals} totals */
function paint(root, totals) {
  root.dataset.version = String(totals.version);
  for (const element of root.querySelectorAll("[data-money]")) {
    write(element, money(figure(totals, element.getAttribute("data-money") ?? "")));
  }
  for (const element of root.querySelectorAll("[data-stage]")) {
    const name = element.getAttribute("data-stage") ?? "";
    write(element, stage(/** @type {Record<string, any>} */ (totals)[name]));
  }
  for (const element of root.querySelectorAll("[data-count]")) {
    write(element, number(figure(totals, element.getAttribute("data-count") ?? "")));
  }
  for (const element of root.querySelectorAll("[data-line]")) {
    write(element, LINES[element.getAttribute("data-line") ?? ""](totals, root));
  }
  const progress = root.querySelector("progress");
  if (progress && totals.goal_vnd) {
    progress.max = totals.goal_vnd;
    progress.value = Math.max(0, totals.pledged_vnd);
  }
}

function connect() {
  stream?.close();
  const one = slug ? `&campaign=${encodeURIComponent(slug)}` : "";
  stream = new EventSource(`/api/v1/stream?state=true${one}`);
  stream.addEventListener("open", () => connection(true));
  stream.addEventListener("error", () => connection(false));
  stream.addEventListener("totals", (event) => {
    heardAt = Date.now();
    const totals = /** @type {Totals} */ (JSON.parse(event.data));
    const root = show(totals);
    // A question that failed beside a stream that goes on is no lost connection.
    connection(true);
    // A campaign this list does not have yet, or a goal that came or went: only the server can lay that out.
    outdated ||= root ? root.hasAttribute("data-goal") !== Boolean(totals.goal_vnd) : isList;
    if (outdated) void refreshPage();
  });
  stream.addEventListener("state", (event) => {
    const state = /** @type {{age_seconds: number | null, book_version: number}} */ (JSON.parse(event.data));
    learnAge(state.age_seconds);
    // Names, windows, keywords, decisions: what another book says of them only the server can lay out.
    newestBook = Math.max(newestBook, state.book_version);
    outdated ||= newestBook > Number(document.body.dataset.book);
    if (outdated) void refreshPage();
  });
}

/** Says whether figures still come; a hiccup of a moment is not worth a word.
 * @param {boolean} alive
 */
function connection(alive) {
  const element = document.getElementById("connection");
  if (alive) {
    clearTimeout(lostTimer);
    lostTimer = undefined;
    write(element, text("live"));
    write(document.getElementById("lost"), "");
    if (element) element.dataset.state = "live";
  } else if (lostTimer === undefined) {
    lostTimer = setTimeout(() => {
      const now = document.getElementById("connection");
      write(now, text("lost"));
      write(document.getElementById("lost"), text("lost_more"));
      if (now) now.dataset.state = "lost";
    }, LOST_AFTER_MS);
  }
}

/** Asks how old the server's knowledge is, and fills in when the stream was refused or fell silent. */
async function pulse() {
  if (document.hidden) return;
  try {
    const path = slug ? `/api/v1/campaigns/${encodeURIComponent(slug)}/totals` : "/api/v1/totals";
    const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (slug && (isAbsent || response.status === 404)) {
      // Withdrawn, or back: only the server's page says which.
      outdated = true;
      return void refreshPage();
    }
    if (!response.ok) throw new Error(String(response.status));
    drift = Date.parse(response.headers.get("date") ?? new Date().toISOString()) - Date.now();
    const age = response.headers.get("x-portal1400-age-seconds");
    learnAge(age === null || age === "unknown" ? null : Number(age));
    const answer = await response.json();
    /** @type {Totals[]} */
    const all = slug ? [answer] : answer.campaigns;
    const missed = all.some((totals) => totals.version > (newest.get(totals.campaign)?.version ?? Infinity));
    for (const totals of all) show(totals);
    const silent = missed && Date.now() - heardAt > PULSE_MS;
    // A refused stream stays closed by itself; a silent one lost its way without anybody being told.
    if (!stream || stream.readyState === EventSource.CLOSED || silent) connect();
    else if (stream.readyState === EventSource.OPEN) connection(true);
  } catch {
    connection(false);
  }
  if (slug) await pulseChart(slug);
}

/** @param {number | null} age seconds since that worker last read the database; null before the first time */
function learnAge(age) {
  readAt = age === null ? 0 : Date.now() - age * 1000;
  isStale = age === null || age >= STALE_SECONDS;
  tellAge();
}

/** Says how old the figures are, counted on by this page's clock until the server says that they are read again. */
function tellAge() {
  const seconds = (Date.now() - readAt) / 1000;
  const said = readAt ? text("stale", { ago: ago(seconds) }) : text("never_seen");
  write(document.getElementById("stale"), isStale ? said : "");
}

/** Redraws when there is something new: another version or another minute. @param {string} campaign */
async function pulseChart(campaign) {
  const now = Date.now() + drift;
  const state = `${newest.get(campaign)?.version} ${Math.floor(now / 60_000)}`;
  if (state === chartOf) return;
  try {
    await refreshChart(campaign, now);
    chartOf = state;
  } catch {
    // The bars stay as they were; the next pulse tries again.
  }
}

/** Whether a campaign on this page has opened or closed since the page was written. */
function hasTurned() {
  const now = (Date.now() + drift) / 1000;
  return [...document.querySelectorAll("[data-changes-at]")].some(
    (element) => Number(element.getAttribute("data-changes-at")) <= now,
  );
}

/** Whether somebody types or has selected text: for them the page waits, but not long. */
function isBusy() {
  const busy = getSelection()?.isCollapsed === false || document.activeElement?.matches("input, textarea, select");
  waitingSince = busy ? waitingSince || Date.now() : 0;
  return busy && Date.now() - waitingSince < PATIENCE_MS;
}

/** What can hold the focus or be open in `root`, in order. @param {Element} root */
function places(root) {
  return /** @type {HTMLElement[]} */ ([...root.querySelectorAll("a, button, summary, [tabindex]")]);
}

/** Puts a fresh layout in place of the old one: the focus and what was open stay. @param {Element} main @param {Element} fresh */
function replaceLayout(main, fresh) {
  const held = places(main).find((each) => each === document.activeElement);
  const key = (/** @type {HTMLElement} */ each) => each.id || each.getAttribute("href") || each.tagName;
  const open = [...main.querySelectorAll("details")].map((each) => each.open);
  const scrolled = main.querySelector(".scroll")?.scrollTop ?? 0;
  main.replaceChildren(...fresh.children);
  main.querySelectorAll("details").forEach((each, index) => (each.open = open[index] ?? false));
  main.querySelector(".scroll")?.scrollTo({ top: scrolled });
  offerCopy();
  if (held) places(main).find((each) => key(each) === key(held))?.focus({ preventScroll: true });
}

/** Takes the server's page anew. */
async function refreshPage() {
  const main = document.getElementById("main");
  if (!main || isBusy() || Date.now() - refreshedAt < REFRESH_MS) return;
  refreshedAt = Date.now();
  try {
    const response = await fetch(location.href, { cache: "reload", signal: AbortSignal.timeout(8000) });
    const { ok, status } = response;
    if (!ok && status !== 404 && status !== 410) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("main");
    if (!fresh) return;
    // A worker a moment behind does not know yet what this page was written from: ask again.
    if (!ok && Number(page.body.dataset.book) < Number(document.body.dataset.book)) return;
    replaceLayout(main, fresh);
    document.title = page.title;
    document.body.dataset.book = page.body.dataset.book;
    outdated = newestBook > Number(page.body.dataset.book);
    // Whoever read further down, or hears the page, must not miss that there is nothing to read any more.
    if (!ok && !isAbsent) main.focus();
    isAbsent = !ok;
    // That page may come from a worker a moment behind: no figure goes back.
    for (const totals of newest.values()) show(totals);
    tellAge();
    if (stream?.readyState === EventSource.OPEN) connection(true);
  } catch {
    connection(false);
  }
}

function offerCopy() {
  const button = document.getElementById("copy");
  if (!button || !navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById("quote-line")?.textContent ?? "");
    write(document.getElementById("copied"), text("copied"));
    setTimeout(() => write(document.getElementById("copied"), ""), 3000);
  });
}

write(document.getElementById("connection"), text("connecting"));
// Paper cannot be followed: it says where it came from, also where the server does not know how it is reached.
if (!document.getElementById("address")?.textContent) write(document.getElementById("address"), location.href);
offerCopy();
connect();
// Spread over the interval, so that a crowd that came at once does not ask at once.
setTimeout(() => {
  void pulse();
  setInterval(pulse, PULSE_MS);
}, PULSE_MS * Math.random());
setInterval(() => {
  if (isStale) tellAge();
  if (!document.hidden && (outdated || hasTurned())) void refreshPage();
}, LOOK_MS);
document.addEventListener("visibilitychange", () => void pulse());
// A stream of the network before falls silent in another without a word.
addEventListener("offline", () => connection(false));
addEventListener("online", connect);
addEventListener("pagehide", () => stream?.close());
addEventListener("pageshow", (event) => {
  if (event.persisted) connect();
});
