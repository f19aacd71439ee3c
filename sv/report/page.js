// Sounds: one player for all buttons.
const player = new Audio();
let playing = null;
const showPlaying = button => {
  if (playing) playing.textContent = "\u25b6";
  playing = button;
  if (button) button.textContent = "\u25a0";
};
player.onended = () => showPlaying(null);
document.addEventListener("click", event => {
  const button = event.target.closest("button[data-sound]");
  if (!button) return;
  player.pause();
  if (button === playing) return showPlaying(null);
  player.src = sounds[button.dataset.sound];
  player.play();
  showPlaying(button);
});

// Tables: a click on a column's head sorts the rows by it, a second click the other way round.
for (const button of document.querySelectorAll(".sortable th button")) button.onclick = () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0], column = head.cellIndex;
  const up = head.ariaSort !== "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.ariaSort = up ? "ascending" : "descending";
  const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const rows = [...body.rows].sort((a, b) => key(a).localeCompare(key(b), "en", {numeric: true}));
  body.append(...(up ? rows : rows.reverse()));
};

// Histograms: a list's scores by back-end, and the errors at a threshold.
const total = counts => counts.reduce((sum, count) => sum + count, 0);
const percent = (part, whole) => `${(100 * part / whole).toFixed(2)} %`;
for (const figure of document.querySelectorAll(".histogram")) {
  const [select, svg, slider, output] = ["select", "svg", "input", "output"].map(tag => figure.querySelector(tag));
  const width = 480, base = 190, height = 180;
  let data, edge;
  const area = (counts, highest) => {
    const step = width / counts.length, all = total(counts);
    const tops = counts.map((count, i) => `H${i * step}V${base - height * count / all / highest}H${(i + 1) * step}`);
    return `M0 ${base}${tops.join("")}V${base}Z`;
  };
  const errors = () => {
    const missed = total(data.target.slice(0, edge)), accepted = total(data.nontarget.slice(edge));
    const threshold = data.low + (data.high - data.low) * edge / data.target.length;
    svg.querySelector("line.threshold").setAttribute("transform", `translate(${edge * width / data.target.length} 0)`);
    output.textContent = `threshold ${threshold.toFixed(3)}: misses ${percent(missed, total(data.target))}, ` +
      `false accepts ${percent(accepted, total(data.nontarget))}`;
  };
  const draw = () => {
    data = histograms[figure.dataset.list][select.value];
    const bins = data.target.length;
    const highest = Math.max(...[data.target, data.nontarget].map(counts => Math.max(...counts) / total(counts)));
    svg.innerHTML = `<path class="nontarget" d="${area(data.nontarget, highest)}"/>` +
      `<path class="target" d="${area(data.target, highest)}"/><line x1="0" x2="${width}" y1="${base}" y2="${base}"/>` +
      `<line class="threshold" y1="5" y2="${base}"/><text x="0" y="210">${data.low.toFixed(2)}</text>` +
      `<text x="${width}" y="210" text-anchor="end">${data.high.toFixed(2)}</text>`;
    slider.max = bins;
    edge = slider.value = data.eer_edge;
    errors();
  };
  slider.oninput = () => { edge = Number(slider.value); errors(); };
  select.onchange = draw;
  draw();
}
