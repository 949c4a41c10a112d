// The two long lists: effects with their counters, and failures with their tracebacks.

import { bar, parts, pill, sparkline } from './charts.js';
import {
  Keyed, MAX_ROWS, ago, capped, clip, count, duration, el, entriesOf, isNumber, percent, plural, rate, setAttr, setMore, setName, setText,
} from './format.js';

const COUNTERS = [
  ['started', 'Started', ''], ['succeeded', 'Succeeded', ''], ['failed', 'Failed', 'bad'],
  ['timed_out', 'Timed out', 'bad'], ['cancelled', 'Cancelled', ''], ['rejected', 'Rejected', 'warn'],
  ['retried', 'Retried', 'warn'], ['degraded', 'Degraded', 'warn'],
];
const COLUMNS = [
  ['name', 'Effect'], ['rate', 'Rate /s'], ...COUNTERS, ['p50', 'p50'], ['p99', 'p99'],
];
const MAX_ERROR_TYPES = 20;

/** A scrolling box around a table, which the keyboard can scroll as well. */
export function scroller(label, ...children) {
  return el('div', { class: 'scroll', role: 'region', 'aria-label': label, tabindex: '0' }, ...children);
}

/** How long calls took of late, or, if none ended then, since the program began. */
const timeOf = (effect, field) => effect[field] ?? effect[`all_${field}`];

let disclosures = 0;

export function effectsTable(root, note) {
  const sort = { field: 'name', down: false };
  const open = new Set();
  let filter = '';
  let view = null;

  const heads = new Map();
  const headRow = el('tr');
  for (const [field, label] of COLUMNS) {
    const button = el('button', { type: 'button', class: 'sort' }, label);
    const th = el('th', { scope: 'col', class: `col-${field}`, 'aria-sort': 'none' }, button);
    // Names read best from A, numbers from the largest.
    button.addEventListener('click', () => {
      sort.down = sort.field === field ? !sort.down : field !== 'name';
      sort.field = field;
      redraw();
    });
    heads.set(field, th);
    headRow.append(th);
  }
  const body = el('tbody');
  const table = el('table', { class: 'grid effects' }, el('thead', {}, headRow), body);
  const box = scroller('Effects', table);
  const more = el('p', { class: 'more' });
  const empty = el('p', { class: 'empty' });
  root.append(box, more, empty);

  // Sparklines out of sight are not drawn: that keeps long tables cheap.
  const rowOf = new WeakMap();
  const watch = new IntersectionObserver((changes) => {
    for (const change of changes) {
      const row = rowOf.get(change.target);
      if (!row) continue;
      row.visible = change.isIntersecting;
      if (row.visible) row.spark.draw(row.ring);
    }
  }, { root: box, rootMargin: '120px 0px' });

  function createRow(name) {
    const id = `effect-detail-${(disclosures += 1)}`;
    const label = el('span', { class: 'name' });
    const button = el('button', { type: 'button', class: 'disclose', 'aria-expanded': 'false' }, label);
    const spark = sparkline('small', 20, 1, 60);
    const figure = el('span', { class: 'figure' });
    const tr = el('tr', {}, el('th', { scope: 'row', class: 'col-name' }, button),
      el('td', { class: 'col-rate', 'data-field': 'rate' }, el('div', { class: 'line' }, spark.node, figure)));
    const cells = {};
    for (const [field, , tone] of COUNTERS) {
      tr.append((cells[field] = el('td', { 'data-field': field, class: tone })));
    }
    for (const field of ['p50', 'p99']) tr.append((cells[field] = el('td', { 'data-field': field })));
    const row = { nodes: [tr], id, label, focus: button, spark, figure, cells, ring: null, visible: false, detail: null };
    row.dispose = () => watch.unobserve(tr);
    button.addEventListener('click', () => {
      if (!open.delete(row.name)) open.add(row.name);
      redraw();
    });
    bindRow(row, name);
    rowOf.set(tr, row);
    watch.observe(tr);
    return row;
  }

  function bindRow(row, name) {
    row.name = name;
    row.nodes[0].setAttribute('data-effect', name);
    setName(row.label, name || '(unnamed)');
    fold(row);
  }

  function fold(row) {
    if (row.detail === null) return;
    row.nodes.pop().remove();
    row.detail = null;
    setAttr(row.focus, 'aria-expanded', 'false');
    setAttr(row.focus, 'aria-controls', null);
  }

  function updateRow(row, { effect, record }) {
    for (const [field] of COUNTERS) {
      const cell = row.cells[field];
      const text = count(effect[field]);
      setText(cell, text);
      if (cell.zero !== (text === '0')) cell.classList.toggle('zero', (cell.zero = text === '0'));
    }
    for (const field of ['p50', 'p99']) {
      const cell = row.cells[field];
      const late = !isNumber(effect[field]);
      setText(cell, duration(timeOf(effect, field)));
      setAttr(cell, 'title', late && isNumber(timeOf(effect, field)) ? 'None ended of late: since the program began' : null);
      if (cell.zero !== late) cell.classList.toggle('zero', (cell.zero = late));
    }
    setText(row.figure, rate(record?.rate ?? 0));
    row.ring = record?.ring ?? null;
    if (row.visible) row.spark.draw(row.ring);
    const expanded = open.has(row.name);
    if (expanded && row.detail === null) {
      row.detail = effectDetail(row.name, row.id);
      row.nodes.push(row.detail.node);
      setAttr(row.focus, 'aria-expanded', 'true');
      setAttr(row.focus, 'aria-controls', row.id);
    } else if (!expanded) {
      fold(row);
    }
    row.detail?.update(effect, record);
  }

  const keyed = new Keyed(body, createRow, bindRow);

  function redraw() {
    if (view === null) return;
    const effects = view.state.effects ?? {};
    const records = view.history.effects;
    const needle = filter.toLowerCase();
    const list = [];
    let total = 0;
    for (const name in effects) {
      total += 1;
      if (needle && !name.toLowerCase().includes(needle)) continue;
      list.push([name, { effect: effects[name], record: records.get(name) }]);
    }
    for (const name of open) if (!(name in effects)) open.delete(name);

    const { field, down } = sort;
    const sign = down ? -1 : 1;
    const value = field === 'rate' ? ([, { record }]) => record?.rate ?? 0 : ([, { effect }]) => timeOf(effect, field) ?? 0;
    list.sort(([a, x], [b, y]) => {
      const order = field === 'name' ? 0 : value([a, x]) - value([b, y]);
      return sign * (order || (field === 'name' ? 1 : sign) * (a < b ? -1 : 1));
    });
    for (const [name, th] of heads) {
      setAttr(th, 'aria-sort', name === field ? (down ? 'descending' : 'ascending') : 'none');
    }

    const [shown, left] = capped(list);
    keyed.render(shown, updateRow);
    box.hidden = list.length === 0;
    empty.hidden = list.length > 0;
    setMore(more, left, filter ? '' : ': filter by name, or sort, to see others');
    setText(empty, total === 0
      ? 'No effect has run yet. The first one shows up here as soon as it starts.'
      : `No effect is called like “${clip(filter, 60)}”. Escape clears the filter.`);
    const folded = view.state.totals?.folded ?? 0;
    setText(note, (filter ? `${list.length} of ${total}` : total ? String(total) : '')
      + (folded > 0 ? ` · ${plural(folded, 'name')} folded together` : ''));
  }

  return {
    render(next) {
      view = next;
      redraw();
    },
    filter(text) {
      filter = text.trim();
      box.scrollTop = 0;
      redraw();
    },
  };
}

/** What a row opens to: ten minutes of its rate, its outcomes and its types of error. */
function effectDetail(name, id) {
  const spark = sparkline('large', 56, 1);
  const peak = el('span');
  const outcome = parts('outcome');
  const outcomeText = el('p', { class: 'note' });
  const times = el('p', { class: 'note times' });
  const errorRows = el('tbody');
  const errorTable = el('table', { class: 'errors' }, el('thead', { class: 'unseen' },
    el('tr', {}, el('th', { scope: 'col' }, 'Error'), el('th', { scope: 'col' }, 'Share'), el('th', { scope: 'col' }, 'Count'))), errorRows);
  const more = el('p', { class: 'more' });
  const stoodIn = el('p', { class: 'note fallbacks' });
  const streams = el('p', { class: 'note streams' });
  const batches = el('p', { class: 'note batches' });
  const none = el('p', { class: 'empty' }, 'No errors so far.');
  const errors = new Keyed(errorRows, (type) => {
    const label = el('th', { scope: 'row' });
    setName(label, type);
    const share = bar();
    const number = el('td');
    return { nodes: [el('tr', {}, label, el('td', { class: 'share' }, share.node), number)], share, number };
  });
  const node = el('tr', { class: 'detail', id },
    el('td', { colspan: COLUMNS.length },
      el('div', { class: 'unfold' },
        ...(name.length > 40 ? [el('p', { class: 'fullname' }, clip(name, 2000))] : []),
        el('div', {}, el('h3', {}, 'Started a second'), spark.node,
          el('p', { class: 'axis' }, el('span', {}, 'ten minutes ago'), peak, el('span', {}, 'now'))),
        el('div', {}, el('h3', {}, 'Outcomes'), outcome.node, outcomeText, stoodIn, streams, batches, times),
        el('div', {}, el('h3', {}, 'Errors by type'), none, errorTable, more))));
  return {
    node,
    update(effect, record) {
      spark.draw(record?.ring);
      setText(peak, record?.ring ? `peak ${rate(record.ring.max())}` : 'no history kept');
      const outcomes = [
        ['ok', effect.succeeded ?? 0, 'succeeded'], ['bad', effect.failed ?? 0, 'failed'],
        ['late', effect.timed_out ?? 0, 'timed out'], ['idle', effect.cancelled ?? 0, 'cancelled'],
        ['warn', effect.rejected ?? 0, 'rejected'],
      ];
      const whole = outcomes.reduce((sum, [, n]) => sum + n, 0);
      outcome.set(outcomes);
      setText(outcomeText, whole === 0 ? 'Nothing has finished yet.'
        : outcomes.filter(([, n]) => n > 0).map(([, n, word]) => `${percent(n, whole)} ${word}`).join(' · '));
      // Names as they are: a text node takes them, whatever they hold.
      const rungs = entriesOf(effect.fallbacks).sort((a, b) => b[1] - a[1]);
      stoodIn.hidden = rungs.length === 0;
      setText(stoodIn, `Answered by ${rungs.slice(0, MAX_ERROR_TYPES).map(([fallback, n]) => `${clip(fallback, 80)}: ${count(n)}`).join(' · ')}`
        + (rungs.length > MAX_ERROR_TYPES ? ` · ${count(rungs.length - MAX_ERROR_TYPES)} more` : ''));
      streams.hidden = !effect.streams;
      const { open = 0, items = 0, first_p50: p50, first_p99: p99 } = effect.streams ?? {};
      setText(streams, `Streams: ${count(open)} open · ${count(items)} items · first item p50 ${duration(p50)} · p99 ${duration(p99)}`);
      batches.hidden = !effect.batches;
      const { begun = 0, items: batched = 0, wait_p50: wait50, wait_p99: wait99 } = effect.batches ?? {};
      setText(batches, `Batches: ${count(begun)} of ${(batched / Math.max(1, begun)).toFixed(1)} items · waited p50 ${duration(wait50)} · p99 ${duration(wait99)}`);
      setText(times, `Since the program began: p50 ${duration(effect.all_p50)} · p99 ${duration(effect.all_p99)}`);
      const types = entriesOf(effect.errors).sort((a, b) => b[1] - a[1]);
      const most = types.length ? types[0][1] : 1;
      none.hidden = types.length > 0;
      errorTable.hidden = types.length === 0;
      errors.render(types.slice(0, MAX_ERROR_TYPES), (row, n) => {
        row.share.set(n / most, 'bad');
        setText(row.number, count(n));
      });
      setMore(more, types.length - MAX_ERROR_TYPES);
    },
  };
}

/** What policies have said of themselves: which opened, for which key, and why. */
export function changesList(root) {
  const list = el('ol', { class: 'changes', reversed: '' });
  const box = scroller('Changes', list);
  root.append(el('div', { class: 'panel' }, el('div', { class: 'subhead' }, el('h3', {}, 'Changes'), el('span', { class: 'note' }, 'newest first')), box));
  const keyed = new Keyed(list, (id) => {
    const when = el('span', { class: 'when' });
    const text = el('span', { class: 'text' });
    const item = el('li', {}, when, text);
    item.setAttribute('data-change', id);
    return { nodes: [item], when, text, at: 0 };
  });
  const panel = root.lastChild;
  return {
    render({ state, now }) {
      const all = entriesOf(state.changes).sort(([a], [b]) => b - a);
      keyed.render(all.slice(0, MAX_ROWS), (row, change) => {
        row.at = change.at;
        setText(row.when, ago(now - change.at));
        setText(row.text, clip(change.text, 1000));
      });
      panel.hidden = all.length === 0;
    },
    tick(now) {
      for (const row of keyed) setText(row.when, ago(now - row.at));
    },
  };
}

export function failuresList(root, note) {
  const list = el('ol', { class: 'failures', reversed: '' });
  const box = scroller('Failures', list);
  const more = el('p', { class: 'more' });
  const empty = el('p', { class: 'empty' }, 'Nothing has failed. When something does, its traceback is kept here.');
  root.append(box, more, empty);

  const keyed = new Keyed(list, (id) => {
    const when = el('span', { class: 'when' });
    const effect = el('span', { class: 'name' });
    const type = pill('type');
    const message = el('span', { class: 'message' });
    const details = el('details', {}, el('summary', {}, when, effect, type.node, message));
    details.setAttribute('data-failure', id);
    const row = { nodes: [el('li', {}, details)], when, effect, type, message, failure: {} };
    // The text of a traceback is only in the page while it is open.
    let body = null;
    details.addEventListener('toggle', () => {
      body?.remove();
      body = null;
      if (!details.open) return;
      const { type: kind, message: words, traceback } = row.failure;
      body = el('div', { class: 'trace' },
        el('p', {}, el('strong', {}, clip(kind)), words ? `: ${words}` : ''),
        traceback ? el('pre', { tabindex: '0' }, traceback) : el('p', { class: 'empty' }, 'No traceback was kept.'));
      details.append(body);
    });
    return row;
  });

  return {
    render({ state, now }) {
      const all = entriesOf(state.failures).sort(([a], [b]) => b - a);
      const shown = all.slice(0, MAX_ROWS);
      keyed.render(shown, (row, failure) => {
        row.failure = failure;
        setText(row.when, ago(now - failure.at));
        setName(row.effect, failure.effect);
        row.type.set('cross', 'bad', clip(failure.type, 120));
        setName(row.message, failure.message);
      });
      setMore(more, all.length - shown.length);
      box.hidden = all.length === 0;
      empty.hidden = all.length > 0;
      setText(note, all.length ? `the last ${all.length === 1 ? 'one' : all.length}, newest first` : '');
    },
    tick(now) {
      for (const row of keyed) setText(row.when, ago(now - row.failure.at));
    },
  };
}
