"use strict";
// The page works without this script; with it metrics can be chosen, tables sorted, and a row of videos plays in step.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// One metric for the whole page: every picker follows the one that was used.
for (const input of all(".picker input")) {
  input.addEventListener("change", () => {
    document.body.dataset.metric = input.value;
    for (const other of all(".picker input")) other.checked = other.value === input.value;
    for (const panel of all("[data-panel]")) panel.hidden = panel.dataset.panel !== input.value;
  });
}

// Tables: a button in every heading, so that the keyboard sorts too. Empty cells always come last.
for (const table of all("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  all("thead th", table).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => {
        const cell = row.cells[column];
        if (!cell) return null;
        if (cell.dataset.v !== undefined) return cell.dataset.v === "" ? null : Number(cell.dataset.v);
        return cell.textContent.trim() || null;
      };
      const sorted = rows.map((row, index) => ({ row, index, key: value(row) })).sort((a, b) => {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
        const order = typeof a.key === "number" && typeof b.key === "number" ? a.key - b.key : String(a.key).localeCompare(String(b.key), "en");
        return (down ? -order : order) || a.index - b.index;
      });
      body.append(...sorted.map((entry) => entry.row));
    });
  });
}

// Cells that have more to say: one stop of the Tab key per table or list, arrow keys from there; the note stays on the screen.
const LINE = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const place = (cell) => {
  const row = cell.closest("tr");
  return row ? [row.rowIndex, cell.closest("td, th").cellIndex] : [[...cell.closest("dl").children].indexOf(cell.parentElement), 0];
};
const put = (cell, note) => {
  const [box, own] = [cell.getBoundingClientRect(), note.getBoundingClientRect()];
  const below = box.bottom + 4 + own.height <= innerHeight;
  note.style.setProperty("--x", `${Math.max(8, Math.min(box.left, innerWidth - own.width - 8))}px`);
  note.style.setProperty("--y", `${below ? box.bottom + 4 : Math.max(4, box.top - own.height - 4)}px`);
};
addEventListener("scroll", () => {
  const cell = document.activeElement.closest("[data-tip]");
  if (cell) put(cell, cell.querySelector(".aside"));
}, { capture: true, passive: true });
for (const holder of all("table, dl")) {
  const cells = all("[data-tip]", holder).filter((cell) => cell.closest("table, dl") === holder);
  for (const cell of cells.slice(1)) cell.tabIndex = -1;
  const show = (event) => {
    const cell = event.target.closest("[data-tip]");
    const note = cell && cell.querySelector(".aside");
    if (!note) return;
    requestAnimationFrame(() => put(cell, note));
  };
  holder.addEventListener("focusin", show);
  holder.addEventListener("mouseover", show);
  holder.addEventListener("keydown", (event) => {
    const step = LINE[event.key];
    if (!step || !event.target.matches("[data-tip]")) return;
    const [row, column] = place(event.target);
    const ahead = cells.map((cell) => [cell, place(cell)]).filter(([, [r, c]]) =>
      (step[0] ? c === column && (r - row) * step[0] > 0 : r === row && (c - column) * step[1] > 0));
    if (!ahead.length) return;
    event.preventDefault();
    const next = ahead.reduce((a, b) => (Math.abs(a[1][0] - row) + Math.abs(a[1][1] - column) <= Math.abs(b[1][0] - row) + Math.abs(b[1][1] - column) ? a : b))[0];
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// Gallery: one player per row. The video whose sound is heard leads; the others follow it by a touch of speed, or a jump when far off.
const JUMP_S = 0.12;
const HOLD_S = 0.012;
let playing = null;

class Row {
  constructor(article) {
    this.videos = all("video", article);
    this.button = article.querySelector(".play");
    this.seek = article.querySelector(".seek");
    this.time = article.querySelector(".time");
    this.loop = article.querySelector(".loop");
    this.rate = 1;
    this.end = Number(this.seek.max);
    this.radios = all(".sound input", article);
    this.lead = this.videos[0];
    article.querySelector(".speed").addEventListener("change", (event) => { this.rate = Number(event.target.value); this.pace(); });
    this.button.addEventListener("click", () => (playing === this ? this.pause() : this.play()));
    this.seek.addEventListener("input", () => this.go(Number(this.seek.value)));
    for (const radio of this.radios) radio.addEventListener("change", () => this.hear());
    this.button.disabled = !this.videos.length;
    this.hear();
  }
  hear() {
    const chosen = this.radios.find((radio) => radio.checked);
    const video = chosen && chosen.closest("figure").querySelector("video");
    this.lead = video || this.videos[0];
    for (const other of this.videos) other.muted = other !== video;
    this.pace();
  }
  pace() { for (const video of this.videos) video.playbackRate = this.rate; }
  show(t) {
    this.seek.value = t;
    this.time.textContent = `${t.toFixed(2)} s`;
    this.seek.setAttribute("aria-valuetext", this.time.textContent);
  }
  label(on) { this.button.setAttribute("aria-pressed", String(on)); this.button.querySelector("b").textContent = on ? "Pause" : "Play"; }
  ready(video) {
    if (video.readyState >= 3) return Promise.resolve();
    // One load however often it is asked for: a second one would throw the first away.
    video.coming ??= new Promise((done) => {
      const over = () => { video.coming = null; done(); };
      for (const event of ["canplay", "error"]) video.addEventListener(event, over, { once: true });
      video.preload = "auto";
      video.load();
    });
    return video.coming;
  }
  settle(video, t) {
    if (Math.abs(video.currentTime - t) < 1e-3 && !video.seeking) return Promise.resolve();
    return new Promise((done) => { video.addEventListener("seeked", done, { once: true }); video.currentTime = t; });
  }
  async go(t) {
    this.wanted = t;
    this.show(t);
    await Promise.all(this.videos.map((video) => this.ready(video)));
    // While the videos loaded, the slider may have gone on: only its last place counts.
    if (this.wanted === t) for (const video of this.videos) video.currentTime = t;
  }
  async play() {
    if (playing) playing.pause();
    playing = this;
    this.label(true);
    await Promise.all(this.videos.map((video) => this.ready(video)));
    const start = Number(this.seek.value) >= this.end - 0.05 ? 0 : Number(this.seek.value);
    await Promise.all(this.videos.map((video) => this.settle(video, start)));
    if (playing !== this) return;
    this.pace();
    await Promise.allSettled(this.videos.map((video) => video.play()));
    requestAnimationFrame(() => this.follow());
  }
  follow() {
    if (playing !== this) return;
    const now = this.lead.currentTime;
    if (now >= this.end - 0.02 || this.lead.ended) {
      this.pause();
      this.show(this.end);
      if (this.loop.checked) { this.show(0); this.play(); }
      return;
    }
    for (const video of this.videos) {
      if (video === this.lead) { video.playbackRate = this.rate; continue; }
      const ahead = video.currentTime - now;
      if (Math.abs(ahead) > JUMP_S) video.currentTime = now;
      video.playbackRate = Math.abs(ahead) > HOLD_S ? this.rate * (1 - Math.max(-0.15, Math.min(0.15, ahead * 2))) : this.rate;
      if (video.paused && !video.ended) video.play().catch(() => {});
    }
    this.show(now);
    requestAnimationFrame(() => this.follow());
  }
  pause() {
    if (playing === this) playing = null;
    for (const video of this.videos) video.pause();
    this.label(false);
    this.show(this.lead ? Math.min(this.lead.currentTime, this.end) : 0);
  }
}
for (const article of all(".clip")) article.row = new Row(article);

const bar = { language: "gallery-language", metric: "gallery-metric", system: "gallery-system", reverse: "gallery-reverse", status: "gallery-status" };
for (const name of Object.keys(bar)) bar[name] = document.getElementById(bar[name]);
if (bar.metric) {
  const score = (clip) => {
    const of = (system) => {
      const figure = all("figure", clip).find((f) => f.dataset.system === system && f.dataset.condition === "self");
      return figure && JSON.parse(figure.dataset.scores)[bar.metric.value];
    };
    let value = of(bar.system.value);
    // Where neither side is better, what is far from the real video comes first.
    if (value !== undefined && bar.metric.selectedOptions[0].dataset.higher === "") {
      const real = of("real");
      value = real === undefined ? undefined : Math.abs(value - real);
    }
    return value === undefined ? null : value;
  };
  const arrange = () => {
    const metric = bar.metric.selectedOptions[0];
    // Worst first unless the reader asks otherwise: what went wrong is what there is to look at.
    const sign = (metric.dataset.higher === "1" ? 1 : -1) * (bar.reverse.checked ? -1 : 1);
    const clips = all(".clip").map((clip) => ({ clip, key: bar.metric.value ? score(clip) : null, order: Number(clip.dataset.order) }));
    clips.sort((a, b) => (a.key === null) - (b.key === null) || (a.key === null ? 0 : sign * (a.key - b.key)) || a.order - b.order);
    let shown = 0;
    for (const { clip } of clips) {
      clip.hidden = Boolean(bar.language.value) && clip.dataset.language !== bar.language.value;
      shown += !clip.hidden;
      if (clip.hidden && playing === clip.row) playing.pause();
    }
    document.getElementById("clips").append(...clips.map((entry) => entry.clip));
    bar.status.textContent = `${shown} of ${clips.length} clips`;
  };
  for (const name of ["language", "metric", "system", "reverse"]) bar[name].addEventListener("change", arrange);
}
