"use strict";
// Draws every <figure class="picture"> from the JSON that it holds. A drawer builds its elements once and returns
// show(index, range): draw the checkpoint of that index on the scale of a range, one of RANGES.
(() => {
  const { element, addTools } = pictures;
  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const SEQUENTIAL = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"].map(rgb);
  const DIVERGING = ["#053061", "#2166ac", "#4393c3", "#92c5de", "#f7f7f7", "#fdb863", "#e08214", "#b35806", "#7f3b08"].map(rgb);
  const CYCLIC = ["#e2d9e2", "#95b5c7", "#6276ba", "#592a8f", "#2f1436", "#741e4f", "#b25652", "#cca389", "#e2d9e2"].map(rgb);
  const POSITIVE = "#0072b2", NEGATIVE = "#d55e00";

  // What a scale reaches over. The middle shows the small differences that a few far values hide.
  const CUT = 0.01;
  const RANGES = { all: "every checkpoint", own: "this checkpoint", middle: "its middle 98%" };

  const number = (value) => Number.isNaN(value) ? "no such input" : String(Number(value.toPrecision(6)));

  // For an axis or a bar: few digits, and none of them leading zeros.
  function brief(value, digits) {
    const small = value !== 0 && Math.abs(value) < 1e-3;
    return small ? value.toExponential(1) : String(Number(value.toPrecision(digits)));
  }

  const epochName = (epoch) => `epoch ${epoch.toLocaleString("en-US")}`;

  function unpack({ shape, float32 }) {
    const bytes = Uint8Array.from(atob(float32), (character) => character.charCodeAt(0));
    return { shape, values: new Float32Array(bytes.buffer) };
  }

  function colour(palette, share) {
    const place = Math.min(Math.max(share, 0), 1) * (palette.length - 1);
    const low = Math.min(Math.floor(place), palette.length - 2);
    return palette[low].map((from, i) => Math.round(from + (palette[low + 1][i] - from) * (place - low)));
  }

  // Zero in the middle where there are both signs; a range of its own otherwise. The share that is
  // cut at either end has the colour of that end.
  function scaleOf(arrays, cut = 0) {
    const values = Float32Array.from(arrays.flatMap((array) => [...array].filter((value) => !Number.isNaN(value)))).sort();
    const at = (share) => values[Math.round(share * (values.length - 1))] ?? share;
    let [low, high] = [at(cut), at(1 - cut)];
    const signed = low < 0 && high > 0;
    if (signed) [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
    return { low, high, palette: signed ? DIVERGING : SEQUENTIAL, below: values[0] < low, above: values.at(-1) > high };
  }

  function paint(canvas, rows, columns, values, { low, high, palette }) {
    [canvas.height, canvas.width] = [rows, columns];
    const image = new ImageData(columns, rows);
    values.forEach((value, i) => {
      if (Number.isNaN(value)) return;
      image.data.set([...colour(palette, high > low ? (value - low) / (high - low) : 0.5), 255], 4 * i);
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function ticks(axis, size) {
    return axis.names ?? [...new Set([0, Math.floor((size - 1) / 2), size - 1])].map(String);
  }

  function heatmaps(box, frames) {
    const panels = frames.map(({ data }) => data.panels.map((panel) => ({ ...panel, ...unpack(panel.values) })));
    const list = element(box, "div", { class: "panels" });
    const drawn = panels[0].map((panel, which) => heatmap(list, panel, (frame) => panels[frame][which]));
    const scales = {};
    return (frame, range) => {
      drawn.forEach((show, which) => {
        const { scale } = panels[frame][which], used = range === "all" ? panels.flat() : panels[frame];
        const own = () => scaleOf(used.filter((other) => other.scale === scale).map((other) => other.values), range === "middle" ? CUT : 0);
        show(frame, scales[[range, range === "all" || frame, scale]] ??= own());
      });
    };
  }

  function heatmap(parent, { title, row, column, shape: [rows, columns] }, at) {
    const box = element(parent, "div", { class: "panel" });
    element(box, "h4", {}, title);
    const plot = element(box, "div", { class: "plot" });
    const left = element(plot, "div", { class: row.names ? "rows named" : "rows" });
    const cells = element(plot, "div", {
      class: "cells", tabindex: 0, role: "img",
      "aria-label": `${title}: heatmap, ${row.label} down and ${column.label} across; arrow keys read the cells`,
      style: rows > 6 ? `aspect-ratio: ${columns} / ${rows}` : `height: ${rows * 1.8}rem`,
    });
    const canvas = element(cells, "canvas");
    const cursor = element(cells, "div", { class: "cursor", hidden: "" });
    const below = element(plot, "div", { class: "columns" });
    ticks(row, rows).forEach((tick, i) => element(left, "span", {}, i === 0 && !row.names ? `${row.label} = ${tick}` : tick));
    ticks(column, columns).forEach((tick, i) => element(below, "span", {}, i === 0 ? `${column.label} = ${tick}` : tick));
    const colours = element(plot, "div", { class: "colours", "aria-hidden": "true" });
    const [least, bar, most] = ["span", "canvas", "span"].map((tag) => element(colours, tag));
    const readout = element(box, "output", { class: "readout", "aria-live": "polite" });
    let values = null, cell = null;

    function read() {
      if (!cell) return;
      const [i, j] = cell;
      const name = (axis, index) => `${axis.label} ${axis.names ? axis.names[index] : `= ${index}`}`;
      readout.textContent = `${name(row, i)}, ${name(column, j)}: ${number(values[i * columns + j])}`;
      cursor.hidden = false;
      Object.assign(cursor.style, {
        left: `${100 * j / columns}%`, top: `${100 * i / rows}%`, width: `${100 / columns}%`, height: `${100 / rows}%`,
      });
    }
    function move(i, j) {
      cell = [Math.min(Math.max(i, 0), rows - 1), Math.min(Math.max(j, 0), columns - 1)];
      read();
    }
    function point(event) {
      const area = cells.getBoundingClientRect();
      move(Math.floor((event.clientY - area.top) / area.height * rows), Math.floor((event.clientX - area.left) / area.width * columns));
    }
    cells.addEventListener("pointermove", point);
    cells.addEventListener("pointerdown", point);
    cells.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      cell ? move(cell[0] + step[0], cell[1] + step[1]) : move(0, 0);
    });
    return (frame, scale) => {
      values = at(frame).values;
      paint(canvas, rows, columns, values, scale);
      paint(bar, 1, 64, Float32Array.from({ length: 64 }, (_, i) => i / 63), { low: 0, high: 1, palette: scale.palette });
      least.textContent = (scale.below ? "≤ " : "") + brief(scale.low, 3);
      most.textContent = (scale.above ? "≥ " : "") + brief(scale.high, 3);
      read();
    };
  }

  function circles(box, frames) {
    const panels = frames.map(({ data }) => data.panels.map((panel) => ({ ...panel, ...unpack(panel.points) })));
    const list = element(box, "div", { class: "panels" });
    const drawn = panels[0].map((panel, which) => circle(list, panel, (frame) => panels[frame][which]));
    return (frame, range) => {
      drawn.forEach((show, which) => {
        const used = (range === "all" ? panels : [panels[frame]]).map((group) => group[which].values);
        const { low, high } = scaleOf(used);
        show(frame, Math.max(Math.abs(low), Math.abs(high)) || 1);
      });
    };
  }

  function circle(parent, { title, frequency, tokens: names, shape: [count] }, at) {
    const box = element(parent, "div", { class: "panel" });
    element(box, "h4", {}, title);
    const note = element(box, "p", { class: "note" });
    const svg = element(box, "svg", {
      class: "circle", viewBox: "-110 -110 220 220", role: "img", tabindex: 0,
      "aria-label": `${title}: each token on its cos/sin plane; arrow keys go along the circle`,
    });
    element(svg, "line", { x1: -110, x2: 110, y1: 0, y2: 0 });
    element(svg, "line", { y1: -110, y2: 110, x1: 0, x2: 0 });
    const line = element(svg, "polyline");
    const phase = (token) => frequency * token % count;
    const tokens = Array.from({ length: count }, (_, token) => token);
    const order = [...tokens].sort((one, other) => phase(one) - phase(other));
    const dots = tokens.map((token) => element(svg, "circle", { class: "dot", r: 3.2, fill: `rgb(${colour(CYCLIC, phase(token) / count)})` }));
    const ring = element(svg, "circle", { class: "ring", cx: 0, cy: 0 });
    const readout = element(box, "output", { class: "readout", "aria-live": "polite" });
    let places = [], values = null, chosen = null;

    function read() {
      if (chosen === null) return;
      dots.forEach((dot, token) => dot.classList.toggle("chosen", token === chosen));
      const [x, y] = [values[2 * chosen], values[2 * chosen + 1]];
      readout.textContent = `token ${names[chosen]}: (${number(x)}, ${number(y)}), radius ${number(Math.hypot(x, y))}`;
    }
    function point(event) {
      const area = svg.getBoundingClientRect();
      const x = (event.clientX - area.left) / area.width * 220 - 110, y = (event.clientY - area.top) / area.height * 220 - 110;
      const distance = (token) => Math.hypot(places[token][0] - x, places[token][1] - y);
      chosen = tokens.reduce((best, token) => distance(token) < distance(best) ? token : best);
      read();
    }
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      chosen = chosen === null ? 0 : order.at((order.indexOf(chosen) + step) % count);
      read();
    });
    return (frame, radius) => {
      const panel = at(frame);
      values = panel.values;
      note.textContent = panel.note;
      ring.r.baseVal.value = 100 * panel.ring / radius;
      places = tokens.map((token) => [100 * values[2 * token] / radius, -100 * values[2 * token + 1] / radius]);
      dots.forEach((dot, token) => { [dot.cx.baseVal.value, dot.cy.baseVal.value] = places[token]; });
      line.setAttribute("points", [...order, order[0]].map((token) => places[token].join(",")).join(" "));
      read();
    };
  }

  function bars(box, frames) {
    // A cluster that has no neuron at a checkpoint adds nothing there.
    const order = new Map();
    for (const { data } of frames) for (const { label, order: place } of data.bars) order.set(label, place);
    const labels = [...order.keys()].sort((one, other) => order.get(one) - order.get(other));
    const found = frames.map(({ data }) => new Map(data.bars.map((bar) => [bar.label, bar])));
    const rows = labels.map((label) => {
      const row = element(box, "div", { class: "bar" });
      const name = element(row, "span", { class: "name" }, label);
      const note = element(name, "small");
      const track = element(row, "span", { class: "track", "aria-hidden": "true" });
      return { note, zero: element(track, "i"), filled: element(track, "b"), value: element(row, "span", { class: "value" }) };
    });
    return (frame, range) => {
      const used = (range === "all" ? frames : [frames[frame]]).flatMap(({ data }) => data.bars.map((bar) => bar.value));
      const [low, high] = [Math.min(0, ...used), Math.max(0, ...used)];
      const share = (value) => 100 * (value - low) / (high - low || 1);
      rows.forEach(({ note, zero, filled, value: text }, which) => {
        const { value, note: about } = found[frame].get(labels[which]) ?? { value: 0, note: "no neurons" };
        note.textContent = about ? ` (${about})` : "";
        // What cancels leaves rounding, which reads as a finding.
        text.textContent = value !== 0 && Math.abs(value) < 1e-9 * (high - low) ? "≈ 0" : brief(value, 4);
        zero.style.left = `${share(0)}%`;
        Object.assign(filled.style, {
          left: `${share(Math.min(value, 0))}%`, width: `${share(Math.abs(value)) - share(0)}%`,
          background: value < 0 ? NEGATIVE : POSITIVE,
        });
      });
    };
  }

  let boxes = 0;
  function attention(box, frames) {
    const id = `heads-${boxes++}`;
    element(box, "div", { id, class: "heads", role: "group", "aria-label": "attention pattern of each head; the table below has the numbers" });
    const details = element(box, "details");
    element(details, "summary", {}, "Attention from “=” in numbers");
    const table = element(details, "table");
    return (frame) => {
      const { heads, tokens, pattern } = frames[frame].data;
      const { shape: [, queries, keys], values } = unpack(pattern);
      const rows = heads.map((_, head) => Array.from({ length: queries }, (_, query) =>
        [...values.subarray((head * queries + query) * keys, (head * queries + query + 1) * keys)]));
      CircuitsVis.render(id, CircuitsVis.AttentionHeads, {
        attention: rows, tokens, attentionHeadNames: heads, minValue: 0, maxValue: 1, maskUpperTri: false, positiveColor: POSITIVE,
      });
      table.replaceChildren();
      const line = (tag, cells) => { const row = element(table, "tr"); cells.forEach((cell) => element(row, tag, {}, cell)); };
      line("th", ["", ...tokens.map((token) => `to ${token}`)]);
      heads.forEach((head, which) => line("td", [head, ...rows[which].at(-1).map(number)]));
    };
  }

  const DRAWERS = { attention, heatmaps, circles, bars };

  // What the reader sets: the scale, where there is a choice, and the checkpoint.
  function steer(box, kind, frames, show) {
    const last = frames.length - 1;
    let play = null, range = { value: 0 }, choice = { value: "own" };
    if (last > 0) {
      play = element(box, "button", { type: "button" }, "▶ Play");
      range = element(box, "input", { type: "range", min: 0, max: last, step: 1, "aria-label": "checkpoint" });
    }
    const epoch = element(box, "output");
    const ranges = Object.keys(RANGES).filter((name) => (name !== "all" || last > 0) && (name !== "middle" || kind === "heatmaps"));
    if (kind !== "attention" && ranges.length > 1) {
      choice = element(element(box, "label", {}, "scale of "), "select");
      for (const name of ranges) element(choice, "option", { value: name }, RANGES[name]);
      choice.value = frames[last].data.range ?? ranges[0];
      choice.addEventListener("change", update);
    }
    function update() {
      const at = frames[range.value].epoch;
      epoch.textContent = at === null ? "" : epochName(at);
      show(Number(range.value), choice.value);
    }
    let timer = null;
    function stop() {
      clearInterval(timer);
      timer = null;
      play.textContent = "▶ Play";
    }
    function move(place) {
      range.value = place;
      update();
      range.setAttribute("aria-valuetext", epoch.textContent);
    }
    if (play) {
      range.addEventListener("input", () => { stop(); move(range.value); });
      play.addEventListener("click", () => {
        if (timer !== null) return stop();
        play.textContent = "⏸ Pause";
        move(Number(range.value) === last ? 0 : range.value);
        timer = setInterval(() => {
          move(Number(range.value) + 1);
          if (Number(range.value) === last) stop();
        }, 700);
      });
      move(last);
    } else {
      update();
    }
  }

  for (const figure of document.querySelectorAll("figure.picture")) {
    const { kind, frames } = JSON.parse(figure.querySelector("script").textContent);
    const drawing = figure.querySelector(".drawing");
    const controls = element(drawing, "div", { class: "slider" });
    steer(controls, kind, frames, DRAWERS[kind](drawing, frames));
    if (!controls.textContent) controls.remove();
    addTools(figure);
  }

  // In a notebook this page is a frame, which must be as high as what it shows.
  const frame = window.frameElement;
  if (frame) {
    // Chromium keeps the scroll bar of the frame's first height, beside a page that fits.
    document.documentElement.style.overflowY = "hidden";
    new ResizeObserver(() => { frame.style.height = `${document.documentElement.offsetHeight + 4}px`; }).observe(document.body);
  }
})();
