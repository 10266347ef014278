// How the pointer went from question to answer, as a few numbers; no path is kept.

export class PointerSummary {
  constructor() {
    this.moves = 0;
    this.path = 0;
    this.first = null;
    this.last = null;
    this.trusted = true;
    this.onMove = (event) => this.moved(event);
    document.addEventListener("pointermove", this.onMove, { passive: true });
  }
  moved(event) {
    if (!event.isTrusted) this.trusted = false;
    const point = [event.clientX, event.clientY];
    if (this.last) this.path += Math.hypot(point[0] - this.last[0], point[1] - this.last[1]);
    this.first ??= point;
    this.last = point;
    this.moves += 1;
  }
  stop(event) {
    document.removeEventListener("pointermove", this.onMove);
    if (event && !event.isTrusted) this.trusted = false;
    const direct = this.first ? Math.hypot(this.last[0] - this.first[0], this.last[1] - this.first[1]) : 0;
    return {
      moves: this.moves,
      path_px: Math.round(this.path),
      direct_px: Math.round(direct),
      trusted: this.trusted,
      automated: navigator.webdriver === true,
    };
  }
}
