// SPDX-License-Identifier: Apache-2.0
// What pages do in the browser besides htmx: ask before changes, and draw the traffic.
"use strict";

document.addEventListener("submit", (event) => {
  const text = event.submitter && event.submitter.dataset.confirm;
  if (text && !window.confirm(text)) event.preventDefault();
});

// What is kept fresh is not replaced while a button of the mouse or a finger is down: the link
// below it would be another one when it is let go, and the click lost.
let pressed = false;
for (const type of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
  document.addEventListener(type, (event) => { pressed = event.type !== "pointercancel" && event.buttons > 0; }, true);
}
document.addEventListener("htmx:beforeSwap", (event) => { if (pressed) event.preventDefault(); });

const palette = ["#2f7fd6", "#d9730d", "#2e9e54", "#b4449b", "#7a6ff0", "#a08a12"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

const plotAxis = () => ({ stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" });

// fit keeps a plot as wide as its place, also when a phone is turned; again draws it anew when
// the person changes between light and dark.
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function fit(element, chart, again) {
  const sizes = new ResizeObserver(() => {
    const width = Math.max(element.clientWidth - 20, 200);
    if (width !== chart.width) chart.setSize({ width, height: chart.height });
  });
  sizes.observe(element);
  const change = () => { stop(); again(); };
  const stop = () => { sizes.disconnect(); dark.removeEventListener("change", change); };
  dark.addEventListener("change", change);
  return stop;
}

// latest makes what a legend says while nobody points at the plot: the last value that is
// known, as a reader of the plot's right end sees it.
const latest = (say) => (chart, value, series, at) => {
  if (at !== null && at !== undefined) return value === null || value === undefined ? "–" : say(value);
  const known = chart.data[series].findLast((v) => v !== null && v !== undefined);
  return known === undefined ? "–" : say(known);
};

// pointed says where on the axis of time somebody points; else what is said is the latest.
const pointed = (say) => (_, value, __, at) => (at === null || at === undefined ? "latest" : say(value));

const threeDigits = (v) => (v === 0 ? "0" : Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en-US") : String(Number(v.toPrecision(3))));

// Times of day are UTC, as everywhere in the console.
const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);

// Traffic plots: one fetch feeds all plots of a group, every two seconds while it is seen.
class Traffic {
  constructor(group) {
    this.group = group;
    this.plots = [...group.querySelectorAll("[data-plot]")].map((element) => ({ element, key: element.dataset.plot, chart: null, names: "" }));
    const model = group.dataset.model;
    this.url = "/console/traffic.json" + (model ? "?model=" + encodeURIComponent(model) : "");
    this.tick();
  }

  async tick() {
    if (!document.hidden) {
      try {
        const answer = await fetch(this.url, { credentials: "same-origin" });
        if (answer.ok) this.show(await answer.json());
      } catch {
        // The server is away: the plots stay as they are, and the next tick tries again.
      }
    }
    if (document.contains(this.group)) setTimeout(() => this.tick(), 2000);
  }

  show(traffic) {
    const names = Object.keys(traffic.models).sort().slice(0, palette.length);
    if (!names.length || traffic.times.length < 2) return;
    for (const plot of this.plots) {
      const data = [traffic.times, ...names.map((name) => traffic.models[name].map((at) => (at ? at[plot.key] : null)))];
      if (plot.chart && plot.names === names.join()) plot.chart.setData(data);
      else this.draw(plot, names, data);
    }
  }

  draw(plot, names, data) {
    if (plot.chart) { plot.stop(); plot.chart.destroy(); }
    plot.element.textContent = "";
    const title = document.createElement("h3");
    title.textContent = plot.element.dataset.title;
    plot.element.append(title);
    const axis = plotAxis();
    plot.names = names.join();
    plot.chart = new uPlot({
      width: Math.max(plot.element.clientWidth - 20, 200), height: 170, cursor: { y: false },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, size: 28, values: (_, splits) => splits.map(clock), space: 60 }, { ...axis, size: 56 }],
      series: [{ label: "UTC", value: pointed(clock) }, ...names.map((name, i) => ({ label: name, value: latest(threeDigits), stroke: palette[i], width: 2, points: { show: false } }))],
    }, data, plot.element);
    plot.stop = fit(plot.element, plot.chart, () => this.draw(plot, names, plot.chart.data));
  }
}

// together puts marks of one day that say the same into one.
function together(marks) {
  const all = new Map();
  for (const mark of marks) {
    const key = [mark.day, mark.kind, mark.text].join("|");
    const other = all.get(key);
    if (other) other.times++;
    else all.set(key, { ...mark, times: 1 });
  }
  return [...all.values()].map((m) => (m.times > 1 ? { ...m, text: m.text + " ×" + m.times } : m));
}

// Story plot: quality by simulated day, with upright lines where something happened.
class Story {
  constructor(element) {
    this.element = element;
    this.chart = null;
    this.marks = [];
    this.tick();
  }

  async tick() {
    if (!document.hidden) {
      try {
        const answer = await fetch("/console/story.json", { credentials: "same-origin" });
        if (answer.ok) this.show(await answer.json());
      } catch {
        // As for the traffic.
      }
    }
    if (document.contains(this.element)) setTimeout(() => this.tick(), 3000);
  }

  show(story) {
    this.marks = story.marks;
    if (story.days.length < 2) return;
    const data = [story.days, story.realised, story.estimated];
    if (this.chart) this.chart.setData(data);
    else this.draw(story.metric || "quality", data);
  }

  draw(metric, data) {
    if (this.chart) this.chart.destroy();
    this.element.textContent = "";
    const title = document.createElement("h3");
    title.textContent = this.element.dataset.title;
    this.element.append(title);
    const axis = plotAxis();
    this.chart = new uPlot({
      width: Math.max(this.element.clientWidth - 20, 200), height: 220, cursor: { y: false },
      scales: { x: { time: false } },
      axes: [{ ...axis, size: 28, label: "simulated day", labelSize: 16, labelFont: axis.font }, { ...axis, size: 56 }],
      series: [{ label: "Day", value: pointed(String) }, { label: metric + " by labels", value: latest(threeDigits), stroke: palette[0], width: 2 }, { label: "estimated", value: latest(threeDigits), stroke: palette[1], width: 1.5, dash: [4, 4], points: { show: false } }],
      hooks: { draw: [(chart) => this.drawMarks(chart)] },
    }, data, this.element);
    fit(this.element, this.chart, () => this.draw(metric, this.chart.data));
  }

  drawMarks(chart) {
    const { ctx, bbox } = chart;
    const colours = { pattern: "--warn", alarm: "--bad", promotion: "--good" };
    ctx.save();
    ctx.setLineDash([4, 4]);
    ctx.textAlign = "left"; // the axes leave theirs
    ctx.textBaseline = "alphabetic";
    ctx.font = Math.round(11 * devicePixelRatio) + "px system-ui";
    const rows = [0, 0, 0, 0].map(() => -Infinity); // where the last word of each row ends
    for (const mark of together(this.marks)) {
      const x = Math.round(chart.valToPos(mark.day, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = colour(colours[mark.kind] || "--soft");
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const width = ctx.measureText(mark.text).width;
      const from = x + 4 + width > bbox.left + bbox.width ? x - 4 - width : x + 4;
      const row = rows.findIndex((end) => end < from);
      if (row < 0) continue; // no room for a word: the line alone
      rows[row] = from + width + 4;
      ctx.fillText(mark.text, from, bbox.top + (12 + row * 13) * devicePixelRatio);
    }
    ctx.restore();
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll("[data-story]")) new Story(element);
  for (const group of document.querySelectorAll("[data-traffic]")) new Traffic(group);
});
