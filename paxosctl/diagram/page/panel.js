// The text beside the picture. Everything is put in as text, never as markup.

const LISTED = 60;
const byId = (id) => document.getElementById(id);

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// Rows of (name, words) about an event.
function fieldsOf(i) {
  const slots = E.s[i] ? (E.l[i] > E.s[i] ? E.s[i] + '..' + E.l[i] : String(E.s[i])) : '';
  const rows = [['event', E.i[i]], ['node', data.nodes[E.n[i]]], ['time', clock(E.t[i])],
    ['peer', E.p[i] >= 0 ? data.nodes[E.p[i]] : ''], ['ballot', E.b[i] >= 0 ? data.ballots[E.b[i]] : ''],
    ['slot', slots], ['says', E.d[i]]];
  return rows.filter(([, words]) => words);
}

const FATE_WORDS = { lost: 'lost: the receiver was recording, and it never came',
  down: 'not received: the receiver was down', unsent: 'could not be handed to the connection',
  later: 'arrives after what is drawn', open: 'no arrival is recorded; why is not known' };

function arrowWords(a) {
  const fate = data.fates[A.f[a]];
  const words = fate === 'arrived' ? tookWords(E.t[A.t[a]] - E.t[A.s[a]]) : FATE_WORDS[fate];
  const fault = A.x[a] >= 0 ? '; the fault ' + data.faults[A.x[a]] + ' was in force' : '';
  return (A.y[a] ? 'came again: ' : '') + words + fault;
}

function tookWords(us) {
  return us < 0 ? 'arrived at once, as far as the clocks are known' : 'arrived after ' + milliseconds(us);
}

function milliseconds(us) {
  return (us / 1000).toFixed(Math.abs(us) < 10000 ? 2 : 0) + ' ms';
}

function lineOf(i) {
  return data.nodes[E.n[i]] + ' ' + (E.m[i] ? mark(i) : data.whats[E.w[i]] + slotWords(i));
}

class Panel {
  constructor(choose) {
    this.choose = choose;
    for (const words of data.fault_words) {
      byId('faults-title').hidden = false;
      element('li', words, byId('faults'));
    }
  }

  // group: the events at the chosen place; arrows: those that leave it or come in.
  show(group, arrows, causes, effects, direct) {
    byId('fields').replaceChildren();
    byId('hint').hidden = byId('legend').hidden = group.length > 0;
    byId('chosen').textContent = group.length ? lineOf(group[0]) : 'Nothing selected';
    group.slice(0, 8).forEach((i, at) => {
      if (at) this.field('—', data.whats[E.w[i]]);
      for (const [name, words] of fieldsOf(i)) this.field(name, words);
    });
    for (const a of arrows.slice(0, 12)) {
      this.field(group.includes(A.s[a]) ? 'to ' + data.nodes[A.r[a]] : 'from ' + data.nodes[E.n[A.s[a]]],
        arrowWords(a));
    }
    this.list('causes', 'Follows from', causes, group, direct.causes);
    this.list('effects', 'Leads to', effects, group, direct.effects);
    byId('spoken').textContent = group.length
      ? group.map((i) => lineOf(i) + ', ' + E.d[i]).join('; ') + '; ' + byId('causes-title').textContent
        + '; ' + byId('effects-title').textContent : '';
  }

  field(name, words) {
    element('dt', name, byId('fields'));
    element('dd', words, byId('fields'));
  }

  list(id, words, reached, group, direct) {
    const title = byId(id + '-title'), list = byId(id);
    list.replaceChildren();
    title.hidden = !group.length;
    if (!group.length) return;
    const all = [];
    for (let i = 0; i < EVENTS; i++) if (reached[i]) all.push(i);
    title.textContent = words + ' ' + all.length + (all.length === 1 ? ' event' : ' events');
    const order = id === 'causes' ? all.reverse() : all;
    const first = new Set(direct);
    const items = [...order.filter((i) => first.has(i)), ...order.filter((i) => !first.has(i))];
    for (const i of items.slice(0, LISTED)) {
      const button = element('button', lineOf(i), element('li', undefined, list));
      button.type = 'button';
      button.title = E.i[i] + ' · ' + clock(E.t[i]);
      if (first.has(i)) button.style.fontWeight = '600';
      button.addEventListener('click', () => this.choose(i));
    }
    if (items.length > LISTED) element('li', '… and ' + (items.length - LISTED) + ' more', list);
  }
}

class Hover {
  constructor(box) { this.box = box; }

  hide() { this.box.hidden = true; }

  show(px, py, title, rows) {
    this.box.replaceChildren();
    element('strong', title, this.box);
    for (const [name, words] of rows) {
      const row = element('div', undefined, this.box);
      row.className = 'row';
      element('span', name, row);
      element('div', words, row);
    }
    this.box.hidden = false;
    const stage = this.box.parentElement;
    const width = this.box.offsetWidth, height = this.box.offsetHeight;
    this.box.style.left = Math.max(0, Math.min(px + 14, stage.clientWidth - width - 4)) + 'px';
    this.box.style.top = (py + 16 + height < stage.clientHeight ? py + 16 : Math.max(0, py - height - 10)) + 'px';
  }
}
