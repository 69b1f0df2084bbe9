"use strict";
// Tables are sorted and filtered where they stand; the error explorer draws one recording on a canvas.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function sortable(table) {
  all("thead th", table).forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const numeric = header.classList.contains("n");
      const keyed = all("tbody tr", table).map((row) => {
        const cell = row.cells[column];
        if (!numeric) return [cell.textContent, row];
        return [cell.dataset.value === "" ? null : Number(cell.dataset.value), row];
      });
      const order = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, undefined, { numeric: true });
      keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * order(a, b)));
      table.tBodies[0].append(...keyed.map(([, row]) => row));
    });
  });
}

function filterable(grid) {
  const filters = grid.querySelector(".filters");
  if (!filters) return;
  const rows = all("tbody tr", grid);
  const filter = () => {
    const words = filters.querySelector("input").value.toLowerCase();
    const chosen = all("select", filters).filter((select) => select.value !== "");
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(words)
        || chosen.some((select) => row.cells[select.dataset.column].textContent !== select.value);
      shown += !row.hidden;
    }
    filters.querySelector(".shown").textContent = `${shown} of ${rows.length} rows`;
  };
  filters.addEventListener("input", filter);
  filter();
}

all("main .grid").forEach((grid) => {
  if (grid.querySelector("thead button")) sortable(grid.querySelector("table"));
  filterable(grid);
});

const bytesOf = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
const inflated = (base64) => new Response(
  new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream("deflate")));

for (const button of all(".copy")) {
  button.addEventListener("click", async () => {
    const command = button.parentElement.querySelector("code");
    getSelection().selectAllChildren(command);
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl-C";
    }
  });
}

// What is folded is printed, too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = all("details:not([open])");
  folded.forEach((details) => { details.open = true; });
});
addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));

// ---- the pictures: each is drawn when it comes into view, and plotly.js is run with the first

let plotly = null;

async function library() {
  document.head.append(element("script", { textContent: await inflated(byId("plotly").textContent).text() }));
  return globalThis.Plotly;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The figures are drawn for paper; on the screen their ink follows the page's colour scheme.
function inked(layout) {
  layout.font.color = colour("--ink");
  for (const axis of [layout.xaxis, layout.yaxis]) Object.assign(axis, { gridcolor: colour("--grid"), zerolinecolor: colour("--quiet") });
  return layout;
}

async function plot(place, { data: traces, layout: paper }) {
  const layout = inked(paper);
  plotly ||= library();
  await (await plotly).newPlot(place, traces, layout, { responsive: true, displayModeBar: false });
}

const figures = JSON.parse(byId("charts").textContent);
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    plot(target, figures[target.dataset.figure]);
  }
});
all(".plot").forEach((place, number) => {
  place.style.minHeight = `${figures[number].layout.height}px`;
  place.dataset.figure = number;
});

// ---- the error explorer; times in milliseconds

const data = JSON.parse(byId("data").textContent);
// Okabe and Ito's colours, told apart by the colour-blind; the speaker's name stands beside each lane as well.
const SPEAKERS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d00", "#5e4fa2"];
const NOBODY = "#9a9a9a";
const KINDS = [
  { text: "miss", colour: "#7a1fa2" },
  { text: "false alarm", colour: "#d55e00" },
  { text: "confusion", colour: "#56b4e9" },
];
const HEADS = ["System", "Kind", "From s", "To s", "Speakers"];
const LANE = 16, STRIP = 7, TITLE = 18, RULER = 20;
const canvas = byId("timeline"), audio = byId("audio");
const unpacked = new Map();
let recording = 0, timeline = null, from = 0, to = 1, nextWorst = 0, soundUrl = null;

async function unpack(number) {
  if (!unpacked.has(number)) unpacked.set(number, await inflated(data.recordings[number].packed).json());
  return unpacked.get(number);
}

const shownSystems = () => all("#systems input:checked").map((box) => Number(box.value));
const layers = () => timeline.systems.filter((layer) => shownSystems().includes(layer.system));
const seconds = (ms) => (ms / 1000).toFixed(ms % 1000 && to - from < 60000 ? 2 : 1);
const gutter = () => Math.min(150, canvas.clientWidth / 4);
const toX = (ms) => gutter() + (canvas.clientWidth - gutter()) * (ms - from) / (to - from);
const toTime = (x) => from + (to - from) * (x - gutter()) / (canvas.clientWidth - gutter());

function view(start, end) {
  const length = Math.min(Math.max(end - start, 200), timeline.end);
  from = Math.min(Math.max(start, 0), timeline.end - length);
  to = from + length;
  byId("position").value = timeline.end > length ? Math.round(1000 * from / (timeline.end - length)) : 0;
  canvas.dataset.from = Math.round(from);
  canvas.dataset.to = Math.round(to);
  draw();
  listErrors();
}

function zoom(factor, around = (from + to) / 2) {
  view(around - (around - from) * factor, around + (to - around) * factor);
}

function draw() {
  const width = canvas.clientWidth, context = canvas.getContext("2d");
  const ink = colour("--ink"), grey = colour("--grey"), grid = colour("--grid");
  const height = RULER + TITLE + LANE * timeline.speakers.length
    + layers().reduce((sum, layer) => sum + TITLE + LANE * layer.speakers.length + STRIP * 3 + 4, 0) + 4;
  canvas.style.height = `${height}px`;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  context.scale(devicePixelRatio, devicePixelRatio);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";

  const bar = (start, end, y, tall, colour) => {
    if (end < from || start > to) return;
    const left = Math.max(toX(start), gutter()), right = Math.min(toX(end), width);
    context.fillStyle = colour;
    context.fillRect(left, y, Math.max(right - left, 1), tall);
  };
  const label = (text, y, bold = false) => {
    context.save();
    context.beginPath();
    context.rect(0, y - TITLE / 2, bold ? width : gutter() - 4, TITLE);
    context.clip();
    context.fillStyle = ink;
    context.font = `${bold ? "600 " : ""}12px system-ui, sans-serif`;
    context.fillText(text, 4, y);
    context.restore();
  };

  let edge = 0;
  for (const [start, end] of timeline.regions) {
    bar(edge, start, RULER, height, grey);
    edge = end;
  }
  bar(edge, timeline.end, RULER, height, grey);
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600]
    .map((s) => s * 1000).find((s) => (to - from) / s <= (width - gutter()) / 80) || 7200000;
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    bar(at, at, 0, height, grid);
    context.fillStyle = ink;
    if (toX(at) + 55 < width) context.fillText(`${seconds(at)} s`, toX(at) + 3, RULER / 2);
  }

  let y = RULER;
  const lanes = (title, speakers, turns, colour, suffix) => {
    label(title, y + TITLE / 2, true);
    y += TITLE;
    speakers.forEach((speaker, lane) => label(speaker + suffix(lane), y + LANE * (lane + 0.5)));
    for (let at = 0; at < turns.length; at += 3) {
      bar(turns[at], turns[at + 1], y + LANE * turns[at + 2] + 1, LANE - 2, colour(turns[at + 2]));
    }
    y += LANE * speakers.length;
  };
  const ofSpeaker = (number) => number < 0 ? NOBODY : SPEAKERS[number % SPEAKERS.length];
  lanes("Reference", timeline.speakers, timeline.turns, ofSpeaker, () => "");
  for (const layer of layers()) {
    lanes(data.systems[layer.system].name, layer.speakers, layer.turns, (lane) => ofSpeaker(layer.mapping[lane]),
      (lane) => layer.mapping[lane] < 0 ? "" : ` → ${timeline.speakers[layer.mapping[lane]]}`);
    label("errors", y + STRIP * 1.5);
    const errors = layer.errors;
    for (let at = 0; at < errors.length; at += 4) {
      bar(errors[at], errors[at + 1], y + STRIP * errors[at + 2], STRIP - 1, KINDS[errors[at + 2]].colour);
    }
    y += STRIP * 3 + 4;
  }
  const now = audio.currentTime * 1000;
  if (now >= from && now <= to) bar(now, now, 0, height, "#e02020");
}

function listErrors() {
  const found = [];
  for (const layer of layers()) {
    for (let at = 0; at < layer.errors.length; at += 4) {
      const [start, end, kind, speakers] = layer.errors.slice(at, at + 4);
      if (end > from && start < to && wanted(kind)) found.push({ system: layer.system, start, end, kind, speakers });
    }
  }
  found.sort((a, b) => (b.end - b.start) * b.speakers - (a.end - a.start) * a.speakers);
  byId("errors").replaceChildren(...found.slice(0, 10).map((error) => {
    const text = `Play ${(error.start / 1000).toFixed(2)} s`;
    const play = element("button", { type: "button", textContent: text, onclick: () => listen(error.start, true) });
    const cells = [data.systems[error.system].name, KINDS[error.kind].text, (error.start / 1000).toFixed(2),
      (error.end / 1000).toFixed(2), error.speakers];
    return element("tr", {}, element("td", {}, play),
      ...cells.map((text, column) => {
        const cell = element("td", { textContent: text, className: column > 1 ? "n" : "" });
        cell.dataset.label = HEADS[column];
        return cell;
      }));
  }));
}

const wanted = (kind) => byId("kind").value === "" || Number(byId("kind").value) === kind;

function listen(ms, playing) {
  if (!audio.src) return;
  audio.currentTime = ms / 1000;
  if (playing) audio.play().catch(() => say("The audio cannot be played here."));
  draw();
}

const say = (text) => { byId("status").textContent = text; };

async function open(number) {
  recording = number;
  byId("recording").value = number;
  timeline = await unpack(number);
  const sound = data.recordings[number].audio;
  audio.pause();
  if (soundUrl) URL.revokeObjectURL(soundUrl);
  soundUrl = null;
  if (sound && sound.wav) {
    soundUrl = URL.createObjectURL(new Blob([bytesOf(sound.wav)], { type: "audio/wav" }));
  }
  if (sound) audio.src = soundUrl || sound.href;
  else audio.removeAttribute("src");
  audio.hidden = !sound;
  say(sound ? "" : "The audio of this recording is missing.");
  byId("missing").hidden = !timeline.missing.length;
  byId("missing").textContent = `Missing, or changed since scoring: ${timeline.missing.join("; ")}`;
  view(0, timeline.end);
}

async function showNextWorst() {
  const systems = shownSystems();
  const left = data.worst.filter(([, system, , , kind]) => systems.includes(system) && wanted(kind));
  if (!left.length) return say("The systems shown have no such error.");
  const place = nextWorst++ % left.length;
  const [number, system, start, end, kind] = left[place];
  if (number !== recording) await open(number);
  const margin = Math.max(2000, end - start);
  view(start - margin, end + margin);
  listen(start, true);
  say(`${place + 1} of the ${left.length} worst: ${KINDS[kind].text} of ${data.systems[system].name} in `
    + `${data.recordings[number].name}, ${(start / 1000).toFixed(2)} to ${(end / 1000).toFixed(2)} s`);
}

function start() {
  byId("recording").append(...data.recordings.map(
    (each, number) => element("option", { value: number, textContent: `${each.name} (${each.where})` })));
  byId("kind").append(...KINDS.map(
    (kind, number) => element("option", { value: number, textContent: kind.text })));
  byId("systems").append(...data.systems.map((system, number) => element("label", {},
    element("input", { type: "checkbox", value: number, checked: system.final }), ` ${system.name}`)));
  byId("legend").append(...KINDS.flatMap((kind) => {
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = kind.colour;
    return [swatch, kind.text];
  }));
  for (const button of all(".open")) {
    button.addEventListener("click", () => {
      open(data.recordings.findIndex(
        (each) => each.name === button.textContent && each.where === button.dataset.where));
      byId("explorer").scrollIntoView();
    });
  }
  byId("recording").addEventListener("change", () => open(Number(byId("recording").value)));
  for (const id of ["systems", "kind"]) byId(id).addEventListener("change", () => { nextWorst = 0; view(from, to); });
  byId("worst").addEventListener("click", showNextWorst);
  byId("in").addEventListener("click", () => zoom(0.5));
  byId("out").addEventListener("click", () => zoom(2));
  byId("whole").addEventListener("click", () => view(0, timeline.end));
  byId("position").addEventListener("input", () => {
    const start = (timeline.end - (to - from)) * byId("position").value / 1000;
    view(start, start + to - from);
  });
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey) zoom(event.deltaY > 0 ? 1.25 : 0.8, toTime(event.offsetX));
    else if (event.deltaX) view(from + event.deltaX * (to - from) / 1000, to + event.deltaX * (to - from) / 1000);
    else return;
    event.preventDefault();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const tenth = (to - from) / 10;
    const keys = {
      ArrowLeft: () => view(from - tenth, to - tenth), ArrowRight: () => view(from + tenth, to + tenth),
      "+": () => zoom(0.5), "-": () => zoom(2), 0: () => view(0, timeline.end),
      " ": () => audio.paused ? listen(audio.currentTime * 1000, true) : audio.pause(),
    };
    if (!(event.key in keys)) return;
    keys[event.key]();
    event.preventDefault();
  });
  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => {
    dragged = { x: event.offsetX, from, to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    dragged.moved ||= Math.abs(event.offsetX - dragged.x) > 4;
    const by = (dragged.x - event.offsetX) * (to - from) / (canvas.clientWidth - gutter());
    if (dragged.moved) view(dragged.from + by, dragged.to + by);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (dragged && !dragged.moved && event.offsetX >= gutter()) listen(toTime(event.offsetX), true);
    dragged = null;
  });
  audio.addEventListener("seeked", draw);
  audio.addEventListener("timeupdate", draw);
  audio.addEventListener("error", () => { if (audio.hasAttribute("src")) say("The audio of this recording cannot be read."); });
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  open(0);
}

if (data.recordings.length) start();
// Once the page answers: plotly.js is large.
requestIdleCallback(() => all(".plot").forEach((place) => seen.observe(place)));
