// The study's server: the next step, and answers that wait on this device until it has them.

import { Shelf } from "./answers.js";

const wait = (ms) => new Promise((resolve) => {
  const timer = setTimeout(done, ms);
  function done() {
    clearTimeout(timer);
    window.removeEventListener("online", done);
    resolve();
  }
  window.addEventListener("online", done);
});

export class Backend {
  static async open(onOffline) {
    const backend = new Backend();
    backend.base = location.pathname.replace(/[^/]*$/, "");
    backend.shelf = await Shelf.open(`study ${backend.base}`);
    backend.onOffline = onOffline;
    return backend;
  }
  image(name) {
    return `${this.base}image/${name}`;
  }
  // A request that is made again until the server answers; null where the server refuses it for good.
  async ask(path, options = {}) {
    for (let pause = 500; ; pause = Math.min(pause * 2, 8000)) {
      try {
        const response = await fetch(this.base + path, { cache: "no-store", ...options });
        if (response.ok) {
          const value = await response.json();
          this.onOffline(false);
          return value;
        }
        if (response.status < 500 && response.status !== 429) return null;
      } catch {
        // No connection, or half an answer: ask again.
      }
      this.onOffline(true);
      await wait(pause);
    }
  }
  async start() {
    for (const answer of await this.shelf.all("answers")) await this.deliver(answer);
    return this.next();
  }
  async next() {
    return (await this.ask("next")) ?? { stage: "closed" };
  }
  // Returns what the server said, with the next step, once it has the answer.
  async send(answer) {
    await this.shelf.put("answers", answer.trial, answer);
    return this.deliver(answer);
  }
  async deliver(answer) {
    const said = await this.ask("answer", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(answer),
    });
    await this.shelf.remove("answers", answer.trial);
    return said ?? { next: await this.next() };
  }
  finish() {
    location.assign(`${this.base}end`);
  }
}
