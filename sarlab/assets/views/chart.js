// Rate and distortion: axes, scenes and series by choice, values by pointer and by arrow keys.
// What it draws is the JSON that the figure carries; nothing is fetched.
(() => {
  "use strict";
  const NS = "http://www.w3.org/2000/svg";
  const REACH = 40; // pixels from a point within which the pointer finds it
  const NARROW = 460; // pixels of width below which lines have no labels: the buttons are the key

  const text = (value) => {
    if (value === 0) return "0";
    const digits = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
    return String(digits).replace("-", "\u2212");
  };
  const escaped = (words) => words.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const marker = (shape, x, y, r) => ({
    o: `<circle cx="${x}" cy="${y}" r="${r}"/>`,
    s: `<rect x="${x - 0.9 * r}" y="${y - 0.9 * r}" width="${1.8 * r}" height="${1.8 * r}"/>`,
    "^": `<path d="M${x} ${y - 1.2 * r}l${1.15 * r} ${2.1 * r}h${-2.3 * r}z"/>`,
    v: `<path d="M${x} ${y + 1.2 * r}l${1.15 * r} ${-2.1 * r}h${-2.3 * r}z"/>`,
    D: `<path d="M${x} ${y - 1.3 * r}l${1.3 * r} ${1.3 * r} ${-1.3 * r} ${1.3 * r} ${-1.3 * r} ${-1.3 * r}z"/>`,
    P: `<path d="M${x - r} ${y}h${2 * r}M${x} ${y - r}v${2 * r}" fill="none" stroke-width="2.6"/>`,
    X: `<path d="M${x - r} ${y - r}l${2 * r} ${2 * r}M${x - r} ${y + r}l${2 * r} ${-2 * r}" fill="none" stroke-width="2.6"/>`,
  })[shape] ?? "";

  // Ticks at 1, 2 or 5 times a power of ten, or at powers of two where the axis is logarithmic.
  const ticksOf = (low, high, log) => {
    if (log) {
      const first = Math.ceil(Math.log2(low)), last = Math.floor(Math.log2(high));
      if (last - first >= 2) return Array.from({ length: last - first + 1 }, (_, i) => 2 ** (first + i));
    }
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high * (1 + 1e-9); i++) found.push(Number((i * step).toPrecision(6)));
    return found;
  };
  // Moves labels apart so that neighbors keep a gap, downwards first and back up where the plot ends. Of lines that end at
  // about one height, the one that ends first comes first: it runs above the others.
  const spread = (ends, gap, bottom) => {
    const order = ends.map(({ py, px }, i) => [py, i, Math.round(py / gap), px]).sort((a, b) => a[2] - b[2] || a[3] - b[3]), moved = [];
    order.forEach(([y], k) => { moved[k] = k ? Math.max(y, moved[k - 1] + gap) : y; });
    for (let k = moved.length - 1, most = bottom; k >= 0; k--, most = moved[k + 1] - gap) moved[k] = Math.min(moved[k], most);
    return order.reduce((all, [, i], k) => { all[i] = moved[k]; return all; }, []);
  };

  const start = (root) => {
    const find = (selector) => root.querySelector(selector);
    const data = JSON.parse(find("script[type='application/json']").textContent);
    const plot = find(".sl-plot"), tip = find(".sl-tip"), said = find(".sl-said"), absent = find(".sl-absent");
    const pick = (name) => find(`select[name="${name}"]`).value;
    const buttons = [...root.querySelectorAll("button[data-series]")];
    const svg = document.createElementNS(NS, "svg"), mark = document.createElementNS(NS, "g");
    plot.prepend(svg);
    let points = [], at = null; // points that are drawn, and the one that is told

    const layout = () => {
      const x = pick("x"), y = pick("y"), log = find("input[name=log]").checked;
      const shown = [], missing = [];
      for (const button of buttons) {
        const series = data.series[button.dataset.series], place = series.points[pick("where")]?.[pick("band")];
        if (button.getAttribute("aria-pressed") !== "true") continue;
        const kept = [];
        (place?.x[x] ?? []).forEach((value, i) => {
          const height = place.y[y]?.[i];
          if (value !== null && height !== null && height !== undefined && !(log && value <= 0)) {
            kept.push({ series, x: value, y: height, low: place.low?.[y]?.[i] ?? null, high: place.high?.[y]?.[i] ?? null, i, place });
          }
        });
        kept.sort((a, b) => a.x - b.x);
        if (kept.length) shown.push({ series, points: kept });
        else if (!series.bound) missing.push(series.name); // limits are of one measure
      }
      return { x, y, log, shown, missing };
    };

    const draw = () => {
      const { x, y, log, shown, missing } = layout();
      const width = Math.max(plot.clientWidth, 260), height = Math.round(Math.min(Math.max(0.6 * width, 260), 420));
      const axis = { x: data.x.find((a) => a.name === x), y: data.y.find((a) => a.name === y) };
      const wide = width >= NARROW, longest = Math.max(0, ...shown.map((line) => line.series.name.length));
      const box = { left: 46, top: 26, right: width - (wide ? 18 + 6.6 * longest : 10), bottom: height - 40 };
      points = shown.flatMap((line) => line.points);
      at = null;
      tell();
      absent.textContent = missing.length ? `Not defined or not measured on these axes: ${missing.join(", ")}.` : "";
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      if (!points.length) { svg.innerHTML = `<text x="${width / 2}" y="${height / 2}" text-anchor="middle">Nothing to draw: choose a series.</text>`; return; }
      const scale = (v) => (log ? Math.log2(v) : v);
      const edges = (values, pad) => {
        const low = Math.min(...values), high = Math.max(...values), room = (high - low || Math.abs(high) || 1) * pad;
        return [low - room, high + room];
      };
      // Limits go on far beyond what was measured: the measured series decide the range.
      const solid = points.some((p) => !p.series.bound) ? points.filter((p) => !p.series.bound) : points;
      const [left, right] = edges(solid.map((p) => scale(p.x)), 0.03);
      const [bottom, top] = edges(solid.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]), 0.05);
      const px = (v) => box.left + ((scale(v) - left) / (right - left)) * (box.right - box.left);
      const py = (v) => box.bottom - ((v - bottom) / (top - bottom)) * (box.bottom - box.top);
      for (const point of points) [point.px, point.py] = [px(point.x), py(point.y)];

      const parts = [`<clipPath id="${root.id}-clip"><rect x="${box.left - 6}" y="${box.top - 6}" width="${box.right - box.left + 12}" height="${box.bottom - box.top + 12}"/></clipPath>`];
      const unlog = (v) => (log ? 2 ** v : v);
      for (const value of ticksOf(bottom, top, false)) parts.push(`<path class="sl-grid" d="M${box.left} ${py(value)}H${box.right}"/><text x="${box.left - 7}" y="${py(value) + 4}" text-anchor="end">${text(value)}</text>`);
      const along = ticksOf(unlog(left), unlog(right), log), sparse = Math.ceil((along.length * 44) / (box.right - box.left));
      for (const value of along.filter((_, i) => i % sparse === 0)) parts.push(`<path class="sl-grid" d="M${px(value)} ${box.top}V${box.bottom}"/><text x="${px(value)}" y="${box.bottom + 16}" text-anchor="middle">${text(value)}</text>`);
      const ideal = { zero: 0, one: 1 }[axis.y.better];
      if (ideal !== undefined && ideal >= bottom && ideal <= top) parts.push(`<path class="sl-ideal" d="M${box.left} ${py(ideal)}H${box.right}"/>`);
      const hint = { higher: "↑ better", lower: "↓ better", zero: "0 is perfect", one: "1 is perfect" }[axis.y.better] ?? "";
      parts.push(`<text class="sl-name" x="4" y="14">${escaped(axis.y.label)}<tspan class="sl-hint" dx="8">${hint}</tspan></text>`);
      parts.push(`<text x="${(box.left + box.right) / 2}" y="${height - 6}" text-anchor="middle">${escaped(axis.x.label)}</text>`);
      const inside = (p) => p.px <= box.right + 1 && p.px >= box.left - 1 && p.py >= box.top - 1 && p.py <= box.bottom + 1;
      points = points.filter(inside);
      const ends = shown.map((line) => line.points.filter(inside).at(-1) ?? { px: box.right, py: box.top });
      const moved = spread(ends, 14, box.bottom + 4);
      shown.forEach(({ series, points: line }, k) => {
        const style = `style="stroke:${series.color};fill:${series.hollow ? "var(--sl-paper)" : series.color}"`;
        const path = line.map((p, i) => `${i ? "L" : "M"}${p.px.toFixed(1)} ${p.py.toFixed(1)}`).join("");
        const bars = line.filter((p) => p.low !== null && p.high !== null).map((p) => `M${p.px.toFixed(1)} ${py(p.low).toFixed(1)}V${py(p.high).toFixed(1)}`).join("");
        const last = ends[k], y1 = moved[k];
        parts.push(
          `<g class="sl-series" data-name="${escaped(series.name)}" ${style} clip-path="url(#${root.id}-clip)">` +
          `<path d="${path}" fill="none" stroke-width="${series.width}"${series.dash ? ` stroke-dasharray="${series.dash}"` : ""}/>` +
          (bars ? `<path class="sl-bars" d="${bars}" fill="none"/>` : "") +
          line.map((p) => marker(series.marker, p.px, p.py, 3.6)).join("") + "</g>",
        );
        if (wide) parts.push(
          `<path class="sl-lead" style="stroke:${series.color}" d="M${last.px + 5} ${last.py}L${box.right + 10} ${y1}"/>` +
          `<text class="sl-end" style="fill:${series.color}" x="${box.right + 13}" y="${y1 + 4}">${escaped(series.name)}</text>`,
        );
      });
      svg.innerHTML = parts.join("");
      svg.append(mark);
      svg.setAttribute("aria-label", `${axis.y.label} over ${axis.x.label}. ${shown.map((line) => `${line.series.name}: ${line.points.length} points`).join("; ")}.`);
    };

    // Shows and says the values of the point `at`.
    const tell = () => {
      mark.replaceChildren();
      tip.hidden = !at;
      for (const group of svg.querySelectorAll(".sl-series")) group.classList.toggle("sl-faint", Boolean(at) && group.dataset.name !== at.series.name);
      if (!at) { said.textContent = ""; return; }
      const name = (axes, chosen) => axes.find((axis) => axis.name === chosen).label;
      const lines = data.x.filter((axis) => at.place.x[axis.name]?.[at.i] != null).map((axis) => text(at.place.x[axis.name][at.i]) + axis.short);
      const certain = at.low !== null && at.high !== null ? ` (${at.place.over}: ${text(at.low)} to ${text(at.high)})` : "";
      const values = `${name(data.y, pick("y"))}: ${text(at.y)}${certain}`;
      tip.innerHTML = `<b>${escaped(at.series.name)}</b><br>${escaped(lines.join(" · "))}<br>${escaped(values)}`;
      said.textContent = `${at.series.name}: ${lines.join(", ")}. ${values}.`;
      mark.innerHTML = `<circle cx="${at.px}" cy="${at.py}" r="8" fill="none" style="stroke:${at.series.color}" stroke-width="2"/>`;
      const box = plot.getBoundingClientRect(), ratio = box.width / svg.viewBox.baseVal.width;
      const above = at.py > svg.viewBox.baseVal.height / 2;
      tip.style.top = `${at.py * ratio + (above ? -12 - tip.offsetHeight : 12)}px`;
      tip.style.left = `${Math.min(Math.max(at.px * ratio - tip.offsetWidth / 2, 0), Math.max(0, box.width - tip.offsetWidth))}px`;
    };

    const nearest = (event) => {
      const box = svg.getBoundingClientRect(), ratio = svg.viewBox.baseVal.width / box.width;
      const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
      const found = points.map((p) => [Math.hypot(p.px - x, p.py - y), p]).sort((a, b) => a[0] - b[0])[0];
      return found && found[0] <= REACH ? found[1] : null;
    };
    for (const kind of ["pointermove", "pointerdown"]) plot.addEventListener(kind, (event) => {
      const found = nearest(event);
      if (found !== at) { at = found; tell(); }
    });
    for (const kind of ["pointerleave", "blur"]) plot.addEventListener(kind, () => { at = null; tell(); });
    plot.addEventListener("keydown", (event) => {
      const lines = [...new Set(points.map((p) => p.series))];
      const line = at ? points.filter((p) => p.series === at.series) : [];
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], turn = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey || !points.length) return;
      if (event.key === "Escape") at = null;
      else if (!at && (step || turn)) at = points[0];
      else if (step) at = line[Math.min(Math.max(line.indexOf(at) + step, 0), line.length - 1)];
      else if (event.key === "Home" && at) at = line[0];
      else if (event.key === "End" && at) at = line.at(-1);
      else if (turn) {
        const next = lines[(lines.indexOf(at.series) + turn + lines.length) % lines.length], from = at.px;
        at = points.filter((p) => p.series === next).reduce((best, p) => (Math.abs(p.px - from) < Math.abs(best.px - from) ? p : best));
      } else return;
      event.preventDefault();
      tell();
    });
    for (const button of buttons) button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      draw();
    });
    for (const button of root.querySelectorAll("button[data-all]")) button.addEventListener("click", () => {
      const group = [...button.closest("fieldset").querySelectorAll("button[data-series]")];
      const on = group.some((one) => one.getAttribute("aria-pressed") !== "true");
      group.forEach((one) => one.setAttribute("aria-pressed", String(on)));
      draw();
    });
    root.querySelectorAll("select, input").forEach((control) => control.addEventListener("change", draw));
    root.setAttribute("data-ready", "");
    new ResizeObserver(draw).observe(plot);
  };
  const all = () => document.querySelectorAll(".sl-chart:not([data-ready])").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
