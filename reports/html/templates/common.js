"use strict";
// Tables are sorted and filtered where they stand; commands are copied; what is folded is printed.
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

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
