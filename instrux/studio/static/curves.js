// Draws a run's metrics, or several runs' on the same axes, and goes on as lines are added.
"use strict";
(() => {
  const place = document.getElementById("curves");
  const live = document.getElementById("live");
  const runs = JSON.parse(place.dataset.runs).map(([id, name]) => ({ id, name, offset: 0, rows: new Map() }));
  const FIRST = ["loss", "eval_loss", "accuracy", "learning_rate", "gradient_norm", "tokens_per_second", "model_flops_utilisation", "padding_share"];
  const LEFT_OUT = new Set(["step", "seconds"]);
  const WIDTH = 460, HEIGHT = 230, LEFT = 56, RIGHT = 12, TOP = 10, BOTTOM = 30;
  const SVG = "http://www.w3.org/2000/svg";
  const POLL = 3000;

  const made = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const shown = (value) => {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(1);
    return Number(value.toPrecision(4)).toLocaleString("en");
  };
  const words = (name) => name.replaceAll("_", " ");

  function ticks(low, high) {
    const raw = (high - low) / 4 || 1;
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= raw);
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) found.push(Number(at.toPrecision(12)));
    return found;
  }

  function series(name) {
    return runs.map((run) => [...run.rows.values()].filter((row) => name in row).map((row) => [row.step, row[name]]).sort((a, b) => a[0] - b[0]));
  }

  function panel(name) {
    const lines = series(name);
    const all = lines.flat();
    let [low, high] = [Infinity, -Infinity], [first, last] = [Infinity, -Infinity];
    for (const [step, value] of all) {
      low = Math.min(low, value); high = Math.max(high, value);
      first = Math.min(first, step); last = Math.max(last, step);
    }
    if (low === high) { low -= Math.abs(low) * 0.1 || 1; high += Math.abs(high) * 0.1 || 1; }
    if (first === last) { first -= 1; last += 1; }
    const x = (step) => LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT);
    const y = (value) => TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM);
    const told = lines.map((points, i) => points.length ? `${runs[i].name}: from ${shown(points[0][1])} to ${shown(points.at(-1)[1])}` : "").filter(Boolean).join("; ");
    const svg = made("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${words(name)} over steps. ${told}` });
    for (const at of ticks(low, high)) {
      svg.append(made("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(at), y2: y(at) }));
      svg.append(made("text", { class: "tick left", x: LEFT - 6, y: y(at) + 4 }, shown(at)));
    }
    for (const at of ticks(first, last)) svg.append(made("text", { class: "tick", x: x(at), y: HEIGHT - 10 }, shown(at)));
    lines.forEach((points, i) => {
      if (points.length === 1) svg.append(made("circle", { class: `dot arm${i}`, cx: x(points[0][0]), cy: y(points[0][1]), r: 3 }));
      const path = points.map(([step, value], k) => `${k ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      svg.append(made("path", { class: `curve arm${i}`, d: path }));
    });
    const rule = made("line", { class: "rule", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    svg.append(rule);
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const title = document.createElement("strong");
    const value = document.createElement("span");
    title.textContent = words(name);
    value.className = "muted";
    const ends = () => lines.map((points) => points.length ? shown(points.at(-1)[1]) : "–").join("  ");
    value.textContent = ends();
    caption.append(title, " ", value);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const step = first + ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (last - first);
      const near = lines.map((points) => points.reduce((best, point) => !best || Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best, null));
      const one = near.find(Boolean);
      if (!one) return;
      rule.setAttribute("x1", x(one[0])); rule.setAttribute("x2", x(one[0])); rule.setAttribute("visibility", "visible");
      value.textContent = `step ${one[0].toLocaleString("en")}: ${near.map((point) => point ? shown(point[1]) : "–").join("  ")}`;
    });
    svg.addEventListener("pointerleave", () => { rule.setAttribute("visibility", "hidden"); value.textContent = ends(); });
    figure.append(caption, svg);
    return figure;
  }

  function draw() {
    const names = new Set();
    for (const run of runs) for (const row of run.rows.values()) for (const name of Object.keys(row)) if (!LEFT_OUT.has(name)) names.add(name);
    const ordered = [...FIRST.filter((name) => names.has(name)), ...[...names].filter((name) => !FIRST.includes(name)).sort()];
    if (!ordered.length) {
      place.textContent = "No metrics yet.";
      return;
    }
    place.replaceChildren(...ordered.map(panel));
  }

  async function read(run) {
    const answer = await fetch(`/runs/${run.id}/metrics?after=${run.offset}`);
    if (!answer.ok) throw new Error(String(answer.status));
    const points = await answer.json();
    if (points.restarted) run.rows.clear();
    // A run that went back to a checkpoint logs steps again: the later line counts. Losses on held-out rows are lines of their own.
    for (const row of points.rows) run.rows.set(row.step, { ...run.rows.get(row.step), ...row });
    run.offset = points.offset;
    run.sampled = run.sampled || points.sampled;
    return points.rows.length;
  }

  let drawn = false;
  async function poll() {
    let wait = POLL;
    if (!document.hidden) {
      try {
        const added = await Promise.all(runs.map(read));
        if (!drawn || added.some(Boolean)) draw();
        drawn = true;
        const sampled = runs.some((run) => run.sampled) ? " Of a long run, some 2,000 steps are drawn." : "";
        live.textContent = `New steps appear by themselves.${sampled}`;
        if (!added.some(Boolean)) wait = 2 * POLL;
      } catch (error) {
        live.textContent = "The studio does not answer; trying again.";
        wait = 3 * POLL;
      }
    }
    setTimeout(poll, wait);
  }
  poll();
})();
