"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const { layout, ids, columns, views } = data;
  const full = new Set(data.full);
  const byKey = new Map(columns.map((column) => [column.key, column]));
  const element = (id) => document.getElementById(id);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const PAGE = 48;
  const BLINK_MS = 600;
  const MOST_ZOOM = 16;

  // Columns of a strip: condition, first sample, reference, further samples.
  const sides = [["Condition", 0]];
  for (let sample = 0; sample < layout.samples; sample++) {
    const name = layout.samples === 1 ? "Prediction" : `Sample ${sample}`;
    sides.push([name, sample === 0 ? 1 : sample + 2]);
  }
  sides.push(["Reference", 2]);
  const nameOf = (place) => sides.find((side) => side[1] === place)[0];

  const state = { view: null, column: "", descending: false, flips: false, group: "", find: "", rows: [], page: 0 };
  const seen = { place: -1, left: 1, right: 2, split: 0.5, zoom: 1, x: 0, y: 0, timer: 0, hidden: false };

  function made(tag, parts = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(parts)) {
      if (name === "text") node.textContent = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function className(index) {
    return data.labels === null ? "" : data.classNames[data.labels[index]];
  }

  function word(number) {
    return data.words[number] ?? `class ${number}`;
  }

  function shownNumber(column, index) {
    const value = column.values[index];
    return value === null ? "none" : value.toFixed(column.digits).replace("-", "\u2212");
  }

  // A crop shows some neighbouring tiles of a line; sizes are in percent, so that it fits whatever box it is in.
  function crop(index, place, tiles, alt, exact) {
    const own = exact && full.has(index);
    const sheet = Math.floor(index / layout.lines);
    const line = own ? 0 : index % layout.lines;
    const lines = own ? 1 : Math.min(layout.lines, layout.count - sheet * layout.lines);
    const source = own
      ? `full/${String(index).padStart(6, "0")}.png`
      : `sheets/${String(sheet).padStart(5, "0")}.${layout.suffix}`;
    const image = made("img", { alt, loading: "lazy", decoding: "async", draggable: "false" });
    image.style.width = `${(layout.columns / tiles) * 100}%`;
    image.style.height = `${lines * 100}%`;
    image.style.left = `${(-place / tiles) * 100}%`;
    image.style.top = `${-line * 100}%`;
    image.src = source;
    const box = made("div", { class: layout.exact ? "crop pixelated" : "crop" }, image);
    box.style.aspectRatio = String(tiles);
    return box;
  }

  // ---- the list

  function choose(view) {
    Object.assign(state, { view, column: view.column, descending: view.descending, flips: view.flips, page: 0 });
    refresh();
  }

  function refresh() {
    const find = state.find.toLowerCase();
    const rows = [];
    for (let index = 0; index < ids.length; index++) {
      if (state.flips && !data.flips[index]) continue;
      if (state.group !== "" && data.labels[index] !== Number(state.group)) continue;
      if (find && !ids[index].toLowerCase().includes(find)) continue;
      rows.push(index);
    }
    const sign = state.descending ? -1 : 1;
    if (state.column) {
      const { values } = byKey.get(state.column);
      rows.sort((a, b) => {
        if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null) || a - b;
        return sign * (values[a] - values[b]) || a - b;
      });
    } else if (state.descending) rows.reverse();
    state.rows = rows;
    draw();
  }

  function pages() {
    return Math.max(Math.ceil(state.rows.length / PAGE), 1);
  }

  function draw() {
    state.page = Math.min(Math.max(state.page, 0), pages() - 1);
    const rows = state.rows.slice(state.page * PAGE, (state.page + 1) * PAGE);
    element("grid").replaceChildren(...rows.map(card));
    const whole = state.rows.length === ids.length ? "" : ` of ${ids.length.toLocaleString("en")}`;
    const view = views.find((one) => one.column === state.column && one.flips === state.flips &&
      (one.column === "" || one.descending === state.descending));
    const note = view && view.key !== "all" ? `: ${view.note}` : "";
    element("shown").textContent = state.rows.length
      ? `${state.rows.length.toLocaleString("en")}${whole} items${note}`
      : "No item fits. Choose another class or list, or search for something else.";
    for (const button of document.querySelectorAll("[data-view]")) {
      button.setAttribute("aria-pressed", String(view !== undefined && button.dataset.view === view.key));
    }
    element("choose-sort").value = state.column;
    element("direction").textContent = state.column
      ? (state.descending ? "largest first" : "smallest first")
      : (state.descending ? "reversed" : "as it is");
    element("page-number").value = String(state.page + 1);
    element("page-number").max = String(pages());
    element("page-count").textContent = `of ${pages().toLocaleString("en")}`;
    element("previous-page").disabled = state.page === 0;
    element("next-page").disabled = state.page === pages() - 1;
  }

  function card(index) {
    const column = byKey.get(state.column) ?? byKey.get(views.find((view) => view.column)?.column) ?? columns[0];
    const caption = made("div", { class: "caption" }, made("span", { text: ids[index] }));
    caption.append(made("span", { text: column ? `${column.title} ${shownNumber(column, index)}` : "" }));
    if (data.labels !== null) {
      caption.append(made("span", { text: className(index) }));
      const flipped = data.flips !== null && data.flips[index];
      const named = data.predicted === null || data.right[index] ? "" : `seen as ${word(data.predicted[index])}`;
      caption.append(made("span", { text: named, class: flipped ? "flip" : "quiet" }));
    }
    const button = made("button", { type: "button", class: "card", "data-index": String(index) });
    button.append(crop(index, 0, 3, `${ids[index]}: condition, prediction, reference`, false), caption);
    button.addEventListener("click", () => open(state.rows.indexOf(index)));
    return button;
  }

  function turn(pages) {
    state.page += pages;
    draw();
    element("shown").scrollIntoView({ block: "nearest" });
  }

  function walk(event) {
    const cards = [...element("grid").children];
    const at = cards.indexOf(document.activeElement);
    if (at < 0) return;
    const across = getComputedStyle(element("grid")).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -at, End: cards.length - 1 - at };
    const target = cards[at + steps[event.key]];
    if (!(event.key in steps)) return;
    event.preventDefault();
    if (target) target.focus();
  }

  // ---- one item

  function current() {
    return state.rows[seen.place];
  }

  function open(place) {
    if (place < 0 || place >= state.rows.length) return;
    seen.place = place;
    const dialog = element("item");
    show();
    if (!dialog.open) {
      dialog.showModal();
      fit();
      element("stage").focus();
    }
    remember();
  }

  function move(step) {
    open(seen.place + step);
  }

  function remember() {
    // A page from disk may not be allowed to; then there is simply no link to an item.
    try {
      history.replaceState(null, "", element("item").open ? `#item=${current()}` : location.href.split("#")[0]);
    } catch { }
  }

  function show() {
    const index = current();
    element("item-title").textContent = ids[index];
    element("item-place").textContent = `${(seen.place + 1).toLocaleString("en")} of ${state.rows.length.toLocaleString("en")}`;
    element("previous-item").disabled = seen.place === 0;
    element("next-item").disabled = seen.place === state.rows.length - 1;
    element("item-note").textContent = layout.exact || full.has(index)
      ? (layout.exact ? "" : "These are the exact images.")
      : "These are lossy thumbnails: the exact images of this item are not part of the report.";
    element("panels").replaceChildren(...sides.map(([name, place]) => made("figure", {},
      crop(index, place, 1, `${name} of ${ids[index]}`, true), made("figcaption", { text: name }))));
    element("numbers").replaceChildren(...facts(index).flatMap(([name, text]) =>
      [made("dt", { text: name }), made("dd", { text })]));
    compare();
  }

  function facts(index) {
    const rows = [];
    if (data.labels !== null) rows.push(["class", className(index)]);
    if (data.predicted !== null) {
      const verdict = data.right[index] ? "right" : "wrong";
      rows.push(["prediction seen as", `${word(data.predicted[index])} (${verdict})`]);
    }
    if (data.reference !== null) rows.push(["reference seen as", word(data.reference[index])]);
    for (const column of columns) rows.push([column.title, shownNumber(column, index)]);
    return rows;
  }

  function compare() {
    const index = current();
    for (const side of ["left", "right"]) {
      const name = nameOf(seen[side]);
      element(`${side}-layer`).replaceChildren(crop(index, seen[side], 1, `${name} of ${ids[index]}`, true));
      element(side).value = String(seen[side]);
    }
    place();
  }

  // Everything that moves without another image: slider, blink, zoom.
  function place() {
    const split = seen.timer || seen.hidden ? (seen.hidden ? 0 : 1) : seen.split;
    const stage = element("stage");
    element("left-layer").style.clipPath = `inset(0 ${(1 - split) * 100}% 0 0)`;
    element("divider").style.left = `${seen.split * 100}%`;
    element("slider").value = String(Math.round(seen.split * 100));
    stage.classList.toggle("blinking", seen.timer !== 0 || seen.hidden);
    stage.classList.toggle("zoomed", seen.zoom > 1);
    element("blink").setAttribute("aria-pressed", String(seen.timer !== 0 || seen.hidden));
    const least = 100 * (1 - seen.zoom);
    seen.x = Math.min(Math.max(seen.x, least), 0);
    seen.y = Math.min(Math.max(seen.y, least), 0);
    for (const box of stage.querySelectorAll(".crop")) {
      box.style.transform = `translate(${seen.x}%, ${seen.y}%) scale(${seen.zoom})`;
      box.classList.toggle("pixelated", layout.exact || seen.zoom * stage.clientWidth >= 2 * layout.size);
    }
    element("zoom-level").value = `${Math.round(seen.zoom * 100)}%`;
    const [left, right] = [nameOf(seen.left), nameOf(seen.right)];
    element("side-shown").textContent = stage.classList.contains("blinking") ? (split ? left : right) : "";
    stage.setAttribute("aria-label", `${left} and ${right} of ${ids[current()]}, ${Math.round(seen.split * 100)}% ${left}`);
  }

  function slide(split) {
    unblink();
    seen.split = Math.min(Math.max(split, 0), 1);
    place();
  }

  // Where motion is not wanted, every press shows the other image once.
  function blink() {
    if (still.matches) seen.hidden = !seen.hidden;
    else if (seen.timer) unblink();
    else {
      seen.hidden = true;
      seen.timer = setInterval(() => {
        seen.hidden = !seen.hidden;
        place();
      }, BLINK_MS);
    }
    place();
  }

  function unblink() {
    clearInterval(seen.timer);
    seen.timer = 0;
    seen.hidden = false;
  }

  // The point at (x, y), in percent of the stage, stays where it is.
  function zoom(factor, x = 50, y = 50) {
    const next = Math.min(Math.max(seen.zoom * factor, 1), MOST_ZOOM);
    const ratio = next / seen.zoom;
    seen.x = x - (x - seen.x) * ratio;
    seen.y = y - (y - seen.y) * ratio;
    seen.zoom = next;
    place();
  }

  // As large as fits by a whole factor, so that all pixels are of one size; on a narrow screen large images fill it.
  function fit() {
    const narrow = innerWidth <= 832;
    const room = narrow ? element("item").clientWidth - 24 : Math.min(innerHeight - 250, innerWidth * 0.55, 768);
    const edge = Math.max(room, 160);
    const whole = Math.floor(edge / layout.size) * layout.size;
    const filled = whole === 0 || (narrow && layout.size > 96);
    element("item").style.setProperty("--edge", `${filled ? Math.floor(edge) : whole}px`);
    place();
  }

  function at(event) {
    const box = element("stage").getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * 100, ((event.clientY - box.top) / box.height) * 100];
  }

  function press(event) {
    if (event.button !== 0) return;
    const stage = element("stage");
    const pans = seen.zoom > 1 && event.target.id !== "divider";
    let last = at(event);
    if (!pans) slide(last[0] / 100);
    const drag = (moved) => {
      const now = at(moved);
      if (pans) {
        seen.x += now[0] - last[0];
        seen.y += now[1] - last[1];
        place();
      } else slide(now[0] / 100);
      last = now;
    };
    stage.setPointerCapture(event.pointerId);
    stage.addEventListener("pointermove", drag);
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, () => stage.removeEventListener("pointermove", drag), { once: true });
    }
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!element("item").open) {
      if (element("grid").contains(document.activeElement)) walk(event);
      return;
    }
    const typing = ["SELECT", "INPUT"].includes(event.target.tagName);
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !typing) {
      if (event.shiftKey) slide(seen.split + step * 0.05);
      else move(step);
    } else if (event.key === "b") blink();
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") zoom(0);
    else return;
    event.preventDefault();
  }

  function closed() {
    unblink();
    remember();
    const page = Math.floor(seen.place / PAGE);
    if (page !== state.page) {
      state.page = page;
      draw();
    }
    element("grid").children[seen.place % PAGE]?.focus();
  }

  // ---- tables and signatures

  function sortTable(button) {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const place = head.cellIndex;
    const descending = head.getAttribute("aria-sort") !== "descending";
    for (const other of head.parentElement.children) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const sign = descending ? -1 : 1;
    const number = (row) => Number(row.cells[place].dataset.value ?? NaN);
    const rows = [...body.rows];
    if (place === 0) rows.sort((a, b) => sign * a.cells[0].textContent.localeCompare(b.cells[0].textContent, "en"));
    else {
      rows.sort((a, b) => {
        const [first, second] = [number(a), number(b)];
        if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) - Number.isNaN(second);
        return sign * (first - second);
      });
    }
    body.append(...rows);
  }

  async function copy(button) {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // ---- what is where

  function begin() {
    if (data.labels !== null) {
      const used = [...new Set(data.labels)].sort((a, b) => a - b);
      element("choose-class").append(made("option", { value: "", text: "all" }),
        ...used.map((label) => made("option", { value: String(label), text: data.classNames[label] })));
      element("choose-class").parentElement.hidden = false;
    }
    element("choose-sort").append(made("option", { value: "", text: "set order" }),
      ...columns.map((column) => made("option", { value: column.key, text: column.title })));
    for (const side of ["left", "right"]) {
      element(side).append(...sides.map(([name, place]) => made("option", { value: String(place), text: name })));
      element(side).addEventListener("change", (event) => {
        seen[side] = Number(event.target.value);
        compare();
      });
    }
    for (const button of document.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => choose(views.find((view) => view.key === button.dataset.view)));
    }
    const changed = (id, name) => element(id).addEventListener("input", (event) => {
      Object.assign(state, { [name]: event.target.value, page: 0 });
      refresh();
    });
    changed("choose-class", "group");
    changed("find", "find");
    element("choose-sort").addEventListener("change", (event) => {
      Object.assign(state, { column: event.target.value, descending: event.target.value !== "", page: 0 });
      refresh();
    });
    const on = (id, kind, action) => element(id).addEventListener(kind, action);
    on("direction", "click", () => { Object.assign(state, { descending: !state.descending, page: 0 }); refresh(); });
    on("previous-page", "click", () => turn(-1));
    on("next-page", "click", () => turn(1));
    on("page-number", "change", (event) => { state.page = (Number(event.target.value) || 1) - 1; draw(); });
    on("previous-item", "click", () => move(-1));
    on("next-item", "click", () => move(1));
    on("close", "click", () => element("item").close());
    on("item", "close", closed);
    on("blink", "click", blink);
    on("zoom-in", "click", () => zoom(1.5));
    on("zoom-out", "click", () => zoom(1 / 1.5));
    on("zoom-fit", "click", () => zoom(0));
    on("slider", "input", (event) => slide(Number(event.target.value) / 100));
    on("stage", "pointerdown", press);
    on("stage", "dblclick", (event) => zoom(seen.zoom > 1 ? 0 : 4, ...at(event)));
    element("stage").addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.25 : 0.8, ...at(event));
    }, { passive: false });
    document.addEventListener("keydown", key);
    addEventListener("resize", () => { if (element("item").open) fit(); });
    for (const button of document.querySelectorAll("button.sort")) button.addEventListener("click", () => sortTable(button));
    for (const button of document.querySelectorAll("button.copy")) button.addEventListener("click", () => copy(button));
    choose(views[0]);
    const linked = /^#item=(\d+)$/.exec(location.hash);
    if (linked && Number(linked[1]) < ids.length) open(state.rows.indexOf(Number(linked[1])));
  }

  begin();
})();
