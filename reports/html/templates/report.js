// ---- the pictures: each is drawn when it comes into view, and plotly.js is run with the first

let plotly = null;

async function library() {
  document.head.append(element("script", { textContent: await inflated(byId("plotly").textContent).text() }));
  return globalThis.Plotly;
}

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

// ---- the errors on the timeline

const KINDS = [
  { text: "miss", colour: "#7a1fa2" },
  { text: "false alarm", colour: "#d55e00" },
  { text: "confusion", colour: "#56b4e9" },
];
const HEADS = ["System", "Kind", "From s", "To s", "Speakers"];
let nextWorst = 0;

const shownSystems = () => all("#systems input:checked").map((box) => Number(box.value));
const layers = () => timeline.systems.filter((layer) => shownSystems().includes(layer.system));

function tracks() {
  const mapped = (layer) => layer.speakers.map((speaker, lane) =>
    layer.mapping[lane] < 0 ? speaker : `${speaker} → ${timeline.speakers[layer.mapping[lane]]}`);
  return [
    lanesTrack("Reference", timeline.speakers, timeline.turns, ofSpeaker),
    ...layers().flatMap((layer) => [
      lanesTrack(data.systems[layer.system].name, mapped(layer), layer.turns, (lane) => ofSpeaker(layer.mapping[lane])),
      stripsTrack("errors", KINDS.map((kind) => kind.colour), layer.errors),
    ]),
  ];
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

function listMissing() {
  byId("missing").hidden = !timeline.missing.length;
  byId("missing").textContent = `Missing, or changed since scoring: ${timeline.missing.join("; ")}`;
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
  for (const id of ["systems", "kind"]) byId(id).addEventListener("change", () => { nextWorst = 0; view(from, to); });
  byId("worst").addEventListener("click", showNextWorst);
  startTimeline({ tracks, onView: listErrors, onOpen: listMissing });
}

if (data.recordings.length) start();
// Once the page answers: plotly.js is large.
requestIdleCallback(() => all(".plot").forEach((place) => seen.observe(place)));
