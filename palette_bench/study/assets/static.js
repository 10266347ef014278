// A study without a server: the seat's trials are in the page, answers stay on this device until they are saved.

import { Shelf } from "./answers.js";
import { hex, hmac, unhex } from "./sha256.js";

const AGAIN = 10000;
const seat = globalThis.STUDY_SEAT;

export class Backend {
  static async open() {
    const backend = new Backend();
    backend.shelf = await Shelf.open(`study ${seat.study} ${seat.seat}`);
    backend.answers = new Map((await backend.shelf.all("answers")).map((answer) => [answer.trial, answer]));
    return backend;
  }
  image(name) {
    return name;
  }
  async start(show, pressed) {
    this.show = show;
    this.sitting = await this.shelf.get("shown", "sitting");
    if (!this.sitting) {
      show("consent");
      await new Promise((resolve) => {
        document.getElementById("consent-form").addEventListener("submit", (event) => {
          event.preventDefault();
          resolve();
        });
      });
      const name = hex(crypto.getRandomValues(new Uint8Array(16)));
      this.sitting = { name, consented: Math.floor(Date.now() / 1000) };
      await this.shelf.put("shown", "sitting", this.sitting);
    }
    void pressed;
    return this.next();
  }
  flagged({ shown_ms: shown, clock_ms: clock, refresh_hz: refresh, hidden, blurred }) {
    const off = Math.max(Math.abs(shown - seat.exposure), Math.abs((clock ?? seat.exposure) - seat.exposure));
    return off > 1500 / refresh + 0.05 * seat.exposure || hidden || blurred;
  }
  step(trial, key, position, total, rest) {
    return {
      stage: trial.stage, trial: key, position, total, rest, images: trial.images, exposure: seat.exposure,
    };
  }
  next() {
    const main = seat.trials.filter((trial) => trial.stage === "main");
    for (const trial of seat.trials) {
      if (this.answers.has(trial.number)) continue;
      const practice = seat.trials.filter((other) => other.stage === "practice");
      const right = practice.filter((other) => this.answers.get(other.number)?.choice === other.right).length;
      if (trial.stage === "main" && right < seat.practice) return { stage: "screened" };
      const stage = seat.trials.filter((other) => other.stage === trial.stage);
      const place = stage.indexOf(trial);
      const rest = trial.stage === "main" && seat.breaks > 0 && place > 0 && place % seat.breaks === 0;
      return this.step(trial, trial.number, place + 1, stage.length, rest);
    }
    const again = main.filter((trial) => this.flagged(this.answers.get(trial.number).measured));
    const place = again.findIndex((trial) => !this.answers.has(trial.number + AGAIN));
    if (place < 0) return { stage: "done" };
    return this.step(again[place], again[place].number + AGAIN, main.length + place + 1, main.length + again.length, false);
  }
  async send(answer) {
    const trial = seat.trials[answer.trial % AGAIN];
    const kept = { ...answer, commitment: trial.commitment ?? "" };
    await this.shelf.put("answers", answer.trial, kept);
    this.answers.set(answer.trial, kept);
    const said = { next: this.next() };
    if (trial.stage === "practice") said.feedback = answer.choice === trial.right;
    return said;
  }
  file() {
    const agent = navigator.userAgent;
    const marks = [["Edg/", "Edge"], ["Firefox/", "Firefox"], ["Chrome/", "Chromium"], ["Safari/", "Safari"]];
    const family = marks.find(([mark]) => agent.includes(mark))?.[1] ?? "other";
    const body = JSON.stringify({
      format: seat.format, study: seat.study, seat: seat.seat, sitting: this.sitting.name, consent: seat.consent,
      consented: this.sitting.consented, browser: `${family}, static`,
      answers: [...this.answers.values()].sort((a, b) => a.trial - b.trial),
    });
    const signature = hex(hmac(unhex(seat.key), new TextEncoder().encode(body)));
    return JSON.stringify({ body, signature });
  }
  finish(stage) {
    this.show(stage === "done" ? "finished" : "screened");
    for (const id of ["save", "save-screened"]) {
      document.getElementById(id).addEventListener("click", () => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([this.file()], { type: "application/json" }));
        link.download = `answers-seat-${seat.seat + 1}-${this.sitting.name.slice(0, 8)}.json`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      });
    }
  }
}
