// ---- the labels on the timeline

const LISTED = 10;
const LEVELS = [{ text: "error", colour: "#d55e00" }, { text: "warning", colour: "#cc79a7" }];

function tracks() {
  const places = timeline.findings.filter((finding) => finding.start !== null);
  return [
    waveTrack("Waveform", timeline.wave, timeline.step),
    lanesTrack("Reference", timeline.speakers, timeline.turns, ofSpeaker),
    ...places.length ? [stripsTrack("findings", LEVELS.map((level) => level.colour),
      places.flatMap((finding) => [finding.start, finding.end, finding.level, 0]))] : [],
  ];
}

function show(ms) {
  view(ms - 3000, ms + 7000);
  listen(ms, true);
}

function listFindings() {
  const found = timeline.findings;
  const items = found.slice(0, LISTED).map((finding) => {
    const item = element("li", { textContent: `${LEVELS[finding.level].text}, ${finding.text} ` });
    if (finding.start !== null) {
      const text = `Play ${(finding.start / 1000).toFixed(2)} s`;
      item.append(element("button", { type: "button", textContent: text, onclick: () => show(finding.start) }));
    }
    return item;
  });
  const more = found.length - LISTED;
  const rest = found.length ? `${more} more in the table below` : "Nothing";
  byId("here").replaceChildren(...items, ...more > 0 || !found.length ? [element("li", { textContent: rest })] : []);
}

function start() {
  for (const button of all(".open")) {
    button.addEventListener("click", async () => {
      await open(Number(button.dataset.recording));
      if (button.dataset.at) show(Number(button.dataset.at));
      byId("explorer").scrollIntoView();
    });
  }
  byId("next").addEventListener("click", () => open((recording + 1) % data.recordings.length));
  startTimeline({ tracks, onView: () => {}, onOpen: listFindings });
}

if (data.recordings.length) start();
