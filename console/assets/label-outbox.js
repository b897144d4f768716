// SPDX-License-Identifier: Apache-2.0
// What somebody said and the server has not acknowledged yet. It lies in localStorage, an
// entry each, so that it outlives the page, and tabs do not overwrite each other's.
"use strict";

// eslint-disable-next-line no-unused-vars
class Outbox {
  // max bounds what waits; a page with nothing else to hand out stops well before.
  constructor(project, who, max) {
    this.prefix = "millrace.label/" + project + "/" + who + "/";
    this.max = max;
    this.sequence = 0;
    this.memory = new Map();
    this.kept = true;
    try {
      localStorage.setItem(this.prefix + "try", "");
      localStorage.removeItem(this.prefix + "try");
    } catch {
      this.kept = false; // a browser that keeps nothing: until all is sent it must stay open
    }
  }

  // list is what waits, the oldest first.
  list() {
    const all = [];
    if (!this.kept) all.push(...this.memory);
    else {
      for (let i = 0; i < localStorage.length; i++) {
        const key = localStorage.key(i);
        if (key.startsWith(this.prefix)) all.push([key, localStorage.getItem(key)]);
      }
    }
    all.sort(([a], [b]) => (a < b ? -1 : 1));
    const operations = [];
    for (const [key, text] of all) {
      try {
        operations.push({ ...JSON.parse(text), id: key.slice(this.prefix.length) });
      } catch {
        this.remove(key.slice(this.prefix.length)); // not ours, or cut off: nothing can be made of it
      }
    }
    return operations;
  }

  get size() {
    return this.list().length;
  }

  // add keeps an operation and returns its id; null if there is no room.
  add(operation) {
    if (this.size >= this.max) return null;
    const id = String(Date.now()).padStart(15, "0") + "-" + String(this.sequence++).padStart(6, "0") + "-" + Math.random().toString(36).slice(2, 8);
    const text = JSON.stringify(operation);
    if (this.kept) {
      try {
        localStorage.setItem(this.prefix + id, text);
        return id;
      } catch {
        return null;
      }
    }
    this.memory.set(this.prefix + id, text);
    return id;
  }

  remove(id) {
    if (this.kept) localStorage.removeItem(this.prefix + id);
    else this.memory.delete(this.prefix + id);
  }
}

// Sender sends what an outbox has, in order, and again until the server acknowledges it.
// eslint-disable-next-line no-unused-vars
class Sender {
  // heard gets answers, state gets {offline, signedOut, problem} when that changes.
  constructor(url, who, outbox, ask, heard, state) {
    Object.assign(this, { url, who, outbox, ask, heard, state });
    this.flying = new Set();
    this.running = false;
    this.again = false;
    this.wait = 0;
    this.timer = 0;
    window.addEventListener("online", () => this.soon());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.soon(); });
  }

  // soon sends at once, or when what is under way has ended.
  soon() {
    this.again = true;
    if (!this.running) this.run();
  }

  async run() {
    this.running = true;
    clearTimeout(this.timer);
    try {
      while (this.again) {
        this.again = false;
        // One tab of a browser sends at a time: two would mix the order.
        const ok = navigator.locks ? await navigator.locks.request(this.outbox.prefix, () => this.once()) : await this.once();
        if (!ok) break;
      }
    } finally {
      this.running = false;
    }
  }

  // batch is what is sent at once: the server takes 16 operations and a megabyte.
  batch() {
    const out = [];
    let size = 0;
    for (const operation of this.outbox.list().slice(0, 16)) {
      size += JSON.stringify(operation).length * 3;
      if (out.length && size > 900000) break;
      out.push(operation);
    }
    return out;
  }

  async once() {
    const operations = this.batch();
    this.flying = new Set(operations.map((o) => o.id));
    try {
      const answer = await fetch(this.url, {
        method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ who: this.who, operations, ...this.ask() }), signal: AbortSignal.timeout(20000),
      });
      if (!answer.ok) return this.refused(answer);
      const told = await answer.json();
      for (const result of told.results) {
        if (!result.retry) this.outbox.remove(result.id);
      }
      const stuck = told.results.find((r) => r.retry);
      this.flying.clear();
      if (stuck) this.later({ problem: "The server cannot take it now: " + stuck.note });
      else {
        this.wait = 0;
        this.state({});
      }
      this.heard(told);
      if (!stuck && this.outbox.size) this.again = true;
      return !stuck;
    } catch (error) {
      // No answer, or not all of it: what was sent may have arrived, and is sent again.
      this.later({ offline: true, error });
      return false;
    } finally {
      this.flying.clear();
    }
  }

  refused(answer) {
    switch (answer.status) {
      case 401: this.later({ signedOut: true }); break;
      case 403: this.later({ problem: "You may not label here any more." }); break;
      case 404: this.later({ problem: "The project is not there any more." }); break;
      case 409: this.later({ problem: "Somebody else signed in here, or the name changed: load the page again." }); break;
      default: this.later({ problem: "The server answered " + answer.status + "." });
    }
    return false;
  }

  // later tries again after 1 s, 2 s, and so on to 30 s.
  later(state) {
    this.wait = Math.min(Math.max(1000, this.wait * 2), 30000);
    this.state(state);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.soon(), this.wait);
  }
}
