// @ts-check
// Draws what the server has summed: lines of up to four campaigns, read by pointer and by keyboard, zoomed, and
// asked for again from time to time. The table below has the same figures, written by the server.

import { lose, regain, serverNow } from "./lost.js";
import { money, number, write } from "./words.js";

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;
const VIETNAM_AHEAD = 7 * HOUR;
const ZOOM = 0.5;
const HEIGHT = 320;
/** As long as the server's answers are good for, but for days: a lost network is to be noticed within half a minute. */
const AGAIN_MS = { minute: 5_000, hour: 15_000, day: 30_000 };
const LOST_AGAIN_MS = 3_000;
const ANSWER_MS = 8_000;
const NARROW = 480;
/** Of a label of the time axis, in pixels: the last one stands below the end of the lines and goes on behind it. */
const HALF_LABEL = 38;
/** Steps of the axis of time, in seconds: what people count in. */
const STEPS = [60, 300, 600, 900, 1800, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 5 * DAY, 10 * DAY, 30 * DAY, 90 * DAY];
/** Steps of the axis of figures: nothing that is counted here comes in halves. */
const COUNTS = Array.from({ length: 15 }, (_, power) => [1, 2, 5].map((each) => each * 10 ** power)).flat();
const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3]];

const box = document.getElementById("plot");
const point = document.getElementById("plot-point");
/** @type {any} */
const Plot = /** @type {any} */ (window).uPlot;

/** @param {string} name */
function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** @param {HTMLElement} place */
function start(place) {
  const { axis, bucket, measure, source } = place.dataset;
  const names = JSON.parse(place.dataset.names ?? "[]");
  const say = measure === "messages" ? number : money;
  /** Hours and days of the clock are Vietnam's, wherever the browser is. */
  const ahead = axis === "opening" ? 0 : VIETNAM_AHEAD;

  /**
   * @param {number[]} x
   * @param {number[][]} values
   */
  const columns = (x, values) => [x.map((at) => at + ahead), ...values];
  let data = columns(JSON.parse(place.dataset.x ?? "[]"), JSON.parse(place.dataset.values ?? "[]"));
  /** @type {any} */
  let plot;

  /** @param {number} at */
  function onAxis(at) {
    if (axis === "opening") {
      const days = Math.floor(at / DAY);
      const rest = `${Math.floor((at % DAY) / HOUR)}:${String(Math.floor((at % HOUR) / MINUTE)).padStart(2, "0")}`;
      return days > 0 ? `${days}${place.dataset.day} ${rest}` : rest;
    }
    const moment = new Date(at * 1000).toISOString();
    const day = `${moment.slice(8, 10)}/${moment.slice(5, 7)}`;
    return bucket === "day" ? day : `${moment.slice(11, 16)} ${day}`;
  }

  /** @param {number | null} index */
  function tell(index) {
    if (index === null || index === undefined || data[0][index] === undefined) return;
    const parts = names.map((/** @type {string} */ name, /** @type {number} */ line) => {
      const value = data[line + 1][index];
      return value === null || value === undefined ? "" : `${name}: ${say(value)}`;
    });
    write(point, [onAxis(data[0][index]), ...parts.filter(Boolean)].join(" · "));
  }

  /** A figure without a neighbour makes no line, and is a point: an appeal begins with one.
   * @param {any} drawn
   * @param {number} line
   */
  function alone(drawn, line) {
    const figures = drawn.data[line];
    const isNone = (/** @type {number} */ index) => figures[index] === null || figures[index] === undefined;
    const found = figures.map((/** @type {unknown} */ _, /** @type {number} */ index) => index)
      .filter((/** @type {number} */ index) => !isNone(index) && isNone(index - 1) && isNone(index + 1));
    return found.length > 0 ? found : null;
  }

  function draw() {
    const range = plot ? { ...plot.scales.x } : undefined;
    plot?.destroy();
    const soft = css("--soft");
    const grid = { stroke: css("--line"), width: 1 };
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    plot = new Plot(
      {
        width: place.clientWidth,
        height: HEIGHT,
        padding: [null, HALF_LABEL, null, null],
        legend: { show: false },
        scales: { x: { time: false, range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => low < high ? [low, high] : [low - HOUR / 2, low + HOUR / 2] }, y: { range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => [Math.min(0, low), Math.max(1, high * 1.05)] } },
        cursor: { drag: { x: true, y: false }, points: { size: 7 } },
        axes: [
          { stroke: soft, grid, ticks: grid, font, space: 90, incrs: STEPS, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(onAxis) },
          { stroke: soft, grid, ticks: grid, font, incrs: COUNTS, size: place.clientWidth < NARROW ? 82 : 105, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((each) => (Number.isInteger(each) ? number(each) : "")) },
        ],
        series: [
          {},
          ...names.map((/** @type {string} */ label, /** @type {number} */ line) => ({
            label, stroke: css(`--line-${line + 1}`), width: 2, dash: DASHES[line], points: { show: false, size: 9, fill: css(`--line-${line + 1}`), filter: alone },
          })),
        ],
        hooks: { setCursor: [(/** @type {any} */ drawn) => tell(drawn.cursor.idx)] },
      },
      data,
      place,
    );
    if (range && range.min !== undefined && isZoomed) plot.setScale("x", range);
  }

  let isZoomed = false;

  /** @param {number} factor below 1: nearer, around what is pointed at */
  function zoom(factor) {
    const { min, max } = plot.scales.x;
    const [first, last] = [data[0][0], data[0][data[0].length - 1]];
    const middle = plot.cursor.idx === null || plot.cursor.idx === undefined ? (min + max) / 2 : data[0][plot.cursor.idx];
    const half = ((max - min) * factor) / 2;
    isZoomed = half * 2 < last - first;
    plot.setScale("x", isZoomed ? { min: Math.max(first, middle - half), max: Math.min(last, middle + half) } : { min: first, max: last });
  }

  function whole() {
    isZoomed = false;
    plot.setScale("x", { min: data[0][0], max: data[0][data[0].length - 1] });
  }

  /** @param {number} index */
  function go(index) {
    const at = Math.max(0, Math.min(data[0].length - 1, index));
    point?.setAttribute("aria-live", "polite");
    plot.setCursor({ left: plot.valToPos(data[0][at], "x"), top: 10 });
    tell(at);
  }

  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => go((plot.cursor.idx ?? data[0].length) - 1),
    ArrowRight: () => go((plot.cursor.idx ?? -1) + 1),
    Home: () => go(0),
    End: () => go(data[0].length - 1),
    "+": () => zoom(ZOOM),
    "=": () => zoom(ZOOM),
    "-": () => zoom(1 / ZOOM),
    "0": whole,
  };
  place.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  place.addEventListener("pointermove", () => point?.setAttribute("aria-live", "off"));
  place.addEventListener("pointerup", () => (isZoomed = true));
  place.addEventListener("dblclick", whole);
  document.getElementById("plot-in")?.addEventListener("click", () => zoom(ZOOM));
  document.getElementById("plot-out")?.addEventListener("click", () => zoom(1 / ZOOM));
  document.getElementById("plot-whole")?.addEventListener("click", whole);
  document.getElementById("plot-acts")?.removeAttribute("hidden");

  /** When the server read what is shown. */
  let readAt = Number(place.dataset.at);
  /** @type {number | undefined} */
  let timer;
  const usual = AGAIN_MS[/** @type {"minute" | "hour" | "day"} */ (bucket)];

  /** @param {any} answer */
  function show({ at, x, values, table }) {
    readAt = at;
    data = columns(x, values);
    plot.setData(data, !isZoomed);
    const figures = document.getElementById("plot-table");
    const top = figures?.querySelector(".scroll")?.scrollTop ?? 0;
    if (figures) figures.innerHTML = table;
    figures?.querySelector(".scroll")?.scrollTo(0, top);
  }

  /** Asks, and says how it went; what is shown stays, with its time, until there is something newer. */
  async function ask() {
    try {
      const answer = await fetch(source ?? "", { redirect: "manual", signal: AbortSignal.timeout(ANSWER_MS) });
      if (answer.type === "opaqueredirect") return "gone";
      if (!answer.ok) return "late";
      show(await answer.json());
      // A busy server answers by what it read before, and says when that was.
      return serverNow() - readAt > 2 * usual + ANSWER_MS ? "late" : "live";
    } catch {
      return "lost";
    }
  }

  async function again() {
    clearTimeout(timer);
    const state = await ask();
    if (state === "live") regain();
    else lose(state, readAt);
    // Another may have been begun meanwhile, by a network that came back.
    clearTimeout(timer);
    if (state !== "gone") timer = setTimeout(again, state === "live" ? usual : LOST_AGAIN_MS);
  }

  addEventListener("offline", () => lose("lost", readAt));
  addEventListener("online", () => void again());

  draw();
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  place.dataset.drawn = "yes";
  timer = setTimeout(again, usual);
}

if (box && Plot) start(box);
