// The picture itself, on a canvas. Shapes and dashes say what the colours say, too.

const TOP = 34, BOTTOM = 26, LEFT = 76;
const STUB = 30;  // how far a message goes that does not arrive, in pixels
const DASHES = { 'phase 1': [8, 4], accept: [], vote: [2, 3], learn: [9, 3, 2, 3],
                 client: [1, 4], snapshot: [12, 3], disk: [], note: [], other: [1, 2] };
const BALLOT_COLOURS = 8;
const LOST_PART = 0.42;  // of the way, so that it is not on the lane in the middle

class Palette {
  constructor() {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue('--' + name).trim();
    for (const name of ['paper', 'ink', 'muted', 'line', 'faint', 'bad', 'warn', 'cause', 'effect',
                        'down']) this[name] = get(name);
    this.ballots = Array.from({ length: BALLOT_COLOURS }, (_, place) => get('b' + place));
  }

  ballot(place) {
    return place < 0 ? this.muted : this.ballots[place % BALLOT_COLOURS];
  }
}

class Drawing {
  constructor(canvas, layout) {
    this.canvas = canvas;
    this.layout = layout;
    this.left = 0;     // the place of the axis at the left edge
    this.scale = 16;   // pixels a unit
    this.scroll = 0;   // of the lanes, if they do not fit
    this.chosen = [];
    this.causes = this.effects = null;
    this.palette = new Palette();
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth || 800;
    this.height = this.canvas.clientHeight || 400;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.context = this.canvas.getContext('2d');
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  get room() { return this.width - LEFT - 20; }

  get laneHeight() {
    const lanes = Math.max(1, this.layout.lanes.length);
    return Math.min(230, Math.max(64, (this.height - TOP - BOTTOM) / lanes));
  }

  x(i) { return LEFT + (this.layout.at[i] - this.left) * this.scale; }

  laneY(lane) { return TOP + (this.layout.row[lane] + 0.5) * this.laneHeight - this.scroll; }

  y(i) { return this.laneY(E.n[i]); }

  draw() {
    const c = this.context;
    c.fillStyle = this.palette.paper;
    c.fillRect(0, 0, this.width, this.height);
    c.lineJoin = 'round';
    this.axis(c);
    for (const lane of this.layout.lanes) this.lane(c, lane);
    c.save();
    c.beginPath();
    c.rect(LEFT - 8, 0, this.width, this.height);
    c.clip();
    this.reigns(c);
    this.gaps(c);
    this.allArrows(c);
    this.points(c);
    this.labels(c);
    c.restore();
  }

  axis(c) {
    c.font = '11px system-ui, sans-serif';
    c.fillStyle = this.palette.muted;
    c.strokeStyle = this.palette.line;
    c.lineWidth = 1;
    const step = 130;
    for (let x = LEFT; x < this.width - 60; x += step) {
      const place = this.left + (x - LEFT) / this.scale;
      if (place < 0 || place > this.layout.end) continue;
      c.beginPath();
      c.moveTo(x, TOP - 12);
      c.lineTo(x, this.height - BOTTOM + 8);
      c.globalAlpha = 0.5;
      c.stroke();
      c.globalAlpha = 1;
      c.fillText(clock(this.layout.timeAt(place)), x + 3, this.height - 8);
    }
  }

  lane(c, lane) {
    const y = this.laneY(lane);
    c.font = '600 13px system-ui, sans-serif';
    c.fillStyle = this.palette.ink;
    c.fillText(fitted(c, data.nodes[lane], LEFT - 22), 8, y + 4);
    c.strokeStyle = this.palette.muted;
    c.lineWidth = 1;
    c.setLineDash(laneCounts[lane] ? [] : [2, 6]);
    c.beginPath();
    c.moveTo(LEFT - 8, y);
    c.lineTo(Math.min(this.width, LEFT + (this.layout.end - this.left) * this.scale + 16), y);
    c.stroke();
    c.setLineDash([]);
  }

  reigns(c) {
    for (const [lane, first, last, ballot] of data.reigns) {
      if (this.layout.row[lane] < 0) continue;
      const [from, to] = this.extent(first, last);
      if (to < from) continue;
      const y = this.laneY(lane);
      c.fillStyle = this.palette.ballot(ballot);
      c.globalAlpha = 0.22;
      c.fillRect(from, y - 8, to - from, 16);
      c.globalAlpha = 1;
      c.fillRect(from, y - 8, 2, 16);
    }
  }

  reignLabels(c) {
    c.font = '600 11px system-ui, sans-serif';
    for (const [lane, first, last, ballot] of data.reigns) {
      if (this.layout.row[lane] < 0) continue;
      const [from, to] = this.extent(first, last);
      const words = 'leads ' + data.ballots[ballot];
      if (to - from > c.measureText(words).width + 8) {
        this.write(c, words, from + 5, this.laneY(lane) + 22, this.palette.ballot(ballot));
      }
    }
  }

  // From which x to which a leader led.
  extent(first, last) {
    const end = LEFT + (this.layout.end - this.left) * this.scale + 16;
    return [Math.max(this.near(first, 1), LEFT - 8),
      Math.min(last < 0 ? end : this.near(last, -1), this.width + 9)];
  }

  // Text that can be read on top of lines.
  write(c, words, x, y, colour) {
    c.lineWidth = 3;
    c.strokeStyle = this.palette.paper;
    c.strokeText(words, x, y);
    c.fillStyle = colour;
    c.fillText(words, x, y);
  }

  // The x of an event, or if it is hidden of the next that is not, in that direction.
  near(i, direction) {
    while (i >= 0 && i < EVENTS && !this.layout.visible[i]) i += direction;
    if (i < 0) return -Infinity;
    return i >= EVENTS ? Infinity : this.x(i);
  }

  gaps(c) {
    for (const [before, after] of data.gaps) {
      const lane = E.n[after];
      if (this.layout.row[lane] < 0) continue;
      const from = before < 0 ? LEFT - 12 : Math.max(this.near(before, -1), LEFT - 8);
      const to = Math.min(this.near(after, 1), this.width + 9);
      if (to <= from) continue;
      const y = this.laneY(lane);
      c.fillStyle = this.palette.paper;
      c.fillRect(from + 5, y - 9, Math.max(2, to - from - 10), 18);
      c.strokeStyle = this.palette.down;
      c.lineWidth = 1.5;
      c.setLineDash([2, 6]);
      c.beginPath();
      c.moveTo(from + 5, y);
      c.lineTo(to - 5, y);
      c.stroke();
      c.setLineDash([]);
      if (before >= 0) cross(c, from + 8, y, 5);
      c.font = '11px system-ui, sans-serif';
      c.fillStyle = this.palette.muted;
      if (to - from > 60) c.fillText('down', (from + to) / 2 - 12, y - 6);
    }
  }

  // null: no selection; else 'cause', 'effect' or '' (neither).
  roleOf(a) {
    if (!this.causes) return null;
    const from = A.s[a], to = A.t[a];
    const own = (i) => this.chosen.includes(i);
    if (to >= 0 && this.causes[from] && (this.causes[to] || own(to))) return 'cause';
    if (to >= 0 && (this.effects[from] || own(from)) && this.effects[to]) return 'effect';
    return '';
  }

  allArrows(c) {
    const groups = new Map();
    let count = 0;
    for (const a of this.layout.arrows) {
      const x1 = this.x(A.s[a]);
      const x2 = A.t[a] >= 0 ? this.x(A.t[a]) : x1 + STUB;
      if (x2 < LEFT - 20 || x1 > this.width + 20) continue;
      count += 1;
      const role = this.roleOf(a);
      const key = role === null || role === '' ? E.b[A.s[a]] + '/' + E.f[A.s[a]] + '/' + role : role;
      if (!groups.has(key)) groups.set(key, { role, first: a, arrows: [] });
      groups.get(key).arrows.push(a, x1, x2);
    }
    this.crowded = count > 1200;
    const order = (group) => ['', null, 'effect', 'cause'].indexOf(group.role);
    for (const group of [...groups.values()].sort((p, q) => order(p) - order(q))) {
      this.arrowGroup(c, group);
    }
    c.setLineDash([]);
    c.globalAlpha = 1;
  }

  arrowGroup(c, { role, first, arrows }) {
    const family = data.families[E.f[A.s[first]]];
    const colour = role === 'cause' ? this.palette.cause : role === 'effect' ? this.palette.effect
      : this.palette.ballot(E.b[A.s[first]]);
    const dense = this.crowded;
    c.strokeStyle = c.fillStyle = colour;
    c.globalAlpha = role === '' ? (dense ? 0.06 : 0.13) : role === null && dense ? 0.3 : 1;
    c.lineWidth = role ? 2.4 : family === 'accept' ? 1.5 : 1.1;
    c.setLineDash(role === 'effect' ? [7, 3] : role === 'cause' || dense ? [] : DASHES[family]);
    c.beginPath();
    const heads = [];
    for (let at = 0; at < arrows.length; at += 3) {
      const [a, x1, x2] = [arrows[at], arrows[at + 1], arrows[at + 2]];
      const y1 = this.y(A.s[a]), y2 = this.laneY(A.r[a]);
      c.moveTo(x1, y1);
      if (A.t[a] >= 0) {
        c.lineTo(x2, y2);
        if (Math.abs(x2 - x1) + Math.abs(y2 - y1) > 14) heads.push(x1, y1, x2, y2);
      } else {
        const part = A.f[a] === FATE.unsent ? 0.16 : A.f[a] === FATE.down ? 0.86 : LOST_PART;
        c.lineTo(x1 + (x2 - x1) * part, y1 + (y2 - y1) * part);
      }
    }
    c.stroke();
    c.setLineDash([]);
    if (!dense || role) for (let at = 0; at < heads.length; at += 4) head(c, ...heads.slice(at, at + 4));
    for (let at = 0; at < arrows.length; at += 3) {
      if (isTroubled(arrows[at]) || A.t[arrows[at]] < 0) this.ending(c, arrows[at], arrows[at + 1], arrows[at + 2]);
    }
  }

  // How a message ended that did not simply arrive: a cross is lost, a barred circle means that the
  // receiver was down, a bar that it was not sent, a triangle that it met a fault.
  ending(c, a, x1, x2) {
    const y1 = this.y(A.s[a]), y2 = this.laneY(A.r[a]);
    const at = (part) => [x1 + (x2 - x1) * part, y1 + (y2 - y1) * part];
    c.save();
    c.lineWidth = 2;
    c.strokeStyle = c.fillStyle = this.palette.bad;
    if (A.f[a] === FATE.lost) cross(c, ...at(LOST_PART), 5);
    if (A.f[a] === FATE.down) {
      const [x, y] = at(0.86);
      c.beginPath();
      c.arc(x, y, 5, 0, 7);
      c.moveTo(x - 4, y + 4);
      c.lineTo(x + 4, y - 4);
      c.stroke();
    }
    if (A.f[a] === FATE.unsent) {
      const [x, y] = at(0.16);
      c.beginPath();
      c.moveTo(x - 6, y);
      c.lineTo(x + 6, y);
      c.stroke();
    }
    if (A.x[a] >= 0 || A.y[a]) {
      const [x, y] = at(A.t[a] >= 0 ? 0.43 : 0.24);
      c.fillStyle = this.palette.warn;
      shape(c, 'fault', x, y, 5);
    }
    c.restore();
  }

  points(c) {
    const small = this.layout.axis === 'steps' && this.scale < 5;
    for (const i of this.layout.shown) {
      const x = this.x(i);
      if (x < LEFT - 10 || x > this.width + 10) continue;
      const isCause = this.causes && this.causes[i], isEffect = this.effects && this.effects[i];
      const isChosen = this.chosen.includes(i);
      c.globalAlpha = this.causes && !isCause && !isEffect && !isChosen ? 0.2 : 1;
      const y = this.y(i);
      const name = shapeOf(i);
      c.fillStyle = c.strokeStyle = isCause ? this.palette.cause : isEffect ? this.palette.effect
        : E.m[i] === 2 ? this.palette.warn : this.palette.ballot(E.b[i]);
      c.lineWidth = 1.4;
      const size = small && !E.m[i] ? 1.8 : name === 'dot' ? 2.6 : 4.6;
      shape(c, small && !E.m[i] ? 'dot' : name, x, name === 'flag' ? y - 10 : y, size);
      if (isChosen || isCause || isEffect) this.halo(c, x, name === 'flag' ? y - 10 : y, isChosen, isEffect);
    }
    c.globalAlpha = 1;
  }

  halo(c, x, y, isChosen, isEffect) {
    c.lineWidth = isChosen ? 2.5 : 1.6;
    if (isChosen) c.strokeStyle = this.palette.ink;
    c.setLineDash(isEffect ? [3, 2] : []);
    c.beginPath();
    c.arc(x, y, isChosen ? 9 : 7, 0, 7);
    c.stroke();
    c.setLineDash([]);
  }

  // Names of marks always, of events and messages where there is room; never one over another.
  labels(c) {
    this.reignLabels(c);
    c.font = '11px system-ui, sans-serif';
    const free = new Map();
    const put = (row, words, x, y, colour) => {
      const right = x + c.measureText(words).width;
      if (x < (free.get(row) ?? -Infinity) || x > this.width) return;
      free.set(row, right + 8);
      this.write(c, words, x, y, colour);
    };
    const near = this.layout.axis === 'steps' && this.scale >= 15;
    for (const pass of [2, 1, 0]) {
      for (const i of this.layout.shown) {
        if (E.m[i] !== pass || (pass === 0 && (!near || shapeOf(i) === 'dot' || shapeOf(i) === 'tick'))) continue;
        const x = this.x(i);
        if (x < LEFT - 10) continue;
        const faded = this.causes && !this.causes[i] && !this.effects[i] && !this.chosen.includes(i);
        if (faded && pass === 0) continue;
        const y = this.y(i);
        if (pass) put('m' + pass + E.n[i], mark(i), x + 5, y - (pass === 2 ? 38 : 24),
                      faded ? this.palette.line : pass === 2 ? this.palette.warn : this.palette.ink);
        else put('p' + E.n[i], data.kinds[E.k[i]] + slotWords(i), x - 4, y + 36, this.palette.muted);
      }
    }
    if (near && this.scale >= 24) this.arrowLabels(c);
  }

  arrowLabels(c) {
    let count = 0;
    c.fillStyle = this.palette.muted;
    for (const a of this.layout.arrows) {
      const x1 = this.x(A.s[a]), x2 = A.t[a] >= 0 ? this.x(A.t[a]) : x1 + STUB;
      if (x2 < LEFT || x1 > this.width || this.roleOf(a) === '') continue;
      if ((count += 1) > 120) return;
      const y1 = this.y(A.s[a]), y2 = this.laneY(A.r[a]);
      const angle = Math.atan2(y2 - y1, x2 - x1);
      c.save();
      c.translate(x1 + (x2 - x1) * 0.36, y1 + (y2 - y1) * 0.36);
      c.rotate(angle);
      c.fillText(data.kinds[E.k[A.s[a]]] + slotWords(A.s[a]), -20, -4);
      c.restore();
    }
  }

  // The event nearest to a point of the canvas, or -1.
  eventAt(px, py, within = 11) {
    let best = -1, least = within * within;
    for (const i of this.layout.shown) {
      const dx = this.x(i) - px;
      if (dx > within || dx < -within) continue;
      const dy = this.y(i) - (shapeOf(i) === 'flag' ? 10 : 0) - py;
      const distance = dx * dx + dy * dy;
      if (distance < least) { least = distance; best = i; }
    }
    return best;
  }

  // The arrow nearest to a point of the canvas, or -1.
  arrowAt(px, py, within = 5) {
    let best = -1, least = within;
    for (const a of this.layout.arrows) {
      const x1 = this.x(A.s[a]), x2 = A.t[a] >= 0 ? this.x(A.t[a]) : x1 + STUB;
      if (px < Math.min(x1, x2) - within || px > Math.max(x1, x2) + within) continue;
      const y1 = this.y(A.s[a]), y2 = this.laneY(A.r[a]);
      const dx = x2 - x1, dy = y2 - y1;
      const part = Math.max(0, Math.min(1, ((px - x1) * dx + (py - y1) * dy) / (dx * dx + dy * dy || 1)));
      const distance = Math.hypot(px - x1 - part * dx, py - y1 - part * dy);
      if (distance < least) { least = distance; best = a; }
    }
    return best;
  }
}
