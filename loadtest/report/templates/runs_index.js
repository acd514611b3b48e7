"use strict";
(() => {
  const table = document.getElementById("all-runs");
  const heads = [...table.tHead.rows[0].cells];

  /* A figure sorts by its value, other cells by their text; what is not known comes last. */
  const keyOf = (row, column) => {
    const cell = row.cells[column], data = cell.querySelector("data");
    if (data) return data.value === "" ? null : Number(data.value);
    return cell.firstChild.textContent.toLowerCase();
  };

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending" || !head.hasAttribute("aria-sort");
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }));
})();
