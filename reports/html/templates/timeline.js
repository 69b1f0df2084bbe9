// ---- a recording on a canvas: tracks below one another, with zoom, and audio that plays from a click; times in ms

const data = JSON.parse(byId("data").textContent);
// Okabe and Ito's colours, told apart by the colour-blind; the speaker's name stands beside each lane as well.
const SPEAKERS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d00", "#5e4fa2"];
const NOBODY = "#9a9a9a";
const LANE = 16, STRIP = 7, TITLE = 18, RULER = 20, WAVE = 64;
const canvas = byId("timeline"), audio = byId("audio");
const unpacked = new Map();
let recording = 0, timeline = null, from = 0, to = 1, soundUrl = null;
// What a page adds: its tracks, and what it does when the view or the recording changes.
let page = { tracks: () => [], onView: () => {}, onOpen: () => {} };

async function unpack(number) {
  if (!unpacked.has(number)) unpacked.set(number, await inflated(data.recordings[number].packed).json());
  return unpacked.get(number);
}

const seconds = (ms) => (ms / 1000).toFixed(ms % 1000 && to - from < 60000 ? 2 : 1);
const gutter = () => Math.min(150, canvas.clientWidth / 4);
const toX = (ms) => gutter() + (canvas.clientWidth - gutter()) * (ms - from) / (to - from);
const toTime = (x) => from + (to - from) * (x - gutter()) / (canvas.clientWidth - gutter());
const ofSpeaker = (number) => number < 0 ? NOBODY : SPEAKERS[number % SPEAKERS.length];

function view(start, end) {
  const length = Math.min(Math.max(end - start, 200), timeline.end);
  from = Math.min(Math.max(start, 0), timeline.end - length);
  to = from + length;
  byId("position").value = timeline.end > length ? Math.round(1000 * from / (timeline.end - length)) : 0;
  canvas.dataset.from = Math.round(from);
  canvas.dataset.to = Math.round(to);
  draw();
  page.onView();
}

function zoom(factor, around = (from + to) / 2) {
  view(around - (around - from) * factor, around + (to - around) * factor);
}

function bar(context, start, end, y, tall, colour) {
  if (end < from || start > to) return;
  const left = Math.max(toX(start), gutter()), right = Math.min(toX(end), canvas.clientWidth);
  context.fillStyle = colour;
  context.fillRect(left, y, Math.max(right - left, 1), tall);
}

function label(context, text, y, bold = false) {
  context.save();
  context.beginPath();
  context.rect(0, y - TITLE / 2, bold ? canvas.clientWidth : gutter() - 4, TITLE);
  context.clip();
  context.fillStyle = colour("--ink");
  context.font = `${bold ? "600 " : ""}12px system-ui, sans-serif`;
  context.fillText(text, 4, y);
  context.restore();
}

// A lane for each speaker; turns are a flat list of start, end and lane.
function lanesTrack(title, speakers, turns, colourOf) {
  return {
    height: TITLE + LANE * speakers.length,
    draw(context, y) {
      label(context, title, y + TITLE / 2, true);
      speakers.forEach((speaker, lane) => label(context, speaker, y + TITLE + LANE * (lane + 0.5)));
      for (let at = 0; at < turns.length; at += 3) {
        const lane = turns[at + 2];
        bar(context, turns[at], turns[at + 1], y + TITLE + LANE * lane + 1, LANE - 2, colourOf(lane));
      }
    },
  };
}

// Thin strips, one for each colour; spans are a flat list of start, end, strip and any number.
function stripsTrack(title, colours, spans) {
  return {
    height: STRIP * colours.length + 4,
    draw(context, y) {
      label(context, title, y + STRIP * colours.length / 2);
      for (let at = 0; at < spans.length; at += 4) {
        bar(context, spans[at], spans[at + 1], y + STRIP * spans[at + 2], STRIP - 1, colours[spans[at + 2]]);
      }
    },
  };
}

// The level of the audio as a symmetric shape: a value from 0 to 99 for each step.
function waveTrack(title, values, step) {
  return {
    height: TITLE + WAVE,
    draw(context, y) {
      label(context, title, y + TITLE / 2, true);
      const width = canvas.clientWidth, middle = y + TITLE + WAVE / 2;
      context.fillStyle = colour("--quiet");
      for (let x = Math.ceil(gutter()); x < width; x += 1) {
        const first = Math.floor(toTime(x) / step), last = Math.max(Math.floor(toTime(x + 1) / step), first + 1);
        let most = 0;
        for (let at = first; at < last && at < values.length; at += 1) most = Math.max(most, values[at]);
        const tall = Math.max(1, most / 99 * (WAVE - 4));
        context.fillRect(x, middle - tall / 2, 1, tall);
      }
    },
  };
}

function draw() {
  const width = canvas.clientWidth, context = canvas.getContext("2d"), tracks = page.tracks();
  const height = RULER + tracks.reduce((sum, track) => sum + track.height, 0) + 4;
  canvas.style.height = `${height}px`;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  context.scale(devicePixelRatio, devicePixelRatio);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";

  let edge = 0;
  for (const [start, end] of timeline.regions) {
    bar(context, edge, start, RULER, height, colour("--grey"));
    edge = end;
  }
  bar(context, edge, timeline.end, RULER, height, colour("--grey"));
  const least = 80 * (to - from) / Math.max(width - gutter(), 1); // 80 pixels
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600]
    .map((s) => s * 1000).find((s) => s >= least) || 7200000 * Math.ceil(least / 7200000);
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    bar(context, at, at, 0, height, colour("--grid"));
    context.fillStyle = colour("--ink");
    if (toX(at) + 55 < width) context.fillText(`${seconds(at)} s`, toX(at) + 3, RULER / 2);
  }
  let y = RULER;
  for (const track of tracks) {
    track.draw(context, y);
    y += track.height;
  }
  const now = audio.currentTime * 1000;
  if (now >= from && now <= to) bar(context, now, now, 0, height, "#e02020");
}

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
  page.onOpen();
  view(0, timeline.end);
}

function startTimeline(hooks) {
  page = hooks;
  byId("recording").append(...data.recordings.map(
    (each, number) => element("option", { value: number, textContent: `${each.name} (${each.where})` })));
  byId("recording").addEventListener("change", () => open(Number(byId("recording").value)));
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
