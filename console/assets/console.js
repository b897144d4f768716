// SPDX-License-Identifier: Apache-2.0
// What pages do in the browser besides htmx: ask before changes, and draw the traffic.
"use strict";

document.addEventListener("submit", (event) => {
  const text = event.submitter && event.submitter.dataset.confirm;
  if (text && !window.confirm(text)) event.preventDefault();
});

const palette = ["#2f7fd6", "#d9730d", "#2e9e54", "#b4449b", "#7a6ff0", "#a08a12"];

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
    if (plot.chart) plot.chart.destroy();
    plot.element.textContent = "";
    const title = document.createElement("h3");
    title.textContent = plot.element.dataset.title;
    plot.element.append(title);
    const style = getComputedStyle(document.documentElement);
    const axis = { stroke: style.getPropertyValue("--soft"), grid: { stroke: style.getPropertyValue("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    plot.names = names.join();
    plot.chart = new uPlot({
      width: Math.max(plot.element.clientWidth - 20, 200), height: 170, cursor: { y: false },
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [axis, { ...axis, size: 56 }],
      series: [{}, ...names.map((name, i) => ({ label: name, stroke: palette[i], width: 2, points: { show: false } }))],
    }, data, plot.element);
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const group of document.querySelectorAll("[data-traffic]")) new Traffic(group);
});
