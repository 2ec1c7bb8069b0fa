// The strip below: the whole run, with what is shown in a frame; drag or click it to go there.

class Overview {
  constructor(canvas, drawing) {
    this.canvas = canvas;
    this.drawing = drawing;
    this.picture = document.createElement('canvas');
  }

  // Draw the run anew; show() then puts the frame on it.
  refresh() {
    const { drawing, canvas } = this;
    const { layout, palette } = drawing;
    const ratio = window.devicePixelRatio || 1;
    this.width = canvas.clientWidth || 800;
    this.height = canvas.clientHeight || 54;
    canvas.width = this.picture.width = Math.round(this.width * ratio);
    canvas.height = this.picture.height = Math.round(this.height * ratio);
    const c = this.picture.getContext('2d');
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = palette.faint;
    c.fillRect(0, 0, this.width, this.height);
    const row = (this.height - 12) / Math.max(1, layout.lanes.length);
    this.density(c, row);
    for (const a of layout.arrows) {
      if (!TROUBLE_FATES.has(A.f[a])) continue;
      c.fillStyle = palette.bad;
      c.fillRect(this.x(layout.at[A.s[a]]) - 1, this.height - 5, 2, 5);
    }
    for (const i of layout.shown) {
      if (!E.m[i]) continue;
      c.fillStyle = E.m[i] === 2 ? palette.warn : palette.ink;
      c.fillRect(this.x(layout.at[i]) - 1, 0, 2, E.m[i] === 2 ? 7 : 4);
    }
    this.reached(c, drawing.effects, palette.effect, row);
    this.reached(c, drawing.causes, palette.cause, row);
    this.show();
  }

  // A line each event; those of one colour at one place are one line.
  density(c, row) {
    const { layout, palette } = this.drawing;
    const seen = new Set();
    const lines = new Map();
    for (const i of layout.shown) {
      const x = Math.round(this.x(layout.at[i]));
      const key = (x * 4096 + layout.row[E.n[i]]) * 4096 + E.b[i];
      if (E.m[i] || seen.has(key)) continue;
      seen.add(key);
      const colour = palette.ballot(E.b[i]);
      if (!lines.has(colour)) lines.set(colour, new Path2D());
      lines.get(colour).rect(x, 8 + layout.row[E.n[i]] * row, 1, Math.max(1, row - 2));
    }
    c.globalAlpha = 0.6;
    for (const [colour, path] of lines) { c.fillStyle = colour; c.fill(path); }
    c.globalAlpha = 1;
  }

  reached(c, events, colour, row) {
    if (!events) return;
    const { layout } = this.drawing;
    c.fillStyle = colour;
    for (const i of layout.shown) {
      if (events[i]) c.fillRect(this.x(layout.at[i]) - 1, 8 + layout.row[E.n[i]] * row, 2, row - 2);
    }
  }

  show() {
    const { drawing } = this;
    const c = this.canvas.getContext('2d');
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.drawImage(this.picture, 0, 0);
    const ratio = this.canvas.width / this.width;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const from = Math.max(0, this.x(drawing.left));
    const to = Math.min(this.width, this.x(drawing.left + drawing.room / drawing.scale));
    c.fillStyle = drawing.palette.ink;
    c.globalAlpha = 0.1;
    c.fillRect(from, 0, Math.max(3, to - from), this.height);
    c.globalAlpha = 1;
    c.strokeStyle = drawing.palette.ink;
    c.strokeRect(from + 0.5, 0.5, Math.max(3, to - from - 1), this.height - 1);
  }

  x(place) { return place / this.drawing.layout.end * (this.width - 2); }

  placeAt(x) { return x / (this.width - 2) * this.drawing.layout.end; }
}
