// The services with their health, and the shutdown while it is under way.

import { pill, svg } from './charts.js';
import { Keyed, byName, capped, clip, el, entriesOf, plural, setAttr, setMore, setName, setText, span } from './format.js';
import { scroller } from './tables.js';

// No prototype: a word from outside finds only what stands here.
const HEALTH = {
  __proto__: null,
  up: ['dot', 'ok'],
  starting: ['half', 'accent'],
  degraded: ['triangle', 'warn'],
  failed: ['cross', 'bad'],
  stopping: ['half', 'idle'],
  stopped: ['hollow', 'idle'],
};
const UNKNOWN = ['dashes', 'idle'];

export function servicesTable(root, note) {
  // The roles are spelled out because narrow screens lay the rows out as a grid, which would drop them.
  const body = el('tbody', { role: 'rowgroup' });
  const head = el('tr', { role: 'row' }, ...[['col-name', 'Service'], ['state', 'State'], ['reason', 'Reason']].map(([name, label]) =>
    el('th', { scope: 'col', role: 'columnheader', class: name }, label)));
  const table = el('table', { class: 'grid services', role: 'table' }, el('thead', { role: 'rowgroup' }, head), body);
  const box = scroller('Services', table);
  const more = el('p', { class: 'more' });
  const empty = el('p', { class: 'empty' }, 'No service has been started by this program.');
  root.append(box, more, empty);

  const keyed = new Keyed(body, (name) => {
    const label = el('span', { class: 'name' });
    setName(label, name);
    const state = pill();
    const reason = el('div', { class: 'clamp' });
    const tr = el('tr', { role: 'row' }, el('th', { scope: 'row', role: 'rowheader', class: 'col-name' }, label),
      el('td', { role: 'cell', class: 'state' }, state.node), el('td', { role: 'cell', class: 'reason' }, reason));
    tr.setAttribute('data-service', name);
    return { nodes: [tr], tr, state, reason };
  });

  return {
    render({ state }) {
      const all = entriesOf(state.services).sort(byName);
      const [shown, left] = capped(all);
      keyed.render(shown, (row, service) => {
        const word = clip(service.state, 40);
        const [shape, tone] = HEALTH[word] ?? UNKNOWN;
        row.state.set(shape, tone, word);
        setAttr(row.tr, 'data-state', word);
        setName(row.reason, service.reason ?? '');
      });
      setMore(more, left);
      box.hidden = all.length === 0;
      empty.hidden = all.length > 0;
      const counts = {};
      for (const [, { state: word }] of all) if (word in HEALTH) counts[word] = (counts[word] ?? 0) + 1;
      setText(note, Object.keys(HEALTH).filter((word) => counts[word]).map((word) => `${counts[word]} ${word}`).join(' · '));
    },
  };
}

const OUTCOMES = {
  __proto__: null,
  running: ['play', 'accent'],
  done: ['check', 'ok'],
  failed: ['cross', 'bad'],
  timed_out: ['triangle', 'warn'],
  abandoned: ['hollow', 'warn'],
};

/** A track on the time axis of the shutdown, from its beginning to its deadline. */
function lane() {
  const fill = svg('rect', { class: 'fill', y: '5', height: '8', rx: '2', width: '0' });
  const present = svg('line', { class: 'present', y1: '0', y2: '100%' });
  const limit = svg('line', { class: 'deadline', y1: '0', y2: '100%' });
  const node = svg('svg', { class: 'lane', 'aria-hidden': 'true', focusable: 'false' },
    svg('rect', { class: 'track', width: '100%', y: '8', height: '2', rx: '1' }), fill, present, limit);
  return {
    node,
    set(from, to, now, deadline, tone) {
      const at = (fraction) => `${(100 * Math.min(1, Math.max(0, fraction))).toFixed(2)}%`;
      setAttr(fill, 'x', at(from));
      setAttr(fill, 'width', at(Math.max(0.004, to - from)));
      for (const [line, x] of [[present, at(now)], [limit, at(deadline)]]) {
        setAttr(line, 'x1', x);
        setAttr(line, 'x2', x);
      }
      limit.toggleAttribute('hidden', !(deadline < 1));
      setAttr(node, 'data-tone', tone);
    },
  };
}

export function shutdownPanel(root) {
  const phase = el('span', { class: 'phase', role: 'status' });
  const left = el('span', { class: 'figure' });
  const remains = el('p', { class: 'note' });
  const body = el('tbody');
  const end = el('span');
  const table = el('table', { class: 'grid steps' }, el('thead', {}, el('tr', {},
    el('th', { scope: 'col', class: 'col-name' }, 'Step'), el('th', { scope: 'col', class: 'state' }, 'Outcome'),
    el('th', { scope: 'col', class: 'time' }, el('div', { class: 'axis' }, el('span', {}, 'began'), end)),
    el('th', { scope: 'col', class: 'num took' }, 'Took'))), body);
  const more = el('p', { class: 'more' });
  const box = scroller('Steps of the shutdown', table);
  const waiting = el('p', { class: 'empty' }, 'No step has begun yet.');
  root.append(
    el('div', { class: 'subhead' }, el('h3', {}, 'Shutting down: ', phase), left), remains, box, more, waiting);
  setAttr(root, 'aria-label', 'Shutdown');

  const keyed = new Keyed(body, () => {
    const label = el('span', { class: 'name' });
    const outcome = pill();
    const time = lane();
    const took = el('td', { class: 'num took' });
    const error = el('p', { class: 'error' });
    const tr = el('tr', {}, el('th', { scope: 'row', class: 'col-name' }, label, error),
      el('td', { class: 'state' }, outcome.node), el('td', { class: 'time' }, time.node), took);
    return { nodes: [tr], tr, label, outcome, time, took, error, step: {} };
  });
  let current = null;

  function tick(now) {
    if (!current) return;
    const { began, deadline } = current;
    const passed = now - began;
    const bounded = typeof deadline === 'number';
    let whole = bounded ? deadline - began : passed;
    // A step that outlives the deadline stretches the axis rather than leaving it.
    for (const { step } of keyed) whole = Math.max(whole, (step.started ?? 0) + (step.took ?? passed - (step.started ?? 0)));
    whole = Math.max(whole, 0.001);
    const late = bounded && now > deadline;
    setText(left, !bounded ? `${span(passed)} so far` : late ? `${span(now - deadline)} past the deadline` : `${span(deadline - now)} left`);
    setAttr(left, 'data-tone', late ? 'bad' : 'accent');
    setText(end, !bounded ? 'now' : late ? `now, ${span(passed)} in; deadline after ${span(deadline - began)}` : `deadline after ${span(deadline - began)}`);
    for (const row of keyed) {
      const { started = 0, took } = row.step;
      const until = took ?? Math.max(0, passed - started);
      const [, tone] = OUTCOMES[row.step.outcome] ?? UNKNOWN;
      row.time.set(started / whole, (started + until) / whole, passed / whole, bounded ? (deadline - began) / whole : 1, tone);
      setText(row.took, span(until));
    }
  }

  return {
    render({ state, now }) {
      current = state.shutdown ?? null;
      root.hidden = current === null;
      if (current === null) {
        keyed.render([], () => {});
        return;
      }
      const word = String(current.phase ?? '').replaceAll('_', ' ');
      setText(phase, clip(word, 60));
      const [shown, extra] = capped(entriesOf(current.steps));
      keyed.render(shown, (row, step) => {
        row.step = step;
        setName(row.label, step.name);
        const [shape, tone] = OUTCOMES[step.outcome] ?? UNKNOWN;
        row.outcome.set(shape, tone, clip(String(step.outcome ?? 'pending').replaceAll('_', ' '), 40));
        setAttr(row.tr, 'data-state', clip(step.outcome, 40));
        row.error.hidden = !step.error;
        setName(row.error, step.error ?? '');
      });
      setMore(more, extra);
      box.hidden = shown.length === 0;
      waiting.hidden = shown.length > 0;
      const { running = 0, waiting: queued = 0 } = state.totals ?? {};
      const up = entriesOf(state.services).filter(([, s]) => s.state !== 'stopped' && s.state !== 'failed').length;
      const rest = [];
      if (running + queued > 0) rest.push(plural(running + queued, 'effect'));
      if (up > 0) rest.push(plural(up, 'service'));
      setText(remains, rest.length ? `Still to end: ${rest.join(' and ')}.` : 'Nothing is left to end.');
      tick(now);
    },
    tick,
  };
}
