"use strict";
// Sorting, filtering and searching of tables that are complete without this script.

function sortBy(heading) {
  const table = heading.closest("table");
  const headings = [...heading.parentElement.children];
  const column = headings.indexOf(heading);
  const better = heading.dataset.better;
  const other = better === "ascending" ? "descending" : "ascending";
  const order = heading.getAttribute("aria-sort") === better ? other : better;
  for (const one of headings) {
    if (one.hasAttribute("aria-sort")) one.setAttribute("aria-sort", one === heading ? order : "none");
  }
  const kind = heading.dataset.kind;
  const sign = order === "ascending" ? 1 : -1;
  const body = table.querySelector("tbody.models");
  if (!body) return;
  const rows = [...body.rows];
  const cellOf = (row) => row.cells[column];
  // What is not ranked never stands among what is, whichever way the column is sorted.
  const group = (row) => kind !== "number" ? 0 : "rank" in cellOf(row).dataset ? 0 : "value" in cellOf(row).dataset ? 1 : 2;
  const compared = (a, b) => {
    const [x, y] = [cellOf(a).dataset.value, cellOf(b).dataset.value];
    if (x === undefined || y === undefined) return 0;
    return sign * (kind === "text" ? x.localeCompare(y, "en") : Number(x) - Number(y));
  };
  rows.sort((a, b) => group(a) - group(b) || compared(a, b));
  body.append(...rows);
  if (kind === "number") showRanks(table, column);
}

function showRanks(table, column) {
  for (const row of table.querySelectorAll("tbody.models tr")) {
    row.querySelector(".rank").textContent = row.cells[column].dataset.rank || "";
  }
}

function filter() {
  const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const tiers = new Set([...document.querySelectorAll('input[name="tier"]:checked')].map((box) => box.value));
  let shown = 0;
  let all = 0;
  for (const row of document.querySelectorAll("tbody.models tr, details[data-name]")) {
    const name = row.dataset.name.toLowerCase();
    row.hidden = !(tiers.has(row.dataset.tier) && words.every((word) => name.includes(word)));
    if (row.tagName === "TR") {
      all += 1;
      if (!row.hidden) shown += 1;
    }
  }
  document.getElementById("shown").textContent = `${shown} of ${all} rows`;
}

function openTarget() {
  let element = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!element || element.tagName !== "DETAILS") return;
  const target = element;
  for (; element; element = element.parentElement) {
    if (element.tagName === "DETAILS") element.open = true;
  }
  target.scrollIntoView();
}

for (const button of document.querySelectorAll("table.board thead button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}
document.querySelector("form.filter").addEventListener("input", filter);
document.querySelector("form.filter").addEventListener("submit", (event) => event.preventDefault());
document.querySelector("form.filter").hidden = false;
window.addEventListener("hashchange", openTarget);
openTarget();
filter();
