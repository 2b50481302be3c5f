// @ts-check
// Says beside each field of a date which day it holds, as the page writes days: a browser writes it in its own language,
// and 10/11 is two days.

import { moment, write } from "./words.js";

for (const field of document.querySelectorAll("input[type='date'], input[type='datetime-local']")) {
  if (!(field instanceof HTMLInputElement)) continue;
  const place = document.getElementById(`${field.id}-told`);
  const pattern = place?.dataset.moment ?? "";
  field.addEventListener("input", () => {
    const { time, date } = moment(field.value);
    const told = time ? pattern.replace("{time}", time).replace("{date}", date) : date;
    write(place, field.value ? told : "");
  });
}
