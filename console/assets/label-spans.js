// SPDX-License-Identifier: Apache-2.0
// A text of which parts are labelled, by mouse, finger or keyboard. Places are counted in
// UTF-16 units here and in code points on the way out, as the server counts.
"use strict";

function wordsOf(text) {
  if (window.Intl && Intl.Segmenter) {
    return [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)]
      .filter((s) => s.isWordLike).map((s) => [s.index, s.index + s.segment.length]);
  }
  return [...text.matchAll(/\S+/g)].map((m) => [m.index, m.index + m[0].length]);
}

// eslint-disable-next-line no-unused-vars
class SpanText {
  // changed is called when spans changed, say with what a screen reader should say.
  constructor(element, titles, changed, say) {
    Object.assign(this, { element, titles, changed, say });
    this.set("", []);
    element.tabIndex = 0;
    element.setAttribute("role", "application");
    element.setAttribute("aria-label", "Text to mark");
    document.addEventListener("selectionchange", () => this.selected());
    element.addEventListener("pointerdown", () => {
      this.picked = null;
      for (const part of this.element.querySelectorAll(".picked")) part.classList.remove("picked");
    });
    element.addEventListener("click", (event) => {
      const mark = event.target.closest("mark");
      if (mark && !this.picked) this.pick(Number(mark.dataset.from), Number(mark.dataset.to));
    });
  }

  set(text, spans) {
    this.text = text;
    this.words = wordsOf(text);
    this.units = [0]; // units[i] is where code point i begins
    for (const c of text) this.units.push(this.units[this.units.length - 1] + c.length);
    this.spans = spans.map((s) => ({ from: this.units[s.start], to: this.units[s.end], label: s.label }));
    this.picked = null;
    this.anchor = this.head = -1;
    this.draw();
  }

  // value is the spans in code points.
  value() {
    const points = new Map(this.units.map((unit, i) => [unit, i]));
    return this.spans.map((s) => ({ start: points.get(s.from), end: points.get(s.to), label: s.label }));
  }

  // selected takes over what the browser's selection has in the text.
  selected() {
    const s = window.getSelection();
    if (!s.rangeCount || s.isCollapsed || !this.element.contains(s.anchorNode) || !this.element.contains(s.focusNode)) return;
    const range = s.getRangeAt(0);
    const before = document.createRange();
    before.selectNodeContents(this.element);
    before.setEnd(range.startContainer, range.startOffset);
    let from = before.toString().length;
    let to = from + range.toString().length;
    while (from < to && /\s/.test(this.text[from])) from++;
    while (to > from && /\s/.test(this.text[to - 1])) to--;
    if (from === to) return;
    this.picked = { from: this.edge(from, -1), to: this.edge(to, 1) };
    this.anchor = this.head = -1;
    for (const b of this.element.querySelectorAll(".picked")) b.classList.remove("picked");
  }

  // edge keeps a place out of the middle of a code point.
  edge(place, step) {
    const code = this.text.charCodeAt(place);
    return code >= 0xdc00 && code <= 0xdfff ? place + step : place;
  }

  pick(from, to) {
    this.picked = { from, to };
    window.getSelection().removeAllRanges();
    this.draw();
    const mark = this.element.querySelector(".picked");
    if (mark) mark.scrollIntoView({ block: "nearest" });
  }

  // move goes a word on, or with extend marks from where it was; by ±1 or ±Infinity.
  move(by, extend) {
    if (!this.words.length) return;
    const last = this.words.length - 1;
    if (this.head < 0) this.head = this.anchor = this.near(by);
    else this.head = Math.min(Math.max(this.head + by, 0), last);
    if (!extend) this.anchor = this.head;
    this.pick(this.words[Math.min(this.anchor, this.head)][0], this.words[Math.max(this.anchor, this.head)][1]);
    this.say(this.text.slice(this.picked.from, this.picked.to));
  }

  // near is the word to begin at: the one beside what is picked, or an end of the text.
  near(by) {
    if (!this.picked) return by > 0 && by < Infinity ? 0 : by < 0 && by > -Infinity ? this.words.length - 1 : by < 0 ? 0 : this.words.length - 1;
    const at = this.words.findIndex(([, end]) => end > this.picked.from);
    return at < 0 ? this.words.length - 1 : at;
  }

  // label gives what is picked a label, or takes it off if it has it.
  label(name) {
    if (!this.picked) {
      this.say("Mark a part of the text first.");
      return;
    }
    const { from, to } = this.picked;
    const at = this.spans.findIndex((s) => s.from === from && s.to === to && s.label === name);
    if (at >= 0) this.spans.splice(at, 1);
    else this.spans.push({ from, to, label: name });
    this.say((at >= 0 ? "Not " : "") + this.titles.get(name) + ": " + this.text.slice(from, to));
    this.done();
  }

  // remove takes off the labels of what is picked, or the newest one.
  remove(span) {
    if (!this.spans.length) return;
    let gone = span ? [span] : [];
    if (!gone.length && this.picked) gone = this.spans.filter((s) => s.from < this.picked.to && s.to > this.picked.from);
    if (!gone.length) gone = [this.spans[this.spans.length - 1]];
    this.spans = this.spans.filter((s) => !gone.includes(s));
    this.say("Taken off: " + gone.map((s) => this.titles.get(s.label)).join(", "));
    this.done();
  }

  done() {
    this.picked = null;
    window.getSelection().removeAllRanges();
    this.draw();
    this.changed();
  }

  // draw cuts the text where spans begin and end. What a part is labelled is no text of the
  // page (it is drawn by the style sheet), so that places can be counted in it.
  draw() {
    const cuts = new Set([0, this.text.length]);
    const all = this.picked ? [...this.spans, this.picked] : this.spans;
    for (const s of all) cuts.add(s.from).add(s.to);
    const places = [...cuts].sort((a, b) => a - b);
    this.element.textContent = "";
    for (let i = 0; i + 1 < places.length; i++) {
      const [from, to] = [places[i], places[i + 1]];
      const over = this.spans.filter((s) => s.from <= from && s.to >= to);
      const isPicked = this.picked && this.picked.from <= from && this.picked.to >= to;
      const part = document.createElement(over.length ? "mark" : "span");
      part.textContent = this.text.slice(from, to);
      if (isPicked) part.classList.add("picked");
      if (over.length) {
        part.dataset.from = over[0].from;
        part.dataset.to = over[0].to;
        const ending = over.filter((s) => s.to === to).map((s) => this.titles.get(s.label));
        if (ending.length) part.dataset.title = ending.join(", ");
      }
      this.element.append(part);
    }
  }
}
