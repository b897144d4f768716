// SPDX-License-Identifier: Apache-2.0
// The page to label and to review. The next tasks are in memory, so a key shows the next one
// at once; what was said goes into the outbox and to the server behind the person's back.
"use strict";

const outboxMax = 64; // at most 16 tasks are handed out ahead, so this leaves room for undoing
const historyMax = 50;
const tasksAhead = 5; // as many as somebody quick does while a slow server answers
const idlePoll = 10000;
const countEvery = 3000;
const activeFor = 300000; // leases are renewed for who did something in the last five minutes

class Desk {
  constructor(config) {
    this.config = config;
    this.parts = {};
    for (const id of ["counts", "unsent", "problems", "said", "task-title", "nothing", "shown", "chosen", "read", "guess", "answers", "fields", "number", "spans", "comment", "find", "help", "keys-on"]) {
      this.parts[id] = document.getElementById(id);
    }
    this.choices = [...document.querySelectorAll("[data-label]")];
    this.titles = new Map(config.labels.map((l) => [l.name, l.title]));
    this.tasks = [];
    this.counts = null;
    this.link = {};
    this.heardOnce = false;
    this.expecting = null;
    this.counted = this.renewed = 0;
    this.active = Date.now();
    this.historyKey = "millrace.label.history/" + config.project + "/" + config.who + (config.review ? "/review" : "");
    this.history = this.readHistory();
    this.outbox = new Outbox(config.project + (config.review ? "!review" : ""), config.who, outboxMax);
    this.sender = new Sender(config.url, config.who, this.outbox, () => this.ask(), (told) => this.heard(told), (state) => this.linkIs(state));
    if (config.kind === "spans") this.text = new SpanText(this.parts.read, this.titles, () => this.drawSpans(), (t) => this.say(t));
    this.listen();
    this.clearDraft();
    this.sender.soon();
    setInterval(() => this.tick(), 1000);
    this.waiting();
  }

  readHistory() {
    try {
      const ids = JSON.parse(sessionStorage.getItem(this.historyKey) || "[]");
      return ids.filter((id) => typeof id === "string").slice(-historyMax).map((id) => ({ id }));
    } catch {
      return [];
    }
  }

  remember(entry) {
    this.history.push(entry);
    if (this.history.length > historyMax) this.history.shift();
    this.storeHistory();
  }

  storeHistory() {
    try {
      sessionStorage.setItem(this.historyKey, JSON.stringify(this.history.map((h) => h.id)));
    } catch {
      // Without it, undo reaches back to the last time that the page was loaded.
    }
  }

  // ---- to and from the server ----

  ask() {
    const now = Date.now();
    this.wanted = Math.min(Math.max(tasksAhead, this.tasks.length), 16);
    const renew = now - this.renewed >= this.config.renew_ms && now - this.active < activeFor;
    const count = now - this.counted >= countEvery;
    if (count) this.uncounted = false;
    if (renew) this.renewed = now;
    if (count) this.counted = now;
    return { want: this.wanted, renew, count, have: this.tasks.slice(0, 16).map((t) => t.id) };
  }

  tick() {
    const now = Date.now();
    if (document.hidden || this.sender.wait) return; // the sender tries again by itself
    const renew = this.tasks.length && now - this.renewed >= this.config.renew_ms && now - this.active < activeFor;
    const look = !this.tasks.length && now - this.looked >= idlePoll;
    const count = this.uncounted && now - this.counted >= countEvery;
    if (renew || look || count) {
      this.looked = now;
      this.sender.soon();
    }
  }

  heard(told) {
    this.heardOnce = true;
    this.looked = Date.now();
    for (const r of told.results) {
      if (r.note && !r.retry) this.problem(r.note, r.ok);
      if (r.task && r.task.id === this.expecting) {
        this.expecting = null;
        this.tasks.unshift({ ...r.task, undone: true });
        this.show();
      } else if (r.task) {
        const t = this.tasks.find((x) => x.id === r.task.id);
        if (t) t.free = r.task.free;
      } else if (!r.ok && this.expecting) {
        this.expecting = null;
        this.show();
      }
    }
    if (told.counts) {
      this.counts = told.counts;
      for (const o of this.outbox.list()) this.counts.today += o.do === "undo" ? -1 : o.do === "postpone" ? 0 : 1;
    }
    this.merge(told.tasks, new Set(told.kept));
    this.drawCounts();
    this.drawLink();
  }

  // merge brings the tasks in memory in line with those that the server says we have. What
  // was said meanwhile is not there yet.
  merge(handed, kept) {
    const waiting = new Map(this.outbox.list().map((o) => [o.task, o.do]));
    const answered = (id) => waiting.has(id) && waiting.get(id) !== "undo";
    const ours = new Set(handed.map((t) => t.id));
    const all = handed.length < this.wanted;
    const first = this.tasks[0];
    const lost = (t) => all && !ours.has(t.id) && !kept.has(t.id) && !t.free && waiting.get(t.id) !== "undo";
    this.tasks = this.tasks.filter((t) => !lost(t));
    const known = new Set(this.tasks.map((t) => t.id));
    for (const t of handed) if (!known.has(t.id) && !answered(t.id) && this.tasks.length < this.wanted) this.tasks.push(t);
    if (this.tasks[0] === first) {
      if (!first) this.waiting();
      return;
    }
    if (first) this.problem("The task that you looked at went to somebody else: its lease was over.");
    this.show();
    if (first || this.tasks.length) this.say(this.tasks.length ? "Next: " + this.tasks[0].summary : "Nothing left.");
  }

  linkIs(state) {
    this.link = state;
    this.drawLink();
    if (!this.tasks.length) this.waiting();
  }

  drawLink() {
    const n = this.outbox.size;
    const part = this.parts.unsent;
    const words = [];
    if (this.link.offline) words.push("No connection.");
    if (this.link.problem) words.push(this.link.problem);
    if (n && (this.link.offline || this.link.problem || this.link.signedOut || n > 4)) {
      words.push(n + " not sent yet" + (this.outbox.kept ? "; kept in this browser." : "; do not close this page."));
    }
    const text = words.join(" ");
    if (part.textContent !== text || this.link.signedOut) part.textContent = text;
    part.className = text || this.link.signedOut ? "note bad" : "";
    if (this.link.signedOut) {
      const a = document.createElement("a");
      a.href = "/console/login?next=" + encodeURIComponent(location.pathname);
      a.textContent = "Sign in again";
      part.append(" The session has ended. ", a, ".");
    }
  }

  // problem tells something that must not be missed.
  problem(text, mild) {
    const p = document.createElement("p");
    p.className = mild ? "note" : "note bad";
    const close = document.createElement("button");
    close.type = "button";
    close.className = "plain";
    close.textContent = "Dismiss";
    close.addEventListener("click", () => p.remove());
    p.append(text, " ", close);
    this.parts.problems.append(p);
    while (this.parts.problems.children.length > 3) this.parts.problems.firstChild.remove();
  }

  say(text) {
    this.parts.said.textContent = text;
  }

  // ---- what somebody says ----

  answer(what, value, said, event) {
    const task = this.tasks[0];
    if (!task) return;
    const operation = { do: what, task: task.id, lead_ms: Math.round(performance.now() - this.shownAt), comment: this.parts.comment.value };
    if (value) operation.value = value;
    if (this.outbox.add(operation) === null) {
      this.problem("This browser has no room for more that is not sent. Wait for the connection.");
      return;
    }
    this.remember({ id: task.id, task, value });
    this.tasks.shift();
    if (this.counts && what !== "postpone") {
      this.counts.today++;
      if (this.config.review) this.counts.review = Math.max(0, this.counts.review - 1);
    }
    this.show();
    this.uncounted = true;
    this.say(said + ". " + (this.tasks[0] ? "Next: " + this.tasks[0].summary : "No task is here yet."));
    this.drawCounts();
    this.drawLink();
    if (event) this.measure(event.timeStamp);
    this.sender.soon();
  }

  // measure notes how long it took from a key until the next task was on the screen.
  measure(start) {
    requestAnimationFrame(() => {
      const channel = new MessageChannel(); // its message comes after the frame is drawn
      channel.port1.onmessage = () => {
        if (performance.getEntriesByName("key to next task").length > 1000) performance.clearMeasures("key to next task");
        performance.measure("key to next task", { start, end: performance.now() });
      };
      channel.port2.postMessage(0);
    });
  }

  undo() {
    const last = this.history.pop();
    if (!last) {
      this.say("Nothing to undo here.");
      return;
    }
    if (this.outbox.add({ do: "undo", task: last.id }) === null) {
      this.history.push(last);
      this.problem("This browser has no room for more that is not sent. Wait for the connection.");
      return;
    }
    this.storeHistory();
    this.uncounted = true;
    if (this.counts) this.counts.today = Math.max(0, this.counts.today - 1);
    this.tasks = this.tasks.filter((t) => t.id !== last.id);
    if (last.task) {
      this.tasks.unshift({ ...last.task, before: last.value || last.task.before });
      this.show();
      this.say("Undone: " + last.task.summary);
    } else {
      this.expecting = last.id;
      this.say("Undone. Fetching the task.");
    }
    this.drawCounts();
    this.sender.soon();
  }

  postpone(event) {
    if (!this.config.review) {
      this.answer("postpone", null, "Later", event);
    } else if (this.tasks.length > 1) {
      this.tasks.push(this.tasks.shift());
      this.show();
      this.say("Later. Next: " + this.tasks[0].summary);
    }
  }

  choose(label, event) {
    switch (this.config.kind) {
      case "single":
        this.answer("submit", { choices: [label.name] }, label.title, event);
        break;
      case "multiple":
        if (!this.draft.delete(label.name)) this.draft.add(label.name);
        this.say((this.draft.has(label.name) ? "" : "Not ") + label.title);
        this.drawDraft();
        break;
      case "spans":
        if (this.tasks[0]) this.text.label(label.name);
    }
  }

  submit(event) {
    switch (this.config.kind) {
      case "single":
      case "multiple": {
        const chosen = this.config.labels.filter((l) => this.draft.has(l.name));
        if (this.config.kind === "single" && chosen.length !== 1) return;
        this.answer("submit", { choices: chosen.map((l) => l.name) }, chosen.map((l) => l.title).join(", ") || "None of them", event);
        break;
      }
      case "number":
        this.submitNumber(event);
        break;
      case "spans":
        this.answer("submit", { spans: this.text.value() }, this.text.spans.length + " parts", event);
    }
  }

  submitNumber(event) {
    const text = this.parts.number.value.trim().replace(",", ".");
    const { bounded, min, max } = this.config;
    const x = Number(text);
    if (text === "" || !Number.isFinite(x)) return this.say("Give a number.");
    if (bounded && (x < min || x > max)) return this.problem(text + " is not in " + min + " to " + max + ".");
    this.answer("submit", { number: x }, text, event);
  }

  // take puts the model's guess, or what others said, into the draft, one after the other.
  take() {
    const offers = this.offers();
    if (!offers.length) return;
    const offer = offers[this.taken++ % offers.length];
    this.fill(offer.value);
    this.say("Taken over from " + offer.who + ": " + offer.text);
  }

  offers() {
    const task = this.tasks[0];
    return task ? [...(task.answers || []), ...(task.guess ? [task.guess] : [])].filter((o) => o.value) : [];
  }

  fill(value) {
    this.draft = new Set(value.choices || []);
    if (this.parts.number) this.parts.number.value = value.number ?? "";
    if (this.text) this.text.set(this.text.text, value.spans || []);
    this.drawDraft();
  }

  clearDraft() {
    this.draft = new Set();
    this.taken = 0;
    this.parts.comment.value = "";
    if (this.parts.number) this.parts.number.value = "";
    if (this.parts.find && this.parts.find.value) {
      this.parts.find.value = "";
      this.find();
    }
    this.drawDraft();
  }

  // find shows the labels whose titles have the words that are looked for, and returns the first.
  find() {
    const words = this.parts.find.value.toLowerCase().split(/\s+/);
    let first = null;
    for (const [i, button] of this.choices.entries()) {
      const title = this.config.labels[i].title.toLowerCase();
      button.hidden = !words.every((w) => title.includes(w));
      if (!button.hidden && !first) first = this.config.labels[i];
    }
    return first;
  }

  // findKey handles the keys of the field in which labels are looked for.
  findKey(event) {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    const label = event.key === "Enter" && this.find();
    this.instead(event, () => {
      this.parts.find.value = "";
      this.find();
      this.parts.find.blur();
      if (label) this.choose(label, event);
    });
  }

  // ---- what is seen ----

  show() {
    const task = this.tasks[0];
    this.clearDraft();
    this.shownAt = performance.now();
    this.parts.nothing.hidden = !!task;
    this.parts.shown.hidden = !task;
    document.querySelector("[data-command=take]").hidden = !this.offers().length;
    if (!task) {
      if (this.text) this.text.set("", []);
      this.parts["task-title"].textContent = "Task";
      return this.waiting();
    }
    const title = this.parts["task-title"];
    title.textContent = "Task ";
    const id = document.createElement("small");
    id.textContent = task.id + (task.at ? ", " + task.at.replace("T", " ").replace("Z", "") : "");
    title.append(id);
    this.parts.chosen.textContent = task.chosen ? "Why this one: " + task.chosen : "";
    if (this.text) this.text.set(task.main ? task.main[1] : "", []);
    else this.parts.read.textContent = task.main ? task.main[1] : "";
    this.parts.fields.replaceChildren(...task.fields.map(([name, text]) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(head, cell);
      return row;
    }));
    this.drawGuess(task);
    this.drawAnswers(task);
    if (task.before) this.fill(task.before);
    if (window.scrollY > 0 && title.getBoundingClientRect().top < 0) title.scrollIntoView({ block: "start" });
  }

  drawGuess(task) {
    const part = this.parts.guess;
    part.textContent = "";
    if (!task.guess) return;
    const p = document.createElement("p");
    const b = document.createElement("b");
    b.textContent = task.guess.text;
    p.append((task.guess.who || "The model") + " guesses ", b, ", " + task.guess.score);
    part.append(p);
    if (!(task.guess.reasons || []).length) return;
    const list = document.createElement("ul");
    for (const reason of task.guess.reasons.slice(0, 8)) {
      const item = document.createElement("li");
      item.textContent = reason;
      list.append(item);
    }
    part.append(list);
  }

  drawAnswers(task) {
    const part = this.parts.answers;
    part.textContent = "";
    if (!task.answers) return;
    part.className = "answers";
    for (const answer of task.answers) {
      const box = document.createElement("div");
      const who = document.createElement("h3");
      who.textContent = answer.who;
      const said = document.createElement("p");
      said.textContent = answer.text;
      box.append(who, said);
      if (answer.comment) {
        const note = document.createElement("p");
        note.className = "soft";
        note.textContent = answer.comment;
        box.append(note);
      }
      part.append(box);
    }
  }

  drawDraft() {
    for (const [i, button] of this.choices.entries()) {
      const on = this.draft.has(this.config.labels[i].name);
      button.classList.toggle("on", on);
      if (this.config.kind === "multiple" || on || button.hasAttribute("aria-pressed")) button.setAttribute("aria-pressed", String(on));
    }
    if (this.config.kind === "single") document.querySelector("[data-command=submit]").hidden = this.draft.size !== 1;
    if (this.text) this.drawSpans();
  }

  drawSpans() {
    this.parts.spans.replaceChildren(...this.text.spans.map((span) => {
      const item = document.createElement("li");
      const off = document.createElement("button");
      off.type = "button";
      off.className = "quiet";
      const words = this.titles.get(span.label) + ": " + this.text.text.slice(span.from, span.to);
      off.textContent = "×";
      off.setAttribute("aria-label", "Take off " + words);
      off.addEventListener("click", () => this.text.remove(span));
      item.append(words + " ", off);
      return item;
    }));
  }

  // waiting says why there is no task.
  waiting() {
    if (this.tasks.length) return;
    const text = this.link.offline ? "No connection. Labelling goes on when it is back." :
      this.outbox.size || !this.heardOnce ? "Fetching tasks…" :
        this.config.review ? "Nothing to review now. What comes appears here by itself." : "Nothing left to label now. New tasks appear here by themselves.";
    if (this.parts.nothing.textContent !== text) this.parts.nothing.textContent = text;
  }

  drawCounts() {
    const c = this.counts;
    if (!c) return;
    this.parts.counts.textContent = this.config.review ? c.review + " to review" : c.today + " done today, " + c.left + " open in all";
  }

  // ---- keys ----

  listen() {
    for (const [i, button] of this.choices.entries()) button.addEventListener("click", (event) => this.choose(this.config.labels[i], event));
    for (const button of document.querySelectorAll("[data-command]")) button.addEventListener("click", (event) => this.command(button.dataset.command, event));
    document.addEventListener("keydown", (event) => this.key(event));
    if (this.parts.find) this.parts.find.addEventListener("input", () => this.find());
    document.addEventListener("pointerdown", () => { this.active = Date.now(); });
    window.addEventListener("beforeunload", (event) => { if (!this.outbox.kept && this.outbox.size) event.preventDefault(); });
    const on = this.parts["keys-on"];
    try {
      on.checked = localStorage.getItem("millrace.label.keys") !== "off";
      on.addEventListener("change", () => localStorage.setItem("millrace.label.keys", on.checked ? "on" : "off"));
    } catch {
      // A browser that keeps nothing begins with keys on.
    }
  }

  command(name, event) {
    switch (name) {
      case "undo": return this.undo();
      case "skip": return this.answer("skip", null, "Skipped", event);
      case "postpone": return this.postpone(event);
      case "submit": return this.submit(event);
      case "take": return this.take();
      case "help": return this.parts.help.showModal();
    }
  }

  key(event) {
    this.active = Date.now();
    if (this.parts.help.open || event.isComposing || event.altKey) return;
    const target = event.target;
    const typing = target.matches("input, textarea, select") && target !== this.parts.number;
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "z" && !typing) this.instead(event, () => this.undo());
      return;
    }
    if (target === this.parts.find) return this.findKey(event);
    if (typing) return;
    if (this.editKey(event)) return;
    if (!this.parts["keys-on"].checked || event.repeat) return;
    const label = this.labelOf(event.key);
    if (label) return this.instead(event, () => this.choose(label, event));
    for (const [name, key] of Object.entries(this.config.commands)) {
      if (key && (key === event.key || key === event.key.toLowerCase())) return this.instead(event, () => this.command(name, event));
    }
    if (this.parts.find && event.key === "/") return this.instead(event, () => this.parts.find.focus());
    if (this.parts.number && /^[-+.,0-9]$/.test(event.key)) this.parts.number.focus();
  }

  instead(event, act) {
    event.preventDefault();
    act();
  }

  // labelOf is the label of a key; the same letter in the other case counts if nothing else has it.
  labelOf(key) {
    const { labels } = this.config;
    return labels.find((l) => l.key === key) || labels.find((l) => l.key && l.key === key.toLowerCase());
  }

  // editKey handles the keys that are not letters.
  editKey(event) {
    const onButton = event.target.matches("button, a, summary");
    const extend = event.shiftKey;
    switch (event.key) {
      case "Enter":
        if (event.repeat || (onButton && (this.config.kind === "single" || !event.target.matches("[data-label]")))) return true;
        this.instead(event, () => this.submit(event));
        return true;
      case "Backspace":
        if (this.text) this.instead(event, () => this.text.remove());
        return true;
      case "ArrowLeft": case "ArrowRight": case "Home": case "End": {
        if (!this.text || !this.tasks.length) return true;
        const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
        this.instead(event, () => this.text.move(by, extend));
        return true;
      }
    }
    return false;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const config = document.getElementById("label-config");
  if (config) window.desk = new Desk(JSON.parse(config.textContent));
});
