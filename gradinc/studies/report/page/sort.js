// Sorts a table by the column whose heading is pressed; without it the tables are in their order.
for (const table of document.querySelectorAll("table.sort")) {
  const body = table.tBodies[0];
  table.tHead.querySelectorAll("th").forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "descending";
      for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "descending" : "ascending");
      const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const rows = [...body.rows].map(row => [key(row), row]);
      const numbers = rows.every(([value]) => value === "–" || value.trim() !== "" && !isNaN(value));
      rows.sort(([a], [b]) => {
        if (a === "–" || b === "–") return (a === "–") - (b === "–");
        const order = numbers ? a - b : a.localeCompare(b);
        return up ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}

// Shows the chosen settings in full; without it those that were chosen first stay so.
const chooser = document.querySelector(".chooser");
if (chooser) {
  const boxes = [...chooser.querySelectorAll("input")];
  const show = box => {
    for (const part of document.querySelectorAll(`[data-s="${box.value}"]`)) {
      part.classList.toggle("off", !box.checked);
      if (box.checked && part.matches("g")) part.parentNode.append(part);
    }
  };
  chooser.hidden = false;
  for (const box of boxes) box.addEventListener("change", () => show(box));
  for (const button of chooser.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      for (const box of boxes) { box.checked = Boolean(button.dataset.all); show(box); }
    });
  }
}
