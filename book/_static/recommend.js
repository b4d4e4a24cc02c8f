// The recommender of the page on operating points: the same rule as `sarlab recommend`, on points that the page carries.
// Every point has, for each metric, the unfavorable end of its interval; a threshold is compared with that.
(function () {
  "use strict";

  const misses = (data, point, limits) =>
    limits.filter(({ name, side, value }) => {
      const bound = point.bounds[name], room = data.tolerance[name] ?? 0;
      return !(typeof bound === "number" && (side === "min" ? bound >= value - room : bound <= value + room));
    });

  const text = (value) => value.toPrecision(3).replace("-", "\u2212");
  const describe = (point) => `${point.name}: ${point.cr.toFixed(1)}× (${point.bpp.toPrecision(3)} bits per pixel)`;

  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const form = root.querySelector("form");
    const output = root.querySelector("output");

    const names = (limits) => {
      const labels = limits.map(({ name }) => data.metrics.find((metric) => metric.name === name).label);
      return labels.length ? `misses ${labels.join(", ")}` : "";
    };

    function read() {
      const limits = [];
      for (const input of form.querySelectorAll("input[data-metric]")) {
        const value = parseFloat(input.value);
        if (Number.isFinite(value)) limits.push({ name: input.dataset.metric, side: input.dataset.side, value });
      }
      const kinds = new Set([...form.querySelectorAll("input[type=checkbox]")].filter((b) => b.checked).map((b) => b.value));
      return { limits, points: data.points.filter((point) => kinds.has(point.kind)) };
    }

    function show() {
      const { limits, points } = read();
      const passing = points.filter((point) => !misses(data, point, limits).length);
      output.replaceChildren();
      if (!limits.length) {
        output.append(element("p", "Give at least one threshold."));
        return;
      }
      if (!passing.length) {
        output.append(element("p", `None of ${points.length} measured points meets these thresholds.`, "sl-verdict"));
        const short = (point) => {
          const missed = misses(data, point, limits);
          const by = missed.map(({ name, value }) => Math.abs((point.bounds[name] ?? 0) - value) / Math.max(Math.abs(value), 1e-9));
          return [missed.length, by.reduce((sum, share) => sum + share, 0)];
        };
        const closest = points.map((point) => [short(point), point]).sort(([a], [b]) => a[0] - b[0] || a[1] - b[1])[0]?.[1];
        if (closest) output.append(element("p", `Closest: ${describe(closest)}, ${names(misses(data, closest, limits))}.`));
        return;
      }
      const chosen = passing.reduce((best, point) => (point.cr > best.cr ? point : best));
      const series = points.filter((p) => p.kind === chosen.kind && p.series === chosen.series).sort((a, b) => a.cr - b.cr);
      const at = series.indexOf(chosen);
      output.append(element("p", `${chosen.cr.toFixed(1)}×`, "sl-answer"));
      output.append(element("p", `${chosen.name}, ${chosen.bpp.toPrecision(3)} bits per pixel and band`, "sl-verdict"));
      output.append(element("pre", chosen.command));
      const list = element("dl");
      for (const metric of data.metrics) {
        const value = chosen.means[metric.name];
        if (typeof value !== "number") continue;
        const sure = chosen.bounds[metric.name];
        const bound = typeof sure === "number" ? ` (unfavorable end ${text(sure)})` : "";
        list.append(element("dt", metric.label), element("dd", `${text(value)}${metric.unit}${bound}`));
      }
      output.append(list);
      if (chosen.lost.length) output.append(element("p", `Lost on average: ${chosen.lost.join(", ")}.`));
      output.append(element("p", `Measured on ${chosen.certain}.`));
      for (const [word, other] of [["More compression", series[at + 1]], ["Less compression", series[at - 1]]]) {
        if (!other) continue;
        const missed = names(misses(data, other, limits)) || "meets all";
        output.append(element("p", `${word}: ${describe(other)}, ${missed}.`));
      }
    }

    form.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const button of form.querySelectorAll("button[data-limits]")) {
      button.addEventListener("click", () => {
        const wanted = JSON.parse(button.dataset.limits);
        for (const input of form.querySelectorAll("input[data-metric]")) input.value = wanted[input.dataset.metric] ?? "";
        show();
      });
    }
    show();
  }

  const all = () => document.querySelectorAll(".sl-recommend").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
