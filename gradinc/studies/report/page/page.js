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
  const parts = box => document.querySelectorAll(`[data-s="${box.value}"]`);
  const style = part => Number(/(?:^| )c(\d+)/.exec(part.getAttribute("class"))?.[1]);
  const restyle = (part, old, now) => {  // class c3 and marker m3
    part.classList.replace(`c${old}`, `c${now}`);
    for (const use of part.querySelectorAll("use")) use.setAttribute("href", `#m${now}`);
  };
  const distinguish = box => {  // another style if a chosen setting has the same one
    const own = style(box.parentNode);
    const taken = new Set(boxes.filter(each => each.checked && each !== box).map(each => style(each.parentNode)));
    const free = [...document.querySelectorAll(".markers path")].map((_, i) => i + 1).find(n => !taken.has(n));
    if (taken.has(own) && free) for (const part of parts(box)) if (style(part)) restyle(part, own, free);
  };
  const show = box => {
    if (box.checked) distinguish(box);
    for (const part of parts(box)) {
      if (part.matches("label")) continue;
      part.classList.toggle("off", !box.checked);
      if (box.checked && part.matches("g")) part.parentNode.append(part);
    }
    document.body.classList.toggle("crowded", boxes.filter(each => each.checked).length > 5);
  };
  chooser.hidden = false;
  for (const box of boxes) box.addEventListener("change", () => show(box));
  for (const button of chooser.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      for (const box of boxes) { box.checked = Boolean(button.dataset.all); show(box); }
    });
  }
}
