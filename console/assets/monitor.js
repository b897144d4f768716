// SPDX-License-Identifier: Apache-2.0
// The plots of a monitor: one fetch feeds all plots of a group, every ten seconds while it
// is seen. Lines may have intervals, which are shaded.
"use strict";

const seriesPalette = ["#2f7fd6", "#d9730d", "#2e9e54", "#b4449b", "#7a6ff0", "#a08a12"];

// Days as everywhere in the console, with the time of day where it is not midnight.
const moment = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ").replace(" 00:00", "");

const shortMoment = (seconds, step) => (step >= 86400 ? moment(seconds).slice(5, 10) : moment(seconds).slice(11) || moment(seconds).slice(5));

class Series {
  constructor(group) {
    this.group = group;
    this.plots = [...group.querySelectorAll("[data-plot]")].map((element) => ({ element, key: element.dataset.plot, chart: null, names: "" }));
    this.tick();
  }

  async tick() {
    if (!document.hidden) {
      try {
        const answer = await fetch(this.group.dataset.series, { credentials: "same-origin" });
        if (answer.ok) this.show(await answer.json());
      } catch {
        // The server is away: the plots stay as they are, and the next tick tries again.
      }
    }
    if (document.contains(this.group)) setTimeout(() => this.tick(), 10000);
  }

  show(series) {
    for (const plot of this.plots) {
      const lines = (series.plots[plot.key] || []).filter((line) => line.values.some((v) => v !== null));
      if (!lines.length || series.times.length < 2) {
        if (!plot.chart) plot.element.textContent = plot.element.dataset.title + ": nothing is known yet.";
        continue;
      }
      const data = [series.times], shown = [{ label: "UTC", value: pointed(moment) }], bands = [];
      lines.forEach((line, i) => {
        const stroke = seriesPalette[i % seriesPalette.length];
        if (line.low) {
          const at = data.length;
          data.push(line.high, line.low);
          const edge = { stroke: stroke + "55", width: 1, points: { show: false }, class: "edge" };
          shown.push({ ...edge, label: line.label + ", high" }, { ...edge, label: line.label + ", low" });
          bands.push({ series: [at, at + 1], fill: stroke + "2e" });
        }
        data.push(line.values);
        shown.push({ label: line.label, value: latest(threeDigits), stroke, width: 2, dash: i ? [6, 3] : undefined, spanGaps: false, points: { size: 4, show: line.values.length < 60 } });
      });
      const names = shown.map((s) => s.label).join();
      if (plot.chart && plot.names === names) plot.chart.setData(data);
      else this.draw(plot, names, data, shown, bands);
    }
  }

  draw(plot, names, data, shown, bands) {
    if (plot.chart) { plot.stop(); plot.chart.destroy(); }
    plot.element.textContent = "";
    const title = document.createElement("h3");
    title.textContent = plot.element.dataset.title;
    plot.element.append(title);
    const style = getComputedStyle(document.documentElement);
    const axis = { stroke: style.getPropertyValue("--soft"), grid: { stroke: style.getPropertyValue("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    plot.names = names;
    plot.chart = new uPlot({
      width: Math.max(plot.element.clientWidth - 20, 200), height: 190, cursor: { y: false }, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
      axes: [{ ...axis, space: 60, size: 28, values: (_, splits, __, ___, step) => splits.map((at) => shortMoment(at, step)) }, { ...axis, size: 56 }], series: shown, bands,
    }, data, plot.element);
    plot.stop = fit(plot.element, plot.chart, () => this.draw(plot, names, plot.chart.data, shown, bands));
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const group of document.querySelectorAll("[data-series]")) new Series(group);
});
