// What the mouse, the keys and the controls do.

const layout = new Layout();
const causality = new Causality();
const canvas = byId('picture');
const drawing = new Drawing(canvas, layout);
const overview = new Overview(byId('overview'), drawing);
const hover = new Hover(byId('hover'));
const panel = new Panel((i) => { choose(i); reveal(i); });
const NONE = { causes: [], effects: [] };
let awaited = false;
let selected = -1;

// Draw once before the next frame, however often it is asked for.
function redraw() {
  if (awaited) return;
  awaited = true;
  requestAnimationFrame(() => { awaited = false; drawing.draw(); overview.show(); });
}

function bounds() {
  const lanes = layout.lanes.length * drawing.laneHeight;
  drawing.scroll = Math.max(0, Math.min(drawing.scroll, lanes - (drawing.height - TOP - BOTTOM)));
  const most = layout.end - drawing.room / drawing.scale * 0.8;
  drawing.left = Math.max(Math.min(drawing.left, most), 0);
  redraw();
}

function fit() {
  drawing.scale = drawing.room / (layout.end + 1);
  drawing.left = 0;
  bounds();
}

// At the start and after a filter: everything if that can be read, else a part.
function comfortable() {
  const whole = drawing.room / (layout.end + 1);
  const shown = Math.max(1, layout.shown.length);
  const wanted = layout.axis === 'steps' ? 16 : whole * Math.max(1, shown / 90);
  drawing.scale = layout.axis === 'steps' && whole > 7 ? Math.min(whole, 40) : Math.max(wanted, whole);
  bounds();
}

function zoom(factor, px = LEFT + drawing.room / 2) {
  const place = drawing.left + (px - LEFT) / drawing.scale;
  const least = drawing.room / (layout.end + 1) / 1.5;
  const most = layout.axis === 'steps' ? 140 : 20;
  drawing.scale = Math.max(least, Math.min(Math.max(most, least), drawing.scale * factor));
  drawing.left = place - (px - LEFT) / drawing.scale;
  bounds();
}

function pan(pixels) {
  drawing.left += pixels / drawing.scale;
  bounds();
}

function reveal(i) {
  if (!layout.visible[i]) return;
  const x = drawing.x(i);
  if (x < LEFT + 30 || x > drawing.width - 40) drawing.left = layout.at[i] - drawing.room / 2 / drawing.scale;
  bounds();
}

function choose(i) {
  selected = i;
  const mode = byId('follow').value;
  const group = i < 0 ? [] : [i, ...layout.together(i).filter((j) => j !== i)];
  drawing.chosen = group;
  drawing.causes = i < 0 ? null : causality.reach(group, mode, 'back');
  drawing.effects = i < 0 ? null : causality.reach(group, mode, 'forth');
  const own = new Set(group);
  const arrows = i < 0 ? [] : layout.arrows.filter((a) => own.has(A.s[a]) || own.has(A.t[a]));
  const direct = i < 0 ? NONE : {
    causes: group.flatMap((j) => causality.direct(j, mode, 'back')),
    effects: group.flatMap((j) => causality.direct(j, mode, 'forth')),
  };
  panel.show(group, arrows, drawing.causes, drawing.effects, direct);
  overview.refresh();
  redraw();
}

function refresh() {
  const middle = layout.timeAt(drawing.left + drawing.room / 2 / drawing.scale);
  layout.refresh();
  if (selected >= 0 && !layout.visible[selected]) choose(-1);
  const i = layout.shown.find((each) => E.t[each] >= middle) ?? layout.shown.at(-1);
  comfortable();
  if (i !== undefined) drawing.left = layout.at[i] - drawing.room / 2 / drawing.scale;
  bounds();
  overview.refresh();
  count();
}

function count() {
  const lost = layout.arrows.filter((a) => A.f[a] === FATE.lost).length;
  const faulted = layout.arrows.filter((a) => A.x[a] >= 0).length;
  byId('counts').textContent = layout.shown.length + ' of ' + EVENTS + ' events, ' + layout.arrows.length
    + ' messages: ' + lost + ' lost, ' + faulted + ' met a fault';
}

// -- controls

function checkboxes(parent, names, hidden) {
  names.forEach((name, place) => {
    const counts = parent.id === 'families' ? E.f : E.n;
    const many = counts.filter((each) => each === place).length;
    if (!many && parent.id === 'families') return;
    const label = element('label', undefined, parent);
    const box = element('input', undefined, label);
    box.type = 'checkbox';
    box.checked = true;
    label.append(' ' + name);
    label.title = many + ' events';
    box.addEventListener('change', () => {
      if (box.checked) hidden.delete(place); else hidden.add(place);
      refresh();
    });
  });
}

function setAxis(value) {
  layout.axis = byId('axis').value = value;
  refresh();
}

function wireControls() {
  checkboxes(byId('lanes'), data.nodes, layout.filter.lanes);
  checkboxes(byId('families'), data.families, layout.filter.families);
  data.ballots.forEach((name, place) => { element('option', name, byId('ballot')).value = place; });
  byId('controls').addEventListener('submit', (event) => event.preventDefault());
  byId('slots').addEventListener('input', () => {
    const ranges = parseSlots(byId('slots').value);
    byId('slots').classList.toggle('wrong', ranges === undefined);
    if (ranges === undefined) return;
    layout.filter.slots = ranges;
    refresh();
    const first = ranges && layout.shown.find((i) => E.s[i]);
    if (first != null) reveal(first);
  });
  byId('ballot').addEventListener('change', () => {
    layout.filter.ballot = byId('ballot').value === '' ? -1 : +byId('ballot').value;
    refresh();
  });
  byId('troubled').addEventListener('change', () => {
    layout.filter.troubled = byId('troubled').checked;
    refresh();
  });
  byId('axis').addEventListener('change', () => setAxis(byId('axis').value));
  byId('follow').addEventListener('change', () => choose(selected));
  byId('zoom-in').addEventListener('click', () => zoom(1.5));
  byId('zoom-out').addEventListener('click', () => zoom(1 / 1.5));
  byId('fit').addEventListener('click', fit);
  byId('help').addEventListener('click', toggleHelp);
  byId('theme').addEventListener('click', () => setDark(!document.documentElement.classList.contains('dark')));
}

function toggleHelp() {
  byId('keys').hidden = !byId('keys').hidden;
  byId('help').setAttribute('aria-expanded', String(!byId('keys').hidden));
  drawing.resize();
  bounds();
}

function setDark(dark) {
  document.documentElement.classList.toggle('dark', dark);
  drawing.palette = new Palette();
  drawLegend();
  overview.refresh();
  redraw();
}

// -- mouse

function wireMouse() {
  let held = null;
  canvas.addEventListener('pointerdown', (event) => {
    held = { x: event.offsetX, y: event.offsetY, left: drawing.left, scroll: drawing.scroll, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!held) { point(event.offsetX, event.offsetY); return; }
    const dx = event.offsetX - held.x, dy = event.offsetY - held.y;
    if (Math.abs(dx) + Math.abs(dy) > 4) held.moved = true;
    if (!held.moved) return;
    canvas.classList.add('dragging');
    drawing.left = held.left - dx / drawing.scale;
    drawing.scroll = held.scroll - dy;
    hover.hide();
    bounds();
  });
  canvas.addEventListener('pointerup', (event) => {
    canvas.classList.remove('dragging');
    if (held && !held.moved) pick(event.offsetX, event.offsetY);
    held = null;
  });
  canvas.addEventListener('pointerleave', () => hover.hide());
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    const across = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (across) pan((event.deltaX || event.deltaY) * 1.2);
    else zoom(Math.exp(-Math.max(-200, Math.min(200, event.deltaY)) * 0.0022), event.offsetX);
  }, { passive: false });
  const strip = byId('overview');
  const go = (event) => {
    if (!(event.buttons & 1)) return;
    drawing.left = overview.placeAt(event.offsetX) - drawing.room / 2 / drawing.scale;
    bounds();
  };
  strip.addEventListener('pointerdown', (event) => { strip.setPointerCapture(event.pointerId); go(event); });
  strip.addEventListener('pointermove', go);
}

function pick(px, py) {
  const i = drawing.eventAt(px, py);
  if (i >= 0) { choose(i); return; }
  const a = drawing.arrowAt(px, py);
  choose(a < 0 ? -1 : A.t[a] >= 0 ? A.t[a] : A.s[a]);
}

function point(px, py) {
  const i = drawing.eventAt(px, py);
  if (i >= 0) {
    const group = layout.together(i);
    const rows = fieldsOf(i);
    for (const a of layout.arrows) {
      if (group.includes(A.s[a])) rows.push(['to ' + data.nodes[A.r[a]], arrowWords(a)]);
      else if (A.t[a] === i) rows.push(['from ' + data.nodes[E.n[A.s[a]]], arrowWords(a)]);
    }
    const more = group.length > 1 ? ' (' + group.length + ' at once)' : '';
    hover.show(px, py, data.whats[E.w[i]] + more, rows.slice(0, 14));
    return;
  }
  const a = drawing.arrowAt(px, py);
  if (a < 0) { hover.hide(); return; }
  const s = A.s[a];
  hover.show(px, py, data.kinds[E.k[s]] + ' ' + data.nodes[E.n[s]] + ' → ' + data.nodes[A.r[a]],
    [['what', arrowWords(a)], ...fieldsOf(s).filter(([name]) => !['node', 'peer'].includes(name))]);
}

// -- keys

function step(direction, sameLane) {
  const order = layout.shown;
  let at = selected < 0 ? -1 : order.indexOf(selected);
  if (selected < 0 && order.length) {
    at = order.findIndex((i) => layout.at[i] >= drawing.left) - (direction > 0 ? 1 : 0);
  }
  const lane = selected < 0 ? -1 : E.n[selected], column = selected < 0 ? -1 : E.c[selected];
  for (at += direction; at >= 0 && at < order.length; at += direction) {
    const i = order[at];
    if (selected >= 0 && E.n[i] === lane && E.c[i] === column) continue;
    if (!sameLane || lane < 0 || E.n[i] === lane) { choose(i); reveal(i); return; }
  }
}

function otherLane(direction) {
  if (selected < 0) { step(1, false); return; }
  const row = layout.row[E.n[selected]] + direction;
  let best = -1, least = Infinity;
  for (const i of layout.shown) {
    const distance = Math.abs(layout.at[i] - layout.at[selected]);
    if (layout.row[E.n[i]] === row && distance < least) { least = distance; best = i; }
  }
  if (best >= 0) { choose(best); reveal(best); }
}

function follow(direction) {
  if (selected < 0) return;
  const near = causality.direct(selected, byId('follow').value, direction).filter((i) => layout.visible[i]);
  if (near.length) { choose(near[0]); reveal(near[0]); }
}

const KEYS = {
  '+': () => zoom(1.35), '=': () => zoom(1.35), '-': () => zoom(1 / 1.35), '0': fit,
  ArrowLeft: (shift) => (shift ? step(-1, true) : pan(-drawing.room / 5)),
  ArrowRight: (shift) => (shift ? step(1, true) : pan(drawing.room / 5)),
  ArrowUp: (shift) => (shift ? otherLane(-1) : scroll(-60)),
  ArrowDown: (shift) => (shift ? otherLane(1) : scroll(60)),
  Home: () => { drawing.left = 0; bounds(); }, End: () => { drawing.left = layout.end; bounds(); },
  n: () => step(1, false), p: () => step(-1, false),
  c: () => follow('back'), e: () => follow('forth'),
  t: () => setAxis(layout.axis === 'steps' ? 'time' : 'steps'),
  Escape: () => choose(-1), '?': toggleHelp,
};

function scroll(pixels) {
  drawing.scroll += pixels;
  bounds();
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches('input:not([type=checkbox]), select')) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action(event.shiftKey);
});

// -- legend

function drawLegend() {
  const box = byId('legend');
  box.replaceChildren();
  const sample = (words, draw) => {
    const span = element('span', undefined, box);
    const small = element('canvas', undefined, span);
    small.width = 44; small.height = 18;
    const c = small.getContext('2d');
    c.fillStyle = c.strokeStyle = drawing.palette.ballot(0);
    c.lineWidth = 1.6;
    draw(c);
    element('span', words, span);
  };
  const names = { 'phase 1': 'prepare, promise', accept: 'accept, vote into the log', vote: 'vote published',
                  learn: 'applied, decisions', client: 'answered', disk: 'durable', snapshot: 'snapshot' };
  for (const [family, words] of Object.entries(names)) {
    sample(words, (c) => {
      c.setLineDash(DASHES[family]);
      if (family !== 'disk') { c.beginPath(); c.moveTo(0, 9); c.lineTo(44, 9); c.stroke(); }
      c.setLineDash([]);
      shape(c, SHAPES[family], 22, 9, 4.6);
    });
  }
  sample('lost', (c) => { c.strokeStyle = drawing.palette.bad; c.lineWidth = 2; cross(c, 22, 9, 5); });
  sample('receiver down', (c) => {
    c.strokeStyle = drawing.palette.bad;
    c.beginPath(); c.arc(22, 9, 5, 0, 7); c.moveTo(18, 13); c.lineTo(26, 5); c.stroke();
  });
  sample('met a fault, or came twice', (c) => { c.fillStyle = drawing.palette.warn; shape(c, 'fault', 22, 9, 5); });
  sample('line of the log', (c) => { c.fillStyle = drawing.palette.ink; shape(c, 'flag', 20, 8, 5); });
  sample('cause', (c) => { c.strokeStyle = drawing.palette.cause; c.beginPath(); c.arc(22, 9, 7, 0, 7); c.stroke(); });
  sample('effect', (c) => {
    c.strokeStyle = drawing.palette.effect;
    c.setLineDash([3, 2]); c.beginPath(); c.arc(22, 9, 7, 0, 7); c.stroke();
  });
  data.ballots.slice(0, 24).forEach((name, place) => sample(name, (c) => {
    c.fillStyle = drawing.palette.ballot(place);
    c.fillRect(4, 4, 36, 10);
  }));
}

// -- begin

document.documentElement.classList.toggle('dark', matchMedia('(prefers-color-scheme: dark)').matches);
drawing.palette = new Palette();
wireControls();
wireMouse();
drawLegend();
comfortable();
overview.refresh();
count();
drawing.draw();
overview.show();
new ResizeObserver(() => { drawing.resize(); bounds(); overview.refresh(); drawing.draw(); }).observe(byId('stage'));
document.documentElement.dataset.ready = 'yes';
// For tests and for the console: where an event is drawn, and what is highlighted.
window.paxosDiagram = {
  data, layout, drawing, choose, reveal, setAxis, fit,
  firstMs: performance.now() - BEGUN,  // until the first picture was there
  where: (i) => ({ x: drawing.x(i), y: drawing.y(i) }),
  redrawNow: () => { const from = performance.now(); drawing.draw(); overview.show(); return performance.now() - from; },
};
