// What a row opens to: the busiest keys of a policy, or workers, callers, kinds of errors; one by one, the others together.

import { bar, pill } from './charts.js';
import { Keyed, clip, count, el, plural, setMore, setName, setText, size } from './format.js';

// From the worst.
export const STATES = [
  ['isolated', 'square', 'bad', 'isolated'],
  ['open', 'diamond', 'bad', 'open'],
  ['half_open', 'half', 'warn', 'half open'],
  ['closed', 'dot', 'ok', 'closed'],
];

/** What is shown of a key by each kind of policy: [label, class, make]; `make` gives a node and what writes it. */
const COLUMNS = {
  __proto__: null,
  limit: [
    ['In flight', 'use', () => {
      const use = bar();
      const figure = el('span', { class: 'figure' });
      return [el('div', { class: 'line' }, use.node, figure), (key, { capacity = 0 }) => {
        use.set(capacity > 0 ? key.in_flight / capacity : 0, capacity > 0 && key.in_flight >= capacity ? 'warn' : 'accent');
        setText(figure, `${count(key.in_flight)}/${capacity}`);
      }];
    }],
    ['Waiting', 'num', number((key) => key.waiting)],
  ],
  rate: [['Waiting', 'num', number((key) => key.waiting)]],
  pool: [
    ['At work', 'at-work', () => {
      const node = el('span', { class: 'name' });
      return [node, (worker) => setName(node, clip(worker.at_work) || 'nothing')];
    }],
    ['Calls', 'num', number((worker) => worker.calls)],
    ['Memory', 'num', number((worker) => worker.memory, size)],
  ],
  router: [
    ['Address', 'at-work', () => {
      const node = el('span', { class: 'name' });
      return [node, (caller) => setName(node, clip(caller.address))];
    }],
    ['Requests', 'num', number((caller) => caller.requests)],
    ['At work', 'num', number((caller) => caller.running)],
    ['Errors', 'num', number((caller) => caller.errors)],
  ],
  command: [['Last minute', 'num', number((error) => error.lately)], ['Total', 'num', number((error) => error.total)]],
  breaker: [['State', 'state', () => {
    const state = pill();
    return [state.node, (key) => {
      const [, shape, tone, word] = STATES.find(([name]) => name === key.state) ?? STATES.at(-1);
      state.set(shape, tone, word);
    }];
  }]],
};

function number(of, shown = count) {
  return () => {
    const node = el('span');
    return [node, (key) => setText(node, shown(of(key)))];
  };
}

/** What the rows are, why none is there before they have been looked at, and why none is there after. */
const KEY = ['key', 'Its keys are listed in a moment.', 'All keys are at rest.'];
const ROWS = {
  __proto__: null,
  pool: ['worker', 'Its workers are listed in a moment.', 'No worker is there.'],
  router: ['caller', 'Its callers are listed in a moment.', 'No caller is there.'],
  command: ['error', 'Its errors are listed in a moment.', 'No errors so far.'],
};

/** The row below a policy's own, over `span` columns. */
export function keysDetail(kind, span, id) {
  const columns = COLUMNS[kind];
  const [one, soon, nothing] = ROWS[kind] ?? KEY;
  const body = el('tbody');
  const head = el('tr', {}, el('th', { scope: 'col' }, one[0].toUpperCase() + one.slice(1)), ...columns.map(([label, name]) => el('th', { scope: 'col', class: name }, label)));
  const table = el('table', { class: 'key-rows' }, el('thead', {}, head), body);
  const more = el('p', { class: 'more' });
  const none = el('p', { class: 'empty' });
  const node = el('tr', { class: 'detail', id }, el('td', { colspan: span }, el('div', { class: 'by-key' }, table, none, more)));
  // By place: two keys may be written alike.
  const keyed = new Keyed(body, () => {
    const label = el('th', { scope: 'row' });
    const cells = columns.map(([, name, make]) => {
      const [inside, write] = make();
      return { node: el('td', { class: name }, inside), write };
    });
    return { nodes: [el('tr', {}, label, ...cells.map((cell) => cell.node))], label, cells };
  });
  return {
    node,
    update(policy) {
      const { keys: listed, others = 0, other = {} } = policy.by_key ?? {};
      const keys = listed ?? [];
      keyed.render(keys.map((key, place) => [String(place), key]), (row, key) => {
        setName(row.label, key.key);
        row.nodes[0].setAttribute('data-key', key.key);
        for (const cell of row.cells) cell.write(key, policy);
      });
      table.hidden = keys.length === 0;
      none.hidden = keys.length > 0;
      setText(none, listed === undefined ? soon : nothing);
      setMore(more, 0);
      if (others > 0) {
        const figures = kind === 'breaker' || one !== 'key' ? '' : [other.in_flight > 0 ? `${other.in_flight} in flight` : '', `${count(other.waiting)} waiting`].filter(Boolean).join(' · ');
        more.hidden = false;
        setText(more, `other: ${plural(others, one)}${figures && ` · ${figures}`}`);
      }
    },
  };
}
