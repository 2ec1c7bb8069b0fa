// The shape of each event, and words for it.

const SHAPES = { 'phase 1': 'triangle', accept: 'circle', vote: 'ring', learn: 'square',
                 client: 'diamond', disk: 'tick', snapshot: 'hexagon', note: 'flag', other: 'dot' };
const MESSAGE_STATES = / (sent|received|unsent)$/;

// A message's ends are dots: the arrow says the rest. A vote that is published is a ring.
function shapeFor(i) {
  if (E.m[i]) return data.kinds[E.k[i]] === 'start' ? 'start' : 'flag';
  return MESSAGE_STATES.test(data.whats[E.w[i]]) ? 'dot' : SHAPES[data.families[E.f[i]]];
}

const shapeNames = Array.from({ length: EVENTS }, (_, i) => shapeFor(i));
const shapeOf = (i) => shapeNames[i];

function shape(c, name, x, y, size) {
  c.beginPath();
  if (name === 'dot' || name === 'circle') c.arc(x, y, size, 0, 7);
  else if (name === 'ring') {
    c.arc(x, y, size, 0, 7);
    c.lineWidth = 2;
    c.stroke();
    return;
  } else if (name === 'square') c.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
  else if (name === 'tick') c.rect(x - 1, y - size - 1, 2, 2 * size + 2);
  else if (name === 'start') c.rect(x - 1.5, y - 14, 3, 28);
  else if (name === 'flag') {
    c.moveTo(x - 1, y + 10); c.lineTo(x - 1, y - 8); c.lineTo(x + 8, y - 4.5); c.lineTo(x + 1, y - 1);
    c.lineTo(x + 1, y + 10);
  } else {
    const corners = { triangle: 3, diamond: 4, hexagon: 6, fault: 3 }[name];
    const turn = name === 'fault' ? Math.PI / 2 : -Math.PI / 2;
    for (let at = 0; at < corners; at++) {
      const angle = turn + at * 2 * Math.PI / corners;
      c.lineTo(x + Math.cos(angle) * size * 1.2, y + Math.sin(angle) * size * 1.2);
    }
    c.closePath();
  }
  c.fill();
}

function cross(c, x, y, size) {
  c.beginPath();
  c.moveTo(x - size, y - size); c.lineTo(x + size, y + size);
  c.moveTo(x - size, y + size); c.lineTo(x + size, y - size);
  c.stroke();
}

function head(c, x1, y1, x2, y2) {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const x = x2 - 3 * Math.cos(angle), y = y2 - 3 * Math.sin(angle);
  c.beginPath();
  c.moveTo(x, y);
  c.lineTo(x - 8 * Math.cos(angle - 0.32), y - 8 * Math.sin(angle - 0.32));
  c.lineTo(x - 8 * Math.cos(angle + 0.32), y - 8 * Math.sin(angle + 0.32));
  c.fill();
}

// The time of day of a moment, in µs since base_us.
function clock(us) {
  const moment = new Date((data.base_us + us) / 1000);
  return Number.isNaN(moment.getTime()) ? '?' : moment.toISOString().slice(11, 23);
}

function fitted(c, text, width) {
  if (c.measureText(text).width <= width) return text;
  let cut = text;
  while (cut && c.measureText(cut + '…').width > width) cut = cut.slice(0, -1);
  return cut + '…';
}

function slotWords(i) {
  if (!E.s[i]) return '';
  return ' ' + E.s[i] + (E.l[i] > E.s[i] ? '..' + E.l[i] : '');
}

function mark(i) {
  const ballot = E.b[i] >= 0 ? ' ' + data.ballots[E.b[i]] : '';
  return data.whats[E.w[i]] + ballot;
}
