"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const resetButton = document.getElementById("reset");
  const announced = document.getElementById("announced");
  const timed = [];
  let end = 0, from = 0, to = 0, at = null;

  /* The figures of each bin of a chart over time: its hidden columns contain them, with titles and formats. */
  const binsOf = (spec) => {
    const hover = spec.layer.find((layer) => layer.name === "hover");
    if (!hover) return null;
    const fields = hover.encoding.tooltip.slice(2).map(({ field, title, format }) => {
      const [label, unit] = title.split(", ");
      const percent = format.endsWith("%");
      const digits = Number(format.match(/\.(\d)/)[1]);
      const style = { style: percent ? "percent" : "decimal", minimumFractionDigits: digits, maximumFractionDigits: digits };
      const form = new Intl.NumberFormat("en", style);
      const written = (value) => form.format(value).replace("%", " %") + (unit ? (unit[0] === "/" ? "" : " ") + unit : "");
      return { field, label, written };
    });
    return { rows: hover.data.values ?? spec.datasets[hover.data.name], fields };
  };

  const clock = (s) => {
    if (end < 120) return `${Number(s.toFixed(2))} s`;
    const two = (n) => String(Math.floor(n)).padStart(2, "0");
    return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two((s / 60) % 60)}:${two(s % 60)}`;
  };

  const binAt = (rows, s) => {
    let low = 0, high = rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (rows[middle].s <= s) low = middle; else high = middle - 1;
    }
    return rows.length && rows[low].s <= s && s <= rows[low].s2 ? low : -1;
  };

  const reading = ({ bins }, s) => {
    const row = bins.rows[binAt(bins.rows, s)];
    if (!row) return `${clock(s)}: nothing`;
    const known = bins.fields.filter(({ field }) => row[field] !== undefined && row[field] !== null);
    const figures = known.map(({ field, label, written }) => `${label} ${written(row[field])}`);
    return `${clock(row.s)} to ${clock(row.s2)}: ${figures.join(" · ") || "nothing"}`;
  };

  /* Show one moment in all charts: a rule in each, and above it the figures of its bin. */
  const show = () => {
    for (const chart of timed) {
      const { view, rule, readout, unit } = chart;
      const seen = at !== null && at >= from && at <= to;
      rule.hidden = !seen;
      readout.hidden = at === null;
      unit.classList.toggle("covered", at !== null);
      if (at === null) continue;
      const [left, top] = view.origin();
      const place = { left: left + view.scale("x")(at), top: top + view.padding().top, height: view.height() };
      for (const [name, px] of Object.entries(place)) rule.style[name] = `${px}px`;
      readout.textContent = reading(chart, at);
    }
  };

  let asked = 0;
  const point = (s) => {
    at = s;
    if (!asked) asked = requestAnimationFrame(() => { asked = 0; show(); });
  };

  const look = async (first = 0, last = end) => {
    from = Math.max(0, first);
    to = Math.min(end, last);
    resetButton.hidden = from === 0 && to === end;
    await Promise.all(timed.map(({ view }) => view.signal("from_s", from).signal("to_s", to).runAsync()));
    show();
  };

  const zoom = (factor) => {
    const middle = at ?? (from + to) / 2;
    const width = Math.min(end, Math.max((to - from) * factor, 2));
    const first = Math.max(0, Math.min(middle - width / 2, end - width));
    look(first, first + width);
  };

  const step = (chart, by) => {
    const { rows } = chart.bins;
    if (!rows.length) return;
    const now = at === null ? -1 : binAt(rows, at);
    const seen = now < 0 ? (by < 0 ? rows.length - 1 : binAt(rows, from)) : now + by;
    const row = rows[Math.min(Math.max(seen, 0), rows.length - 1)];
    at = (row.s + Math.min(row.s2, end)) / 2;
    if (at < from || at > to) {
      const width = to - from;
      const first = Math.max(0, Math.min(at - width / 2, end - width));
      look(first, first + width);
    }
    show();
    announced.textContent = reading(chart, at);
  };

  const reset = () => { at = null; announced.textContent = ""; look(); };

  const keys = (chart) => (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => step(chart, -1), ArrowRight: () => step(chart, 1),
      Home: () => step(chart, -Infinity), End: () => step(chart, Infinity),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), Escape: reset,
    };
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  };

  const second = ({ plot, view }, event) => {
    const inset = view.origin()[0];
    const x = Math.min(Math.max(event.clientX - plot.getBoundingClientRect().left - inset, 0), view.width());
    return { x: x + inset, s: view.scale("x").invert(x) };
  };

  const drag = (chart, down) => {
    if (down.pointerType !== "mouse" || down.button !== 0) return;
    down.preventDefault();
    chart.plot.focus({ preventScroll: true, focusVisible: false });
    const start = second(chart, down);
    const brush = chart.plot.appendChild(Object.assign(document.createElement("div"), { className: "brush" }));
    const move = (event) => {
      const now = second(chart, event);
      brush.style.left = `${Math.min(start.x, now.x)}px`;
      brush.style.width = `${Math.abs(start.x - now.x)}px`;
    };
    const up = (event) => {
      const stop = second(chart, event);
      brush.remove();
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", up);
      if (Math.abs(start.x - stop.x) > 4) look(Math.min(start.s, stop.s), Math.max(start.s, stop.s));
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
  };

  const readable = (plot, view, bins) => {
    const unit = plot.closest("figure").querySelector(".unit");
    const rule = plot.appendChild(Object.assign(document.createElement("i"), { className: "rule", hidden: true }));
    const readout = Object.assign(document.createElement("span"), { className: "readout", hidden: true });
    unit.append(readout);
    const chart = { plot, view, bins, rule, readout, unit };
    timed.push(chart);
    plot.classList.add("zoomable");
    const spoken = { role: "application", tabindex: "0", "aria-roledescription": "chart over time", "aria-describedby": "hint" };
    for (const [name, value] of Object.entries(spoken)) plot.setAttribute(name, value);
    plot.addEventListener("keydown", keys(chart));
    plot.addEventListener("dblclick", reset);
    plot.addEventListener("pointerdown", (event) => drag(chart, event));
    plot.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") point(second(chart, event).s); });
    plot.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") point(null); });
    /* A finger scrolls the page; a tap shows the figures. */
    plot.addEventListener("click", (event) => { if (event.pointerType === "touch") point(second(chart, event).s); });
  };

  const draw = async ([name, spec]) => {
    const plot = document.getElementById(`plot-${name}`);
    const bins = binsOf(spec);
    spec.layer = spec.layer.filter((layer) => layer.name !== "hover");
    const options = { renderer: "svg", actions: false, tooltip: { theme: "custom", disableDefaultStyle: true } };
    const { view } = await vegaEmbed(plot, spec, options);
    if (bins) {
      end = to = view.signal("to_s");
      readable(plot, view, bins);
      view.addResizeListener(() => requestAnimationFrame(show));
    }
    plot.dataset.drawn = "";
  };

  /* Download a chart. The page's colours are written into it, since a file has no page to take them from. */
  const save = async (name, kind) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (variable) => style.getPropertyValue(variable).trim();
    const spec = JSON.parse(JSON.stringify(specs[name]).replace(/var\((--[\w-]+)\)/g, (_, variable) => colour(variable)));
    const figure = document.getElementById(`plot-${name}`).closest("figure");
    spec.width = figure.clientWidth;
    spec.background = colour("--paper");
    spec.title = { text: figure.querySelector("h3").textContent, anchor: "start", color: colour("--ink") };
    for (const param of spec.params ?? []) {
      if (param.name === "from_s") param.value = from;
      if (param.name === "to_s") param.value = to;
    }
    const { view } = await vegaEmbed(document.createElement("div"), spec, { renderer: "svg", actions: false });
    const href = await view.toImageURL(kind, kind === "png" ? 2 : 1);
    view.finalize();
    Object.assign(document.createElement("a"), { href, download: `${name}.${kind}` }).click();
  };
  for (const button of document.querySelectorAll("button[data-save]")) {
    button.hidden = false;
    button.addEventListener("click", () => save(button.dataset.chart, button.dataset.save));
  }

  const copyButton = document.getElementById("copy");
  if (copyButton) {
    copyButton.hidden = false;
    copyButton.addEventListener("click", async () => {
      const text = document.getElementById("markdown");
      try {
        await navigator.clipboard.writeText(text.value);
      } catch {
        text.hidden = false;
        text.select();
        document.execCommand("copy");
        text.hidden = true;
      }
      copyButton.textContent = "Copied";
    });
  }

  resetButton?.addEventListener("click", reset);
  Promise.all(Object.entries(specs).map(draw)).then(() => { document.body.dataset.drawn = Math.round(performance.now()); });
})();
