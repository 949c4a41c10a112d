// Small drawings as SVG: sparklines, bars, rings and the shapes that tell states apart without colour.

import { SAMPLES } from './state.js';
import { el, setText } from './format.js';

const NS = 'http://www.w3.org/2000/svg';

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function canvas(className, width, height, ...children) {
  return svg('svg', {
    class: className, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none',
    'aria-hidden': 'true', focusable: 'false',
  }, ...children);
}

/** A line over the last `samples` values, newest at the right; `floor` is the least top of its scale. */
export function sparkline(className, height, floor, samples = SAMPLES) {
  const step = 2;
  const width = (samples - 1) * step;
  const area = svg('path', { class: 'area' });
  const line = svg('path', { class: 'line' });
  const node = canvas(`spark ${className}`, width, height, area, line);
  let drawn = '';
  return {
    node,
    draw(ring) {
      const n = ring ? Math.min(ring.length, samples) : 0;
      let path = '';
      let most = 0;
      if (n > 1) {
        const first = ring.length - n;
        most = ring.max(first);
        const scale = (height - 3) / Math.max(most, floor);
        let x = width - (n - 1) * step;
        path = 'M';
        for (let i = 0; i < n; i += 1, x += step) {
          path += `${x} ${Math.round((height - 1 - ring.at(first + i) * scale) * 4) / 4} `;
        }
      }
      if (path === drawn) return;
      drawn = path;
      node.classList.toggle('flat', most === 0);
      line.setAttribute('d', path);
      area.setAttribute('d', path && `${path}V${height}H${width - (n - 1) * step}Z`);
    },
  };
}

/** A track with a filled part; `set` takes a fraction and a tone. */
export function bar(className = '') {
  const fill = svg('rect', { class: 'fill', width: '0', height: '4', rx: '2' });
  const node = svg('svg', { class: `bar ${className}`, 'aria-hidden': 'true', focusable: 'false' },
    svg('rect', { class: 'track', width: '100%', height: '4', rx: '2' }), fill);
  let width = '0';
  let shown = null;
  return {
    node,
    set(fraction, tone = 'accent') {
      const clamped = Math.min(1, Math.max(0, fraction || 0));
      const next = `${Math.round(clamped * 1000) / 10}%`;
      if (next !== width) fill.setAttribute('width', (width = next));
      if (tone !== shown) node.setAttribute('data-tone', (shown = tone));
    },
  };
}

/** Thin bars above one another, one for each priority, on one common scale. */
export function stackedBars(classes) {
  const bars = classes.map((name, i) =>
    svg('rect', { class: name, y: i * 6, width: '0', height: '4', rx: '1.5' }));
  const node = svg('svg', { class: 'depths', height: classes.length * 6 - 2, 'aria-hidden': 'true', focusable: 'false' },
    ...bars);
  return {
    node,
    set(values, scale) {
      bars.forEach((rect, i) => {
        const width = values[i] > 0 ? `${Math.max(5, Math.min(100, (100 * values[i]) / scale)).toFixed(1)}%` : '0';
        if (rect.getAttribute('width') !== width) rect.setAttribute('width', width);
      });
    },
  };
}

/** Parts of a whole side by side; `set` takes a list of [tone, amount]. */
export function parts(className = '') {
  const node = svg('svg', { class: `parts ${className}`, 'aria-hidden': 'true', focusable: 'false' });
  return {
    node,
    set(list) {
      const whole = list.reduce((sum, [, amount]) => sum + amount, 0);
      while (node.childNodes.length < list.length) node.append(svg('rect', { height: '100%' }));
      let x = 0;
      list.forEach(([tone, amount], i) => {
        const width = whole > 0 ? (100 * amount) / whole : 0;
        const rect = node.childNodes[i];
        rect.setAttribute('data-tone', tone);
        rect.setAttribute('x', `${x.toFixed(2)}%`);
        rect.setAttribute('width', `${width.toFixed(2)}%`);
        x += width;
      });
    },
  };
}

/** A ring filled by a fraction. */
export function donut() {
  const arc = svg('circle', {
    class: 'fill', cx: '10', cy: '10', r: '7.5', pathLength: '100', 'stroke-dasharray': '0 100', transform: 'rotate(-90 10 10)',
  });
  const node = svg('svg', { class: 'donut', viewBox: '0 0 20 20', 'aria-hidden': 'true', focusable: 'false' },
    svg('circle', { class: 'track', cx: '10', cy: '10', r: '7.5' }), arc);
  let shown = '0 100';
  return {
    node,
    set(fraction) {
      const filled = Math.round(1000 * Math.min(1, Math.max(0, fraction || 0))) / 10;
      const next = `${filled} 100`;
      if (next !== shown) arc.setAttribute('stroke-dasharray', (shown = next));
    },
  };
}

const CIRCLE = 'M6 2a4 4 0 1 1 0 8a4 4 0 1 1 0-8Z';
const SHAPES = {
  dot: ['fill', CIRCLE],
  ring: ['stroke', CIRCLE],
  dashes: ['stroke dashed', CIRCLE],
  half: ['both', CIRCLE, 'M6 2a4 4 0 0 1 0 8Z'],
  triangle: ['fill', 'M6 1.6 11 10.4H1Z'],
  diamond: ['fill', 'M6 .8 11.2 6 6 11.2.8 6Z'],
  square: ['fill', 'M2.2 2.2h7.6v7.6H2.2Z'],
  hollow: ['stroke', 'M2.6 2.6h6.8v6.8H2.6Z'],
  play: ['fill', 'M3 1.6 10.6 6 3 10.4Z'],
  check: ['stroke', 'M2 6.4 4.8 9 10 3.2'],
  cross: ['stroke', 'M2.6 2.6l6.8 6.8M9.4 2.6l-6.8 6.8'],
  dash: ['stroke', 'M2 6h8'],
};

/** A state as a shape, a colour and a word. */
export function pill(className = '') {
  const outline = svg('path');
  const inside = svg('path');
  const icon = svg('svg', { class: 'shape', viewBox: '0 0 12 12', 'aria-hidden': 'true', focusable: 'false' }, outline, inside);
  const word = el('span', { class: 'word' });
  const node = el('span', { class: `pill ${className}` });
  node.append(icon, word);
  let shown = '';
  return {
    node,
    set(shape, tone, text) {
      setText(word, text);
      const key = `${shape} ${tone}`;
      if (key === shown) return;
      shown = key;
      const [mode, d, fill] = SHAPES[shape];
      icon.setAttribute('class', `shape ${mode}`);
      outline.setAttribute('d', d);
      if (fill) inside.setAttribute('d', fill);
      else inside.removeAttribute('d');
      node.setAttribute('data-tone', tone);
    },
  };
}

const STEP = 18;
const MIDDLE = 17; // of the line a row's name stands on
const BELOW = 400; // further than any row is high: the box cuts it off

/** The lines of a tree in front of a row: `guides` has a "1" for every level that goes on below. */
export function branches() {
  const path = svg('path');
  const node = svg('svg', { class: 'branches', width: '0', 'aria-hidden': 'true', focusable: 'false' }, path);
  let shown = null;
  return {
    node,
    set(guides) {
      if (guides === shown) return;
      shown = guides;
      let d = '';
      for (let i = 0; i < guides.length; i += 1) {
        const x = i * STEP + 7.5;
        const last = i === guides.length - 1;
        if (guides[i] === '1') d += `M${x} 0V${BELOW}`;
        if (last) d += `${guides[i] === '1' ? `M${x} ${MIDDLE}` : `M${x} 0V${MIDDLE}`}H${x + 9}`;
      }
      node.setAttribute('width', guides.length * STEP);
      path.setAttribute('d', d);
    },
  };
}
