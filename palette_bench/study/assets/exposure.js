// One timed showing: images are decoded, shown in one frame, counted in frames, and hidden before anything is asked.

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

// The frames of a stretch of at least `ms`, as time stamps.
async function framesFor(ms, least = 2) {
  const stamps = [await nextFrame()];
  while (stamps.length < least || stamps.at(-1) - stamps[0] < ms) stamps.push(await nextFrame());
  return stamps;
}

export async function refreshOf(ms) {
  const stamps = await framesFor(ms, 8);
  const gaps = stamps.slice(1).map((stamp, n) => stamp - stamps[n]).filter((gap) => gap > 0);
  return gaps.length ? median(gaps) : 1000 / 60;
}

// Decoded images, in the document but hidden; how long that took.
export async function load(addresses, place) {
  const start = performance.now();
  const images = Object.entries(addresses).map(([side, address]) => {
    const image = new Image();
    image.id = `image-${side}`;
    image.alt = "";
    image.draggable = false;
    image.setAttribute("elementtiming", `image-${side}`);
    image.decoding = "sync";
    image.src = address;
    return [side, image];
  });
  await Promise.all(images.map(([, image]) => image.decode()));
  place.replaceChildren(...images.map(([, image]) => image));
  return { images: Object.fromEntries(images), decodeMs: performance.now() - start };
}

// Largest whole number of device pixels an image pixel can take, near one CSS pixel; 0 where the images do not fit.
export function pixelFor(side, across, ratio, width, height, gap) {
  const fit = Math.min((width * ratio - (across - 1) * gap * ratio) / (across * side), (height * ratio) / side);
  return Math.floor(Math.min(fit, Math.max(1, Math.round(ratio))));
}

// What happened to the page while images were shown.
class Watch {
  constructor() {
    this.hidden = document.hidden;
    this.blurred = !document.hasFocus();
    this.onHide = () => { if (document.hidden) this.hidden = true; };
    this.onBlur = () => { this.blurred = true; };
    document.addEventListener("visibilitychange", this.onHide);
    window.addEventListener("blur", this.onBlur);
  }
  stop() {
    document.removeEventListener("visibilitychange", this.onHide);
    window.removeEventListener("blur", this.onBlur);
  }
}

// The browser's own paint times of elements with an `elementtiming`, by that name.
export class PaintClock {
  constructor() {
    this.times = {};
    this.observer = null;
    if (!("PerformanceObserver" in window)) return;
    if (!PerformanceObserver.supportedEntryTypes?.includes("element")) return;
    this.observer = new PerformanceObserver((list) => this.read(list.getEntries()));
    this.observer.observe({ type: "element", buffered: false });
  }
  read(entries) {
    for (const entry of entries) this.times[entry.identifier] = entry.renderTime || entry.loadTime;
  }
  stop() {
    if (!this.observer) return this.times;
    this.read(this.observer.takeRecords());
    this.observer.disconnect();
    return this.times;
  }
}

// Show `images` together for `ms`; `atEnd` runs in the frame that hides them.
async function showOnce(images, ms, refresh, atEnd) {
  const on = await nextFrame();
  for (const image of images) image.classList.add("shown");
  let last = on;
  let frames = 0;
  let longest = 0;
  for (;;) {
    const now = await nextFrame();
    frames += 1;
    longest = Math.max(longest, now - last);
    last = now;
    // The nearest frame to the end: waiting for the first one after it would add half a frame on average.
    if (now - on >= ms - refresh / 2 || document.hidden) break;
  }
  for (const image of images) image.classList.remove("shown");
  if (atEnd) atEnd();
  return { shownMs: last - on, frames, longest, off: last };
}

// A whole trial's showing. Returns what was measured; the images are hidden when it does.
export async function expose({ images, cross, exposure, fixation, gap, sequence, atEnd }) {
  cross.classList.add("shown");
  const refresh = await refreshOf(fixation);
  const watch = new Watch();
  cross.classList.remove("shown");
  const shown = [];
  if (sequence) {
    shown.push(await showOnce([images.left], exposure, refresh));
    await framesFor(gap);
    shown.push(await showOnce([images.right], exposure, refresh, atEnd));
  } else {
    shown.push(await showOnce(Object.values(images), exposure, refresh, atEnd));
  }
  watch.stop();
  const worst = shown.reduce((a, b) => (Math.abs(b.shownMs - exposure) > Math.abs(a.shownMs - exposure) ? b : a));
  return {
    shown_ms: worst.shownMs,
    frames: worst.frames,
    longest_gap_ms: Math.max(...shown.map((one) => one.longest)),
    refresh_hz: 1000 / refresh,
    hidden: watch.hidden || document.hidden,
    blurred: watch.blurred,
    off: shown.at(-1).off,
  };
}
