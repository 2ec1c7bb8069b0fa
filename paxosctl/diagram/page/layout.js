// What is shown, and where: events on lanes, in steps of the causal order or by time.

const BEGUN = performance.now();
const data = JSON.parse(document.getElementById('data').textContent);
const E = data.events;
const A = data.arrows;
const EVENTS = E.n.length;
const ARROWS = A.s.length;
const FAMILY = Object.fromEntries(data.families.map((name, place) => [name, place]));
const FATE = Object.fromEntries(data.fates.map((name, place) => [name, place]));
const TROUBLE_FATES = new Set([FATE.lost, FATE.down, FATE.unsent]);

const isTroubled = (a) => TROUBLE_FATES.has(A.f[a]) || A.x[a] >= 0 || A.y[a] === 1;

// Per event: whether an arrow at it was lost or met a fault.
const troubledEvents = new Uint8Array(EVENTS);
for (let a = 0; a < ARROWS; a++) {
  if (isTroubled(a)) {
    troubledEvents[A.s[a]] = 1;
    if (A.t[a] >= 0) troubledEvents[A.t[a]] = 1;
  }
}

const laneCounts = new Array(data.nodes.length).fill(0);
for (const lane of E.n) laneCounts[lane] += 1;

// By time no lane goes back, even if its clock did.
const times = new Float64Array(EVENTS);
{
  const last = new Array(data.nodes.length).fill(-Infinity);
  for (let i = 0; i < EVENTS; i++) last[E.n[i]] = times[i] = Math.max(last[E.n[i]], E.t[i]);
}

// "7", "7..9" or several with commas → ranges; null: everything; undefined: it is none of these.
function parseSlots(text) {
  if (!text.trim()) return null;
  const ranges = [];
  for (const part of text.split(',')) {
    const found = /^\s*(\d+)\s*(?:\.\.\s*(\d+)\s*)?$/.exec(part);
    if (!found || (found[2] !== undefined && +found[2] < +found[1])) return undefined;
    ranges.push([+found[1], +(found[2] ?? found[1])]);
  }
  return ranges;
}

class Layout {
  constructor() {
    this.filter = { slots: null, ballot: -1, troubled: false,
                    families: new Set(), lanes: new Set() };  // the last two: what is hidden
    this.axis = 'steps';
    this.visible = new Uint8Array(EVENTS);
    this.at = new Float64Array(EVENTS);  // along the axis; the unit is a step, or a microsecond
    this.refresh();
  }

  refresh() {
    this.lanes = data.nodes.map((_, lane) => lane).filter((lane) => !this.filter.lanes.has(lane));
    this.row = data.nodes.map((_, lane) => this.lanes.indexOf(lane));
    this.shown = [];
    for (let i = 0; i < EVENTS; i++) {
      this.visible[i] = this.takes(i) ? 1 : 0;
      if (this.visible[i]) this.shown.push(i);
    }
    this.arrows = [];
    for (let a = 0; a < ARROWS; a++) if (this.takesArrow(a)) this.arrows.push(a);
    this.place();
  }

  takes(i) {
    const f = this.filter;
    if (f.lanes.has(E.n[i]) || f.families.has(E.f[i])) return false;
    const isMark = E.m[i] > 0;
    if (f.slots) {
      const free = E.s[i] === 0 && (isMark || E.f[i] === FAMILY['phase 1']);
      if (!free && !f.slots.some(([a, b]) => E.s[i] && E.s[i] <= b && E.l[i] >= a)) return false;
    }
    if (f.ballot >= 0 && E.b[i] !== f.ballot && !(isMark && E.b[i] < 0)) return false;
    return !f.troubled || isMark || troubledEvents[i] === 1;
  }

  takesArrow(a) {
    if (this.row[A.r[a]] < 0 || !this.visible[A.s[a]]) return false;
    if (this.filter.troubled && !isTroubled(a)) return false;
    return A.t[a] < 0 || this.visible[A.t[a]] === 1;
  }

  place() {
    let end = 0;
    if (this.axis === 'time') {
      for (const i of this.shown) end = Math.max(end, this.at[i] = times[i]);
    } else {
      let column = -1;
      let step = -1;
      for (const i of this.shown) {  // columns ascend with the order of the events
        if (E.c[i] !== column) { column = E.c[i]; step += 1; }
        this.at[i] = step;
      }
      end = Math.max(step, 0);
    }
    this.end = end || 1;
  }

  // The time at a place of the axis, in µs since base_us.
  timeAt(place) {
    if (this.axis === 'time') return place;
    let low = 0, high = this.shown.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at[this.shown[middle]] < place) low = middle + 1; else high = middle;
    }
    return this.shown.length ? E.t[this.shown[low]] : 0;
  }

  // Events at the very same place of a lane: the sendings of one message to several nodes.
  together(i) {
    const found = [];
    for (const j of this.shown) if (E.n[j] === E.n[i] && E.c[j] === E.c[i]) found.push(j);
    return found;
  }
}
