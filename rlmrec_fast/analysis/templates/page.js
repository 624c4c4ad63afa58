"use strict";
const all = (query, root = document) => [...root.querySelectorAll(query)];

// Light or dark: the system's choice until the button is pressed.
document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const now = root.style.colorScheme || system;
  root.style.colorScheme = now === "dark" ? "light" : "dark";
  draw();
});

// Tables: numbers from the largest down first; rows without one stay last.
for (const table of all("table.sortable")) {
  const heads = all("thead th", table);
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = column === 0 ? "ascending" : "descending";
    const second = column === 0 ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", order);
    const body = table.tBodies[0];
    const value = (row) => {
      const text = row.cells[column].dataset.value;
      return text === "" ? NaN : Number(text);
    };
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return order === "ascending" ? x - y : y - x;
    });
    body.append(...rows);
  }));
}

// Case studies.
const select = document.getElementById("case");
const showCase = () => {
  for (const article of all(".case")) article.hidden = article.dataset.case !== select.value;
};
const stepCase = (by) => {
  const count = select.options.length;
  select.selectedIndex = (select.selectedIndex + by + count) % count;
  showCase();
};
select.addEventListener("change", showCase);
document.getElementById("previous").addEventListener("click", () => stepCase(-1));
document.getElementById("next").addEventListener("click", () => stepCase(1));
for (const entry of all(".case li")) {
  const mark = (on) => {
    for (const other of all(`li[data-row="${entry.dataset.row}"]`, entry.closest(".case"))) {
      other.classList.toggle("pointed-at", on);
    }
  };
  entry.addEventListener("pointerenter", () => mark(true));
  entry.addEventListener("pointerleave", () => mark(false));
}
showCase();

// Maps.
const data = JSON.parse(document.getElementById("map-data").textContent);
const unpack = (text, Kind) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
};
const points = data.points.map((text) => unpack(text, Uint16Array));
const labels = unpack(data.labels, Uint8Array);
const near = unpack(data.near, Int32Array);
const planes = all(".plane");
const shown = data.clusters.map(() => true);
let pointed = -1;
let held = false;

const place = (space, row, size) => {
  const margin = 8;
  const scale = (size - 2 * margin) / 4095;
  return [margin + points[space][2 * row] * scale, size - margin - points[space][2 * row + 1] * scale];
};

const prepared = (canvas, size) => {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.height = Math.round(size * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
};

const draw = () => {
  planes.forEach((plane, space) => {
    const size = plane.clientWidth;
    const context = prepared(plane.querySelector("canvas"), size);
    const radius = Math.min(3, Math.max(0.9, 90 / Math.sqrt(labels.length)));
    context.globalAlpha = 0.72;
    for (let row = 0; row < labels.length; row++) {
      if (!shown[labels[row]]) continue;
      context.fillStyle = data.colours[labels[row] % data.colours.length];
      context.beginPath();
      context.arc(...place(space, row, size), radius, 0, 7);
      context.fill();
    }
  });
  mark();
};

const mark = () => {
  planes.forEach((plane, space) => {
    const size = plane.clientWidth;
    const context = prepared(plane.querySelector(".marks"), size);
    if (pointed < 0) return;
    const ink = getComputedStyle(document.body).color;
    const ring = (row, radius, width) => {
      context.lineWidth = width;
      context.strokeStyle = ink;
      context.fillStyle = data.colours[labels[row] % data.colours.length];
      context.beginPath();
      context.arc(...place(space, row, size), radius, 0, 7);
      context.fill();
      context.stroke();
    };
    for (let at = 0; at < data.nearest; at++) {
      const row = near[pointed * data.nearest + at];
      if (row >= 0) ring(row, 3.2, 1);
    }
    ring(pointed, 6, 2);
  });
  document.getElementById("pointed").textContent = pointed < 0 ? "\u00a0" : data.titles[pointed];
};

const nearestRow = (space, plane, event) => {
  const box = plane.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let best = -1;
  let distance = 18 * 18;
  for (let row = 0; row < labels.length; row++) {
    if (!shown[labels[row]]) continue;
    const [px, py] = place(space, row, box.width);
    const own = (px - x) ** 2 + (py - y) ** 2;
    if (own < distance) [best, distance] = [row, own];
  }
  return best;
};

planes.forEach((plane, space) => {
  plane.addEventListener("pointermove", (event) => {
    if (held) return;
    pointed = nearestRow(space, plane, event);
    mark();
  });
  plane.addEventListener("pointerleave", () => {
    if (held) return;
    pointed = -1;
    mark();
  });
  plane.addEventListener("click", (event) => {
    const row = nearestRow(space, plane, event);
    held = row >= 0 && !(held && row === pointed);
    pointed = row;
    mark();
  });
});

for (const button of all("#clusters button")) {
  button.addEventListener("click", () => {
    const at = Number(button.dataset.cluster);
    shown[at] = !shown[at];
    button.setAttribute("aria-pressed", String(shown[at]));
    draw();
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
new ResizeObserver(draw).observe(document.querySelector(".maps"));
