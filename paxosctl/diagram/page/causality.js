// What an event follows from, and what follows from it: over arrows, and by the rules of the
// protocol or by the order of the events of each node.

class Causality {
  constructor() {
    const messages = [];
    for (let a = 0; a < ARROWS; a++) if (A.t[a] >= 0) messages.push(A.t[a], A.s[a]);
    const order = [];
    const last = new Array(data.nodes.length).fill(-1);
    for (let i = 0; i < EVENTS; i++) {
      if (last[E.n[i]] >= 0) order.push(i, last[E.n[i]]);
      last[E.n[i]] = i;
    }
    const flipped = (pairs) => pairs.map((_, at) => pairs[at ^ 1]);
    const both = (pairs) => ({ back: neighbours(pairs), forth: neighbours(flipped(pairs)) });
    this.graphs = { protocol: both(data.causes.concat(messages)), lamport: both(order.concat(messages)) };
  }

  // Uint8Array: 1 each event that is reached, without those where it starts.
  reach(starts, mode, direction) {
    const { offsets, items } = this.graphs[mode][direction];
    const reached = new Uint8Array(EVENTS);
    const waiting = [...starts];
    for (const start of starts) reached[start] = 2;
    while (waiting.length) {
      const here = waiting.pop();
      for (let at = offsets[here]; at < offsets[here + 1]; at++) {
        const next = items[at];
        if (!reached[next]) { reached[next] = 1; waiting.push(next); }
      }
    }
    for (const start of starts) reached[start] = 0;
    return reached;
  }

  direct(i, mode, direction) {
    const { offsets, items } = this.graphs[mode][direction];
    return Array.from(items.subarray(offsets[i], offsets[i + 1]));
  }
}

// pairs (event, other) → the others of each event, in one array.
function neighbours(pairs) {
  const offsets = new Uint32Array(EVENTS + 1);
  for (let at = 0; at < pairs.length; at += 2) offsets[pairs[at] + 1] += 1;
  for (let i = 0; i < EVENTS; i++) offsets[i + 1] += offsets[i];
  const items = new Uint32Array(pairs.length / 2);
  const next = offsets.slice();
  for (let at = 0; at < pairs.length; at += 2) items[next[pairs[at]]++] = pairs[at + 1];
  return { offsets, items };
}
