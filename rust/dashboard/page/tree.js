// What runs at this moment, as a tree: every effect under the one that started it.

import { bar, branches, pill } from './charts.js';
import { Keyed, MAX_ROWS, clip, el, plural, setAttr, setMore, setName, setText, span } from './format.js';
import { scroller } from './tables.js';

// No prototype: a word from outside finds only what stands here.
const STATES = {
  __proto__: null,
  running: ['play', 'accent'],
  waiting: ['ring', 'idle'],
  'backing off': ['dashes', 'warn'],
  'falling back': ['triangle', 'warn'],
};
const MAX_DEPTH = 10;

/** Order by parent: [id, {entry, guides}]; who names an unknown parent, or is its own ancestor, stands at the top. */
function ordered(running) {
  const ids = Object.keys(running).sort((a, b) => a - b || (a < b ? -1 : 1));
  const children = new Map();
  const roots = [];
  for (const id of ids) {
    const parent = running[id].parent;
    if (parent === null || parent === undefined || !(parent in running)) roots.push(id);
    else if (children.has(String(parent))) children.get(String(parent)).push(id);
    else children.set(String(parent), [id]);
  }
  const seen = new Set();
  const list = [];
  const visit = (root) => {
    const stack = [[root, '']];
    while (stack.length) {
      const [id, guides] = stack.pop();
      if (seen.has(id)) continue;
      seen.add(id);
      list.push([id, { entry: running[id], guides }]);
      const below = children.get(id) ?? [];
      // A deep chain stays at the last level that is drawn.
      const room = guides.length < MAX_DEPTH;
      for (let i = below.length - 1; i >= 0; i -= 1) {
        stack.push([below[i], room ? guides + (i < below.length - 1 ? '1' : '0') : guides]);
      }
    }
  };
  roots.forEach(visit);
  for (const id of ids) if (!seen.has(id)) visit(id);
  return list;
}

export function runningTree(root, note) {
  const body = el('tbody', { role: 'rowgroup' });
  // The roles are spelled out because narrow screens lay the rows out as a grid, which would drop them.
  const head = el('tr', { role: 'row' }, ...['Effect', 'State', 'Waits on', 'Age', 'Time left'].map((label, i) =>
    el('th', { scope: 'col', role: 'columnheader', class: ['run', 'state', 'on', 'age', 'left'][i] }, label)));
  const table = el('table', { class: 'grid tree', role: 'table' }, el('thead', { role: 'rowgroup' }, head), body);
  const box = scroller('Running effects', table);
  const more = el('p', { class: 'more' });
  const empty = el('p', { class: 'empty' }, 'Nothing is running at this moment.');
  root.append(box, more, empty);

  const keyed = new Keyed(body, (id) => {
    const lines = branches();
    const name = el('span', { class: 'name' });
    const attempt = el('span', { class: 'chip' });
    const state = pill();
    const on = el('td', { class: 'on', role: 'cell' });
    const age = el('td', { class: 'age', role: 'cell' });
    const left = bar('left');
    const leftText = el('span', { class: 'figure' });
    const tr = el('tr', { role: 'row' },
      el('th', { scope: 'row', role: 'rowheader', class: 'run' }, el('div', { class: 'line' }, lines.node, name, attempt)),
      el('td', { class: 'state', role: 'cell' }, state.node), on, age,
      el('td', { class: 'left', role: 'cell' }, el('div', { class: 'line' }, left.node, leftText)));
    tr.setAttribute('data-run', id);
    return { nodes: [tr], tr, lines, name, attempt, state, on, age, left, leftText, entry: {} };
  }, (row, id) => row.tr.setAttribute('data-run', id));

  function tickRow(row, now) {
    const { since, deadline } = row.entry;
    setText(row.age, span(now - since));
    const limited = typeof deadline === 'number';
    const left = deadline - now;
    const fraction = left / Math.max(deadline - since, 0.001);
    const tone = !limited ? 'idle' : left <= 0 ? 'bad' : fraction < 0.25 ? 'warn' : 'accent';
    if (limited) row.left.set(fraction, tone);
    setText(row.leftText, !limited ? '–' : left <= 0 ? 'overdue' : span(left));
    if (tone === row.tone) return;
    row.tone = tone;
    row.leftText.setAttribute('data-tone', tone);
    row.left.node.classList.toggle('none', !limited);
    row.leftText.classList.toggle('none', !limited);
  }

  return {
    render({ state, now }) {
      const list = ordered(state.running ?? {});
      const shown = list.slice(0, MAX_ROWS);
      keyed.render(shown, (row, { entry, guides }) => {
        row.entry = entry;
        row.lines.set(guides);
        if (row.depth !== guides.length) row.tr.style.setProperty('--depth', (row.depth = guides.length));
        setName(row.name, entry.name);
        row.attempt.hidden = !(entry.attempt > 1);
        if (entry.attempt > 1) setText(row.attempt, `attempt ${entry.attempt}`);
        const [shape, tone] = STATES[entry.state] ?? ['hollow', 'idle'];
        row.state.set(shape, tone, clip(entry.state, 40));
        setAttr(row.tr, 'data-state', clip(entry.state, 40));
        setName(row.on, entry.on ?? '');
        tickRow(row, now);
      });
      const unlisted = state.running_more ?? 0;
      const total = list.length + unlisted;
      setMore(more, total - shown.length);
      box.hidden = list.length === 0;
      empty.hidden = list.length > 0;
      const states = { __proto__: null, running: 0, waiting: 0, 'backing off': 0, 'falling back': 0 };
      for (const [, { entry }] of list) if (entry.state in states) states[entry.state] += 1;
      setText(note, list.length === 0 ? '' : unlisted > 0 ? plural(total, 'effect')
        : Object.entries(states).filter(([, n]) => n > 0).map(([word, n]) => `${n} ${word}`).join(' · '));
    },
    tick(now) {
      for (const row of keyed) tickRow(row, now);
    },
  };
}
