// The policies effects share: concurrency limits, rate limits, circuit breakers, caches, hedges and chaos; and work that grows.

import { bar, donut, parts, pill, stackedBars } from './charts.js';
import { count, duration, el, percent, plural, setAttr, setText } from './format.js';
import { STATES as BREAKER } from './keys.js';
import { policy } from './panel.js';
import { pools } from './pools.js';
import { routers } from './routers.js';

const PRIORITIES = ['high', 'normal', 'low'];

const isFull = ({ capacity = 0, in_flight: busy = 0, fullest = busy }) => capacity > 0 && fullest >= capacity;

const waits = [['Wait p50', 'num wait'], ['p99', 'num wait']];

function limits(root) {
  return policy(root, {
    title: 'Concurrency limits', kind: 'limit',
    columns: [['Name', 'col-name'], ['In flight', 'use'], ['Waiting: high, normal, low', 'depth'], ...waits],
    empty: 'No concurrency limit is in use.',
    row() {
      const use = bar();
      const figure = el('span', { class: 'figure' });
      const depths = stackedBars(PRIORITIES);
      const numbers = el('span', { class: 'figure' });
      const p50 = el('td', { class: 'num' });
      const p99 = el('td', { class: 'num' });
      return {
        use, figure, depths, numbers, p50, p99,
        cells: [
          el('td', { class: 'use' }, el('div', { class: 'line' }, use.node, figure)),
          el('td', { class: 'depth' }, el('div', { class: 'line' }, depths.node, numbers)), p50, p99,
        ],
      };
    },
    update(row, limit) {
      const { capacity = 0, in_flight: busy = 0, fullest = busy, keys } = limit;
      const keyed = keys !== undefined;
      // The places are those of each key: what is full is a key.
      row.use.set(capacity > 0 ? fullest / capacity : 0, isFull(limit) ? 'warn' : 'accent');
      setText(row.figure, keyed ? `${busy} in ${plural(keys, 'key')}` : `${busy}/${capacity}`);
      setAttr(row.figure, 'title', keyed ? `${capacity} places for each key, of which ${fullest} are taken where most are` : null);
      const depth = PRIORITIES.map((name) => limit.waiting?.[name] ?? 0);
      row.depths.set(depth, Math.max(capacity, ...depth));
      setText(row.numbers, depth.join(' · '));
      row.numbers.classList.toggle('zero', depth.every((n) => n === 0));
      setText(row.p50, duration(limit.wait_p50));
      setText(row.p99, duration(limit.wait_p99));
    },
    note(all) {
      const full = all.filter(([, l]) => isFull(l)).length;
      return full ? `${full} full` : '';
    },
  });
}

function rateLimits(root) {
  return policy(root, {
    title: 'Rate limits', kind: 'rate',
    columns: [['Name', 'col-name'], ['Allows', 'allows'], ['Waiting', 'num'], ...waits],
    empty: 'No rate limit is in use.',
    row() {
      const allows = el('td', { class: 'allows' });
      const waiting = el('td', { class: 'num' });
      const p50 = el('td', { class: 'num' });
      const p99 = el('td', { class: 'num' });
      return { allows, waiting, p50, p99, cells: [allows, waiting, p50, p99] };
    },
    update(row, limit) {
      setText(row.allows, `${count(limit.n)} ${limit.per === 1 ? 'a second' : limit.per === 60 ? 'a minute' : `in ${duration(limit.per)}`}`);
      setText(row.waiting, count(limit.waiting));
      row.waiting.classList.toggle('zero', !limit.waiting);
      setText(row.p50, duration(limit.wait_p50));
      setText(row.p99, duration(limit.wait_p99));
    },
  });
}

function breakers(root) {
  return policy(root, {
    title: 'Circuit breakers', kind: 'breaker',
    columns: [['Name', 'col-name'], ['State', 'state'], ['Keys', 'keys'], ['Opened', 'num']],
    empty: 'No circuit breaker is in use.',
    row() {
      const state = pill('strong');
      const split = parts('thin');
      const words = el('span', { class: 'words' });
      const opens = el('td', { class: 'num' });
      return {
        state, split, words, opens,
        cells: [el('td', { class: 'state' }, state.node), el('td', { class: 'keys' }, split.node, words), opens],
      };
    },
    update(row, breaker) {
      const keys = breaker.keys ?? {};
      const present = BREAKER.filter(([state]) => keys[state] > 0);
      const total = present.reduce((sum, [state]) => sum + keys[state], 0);
      const [state, shape, tone, word] = present[0] ?? ['closed', 'dot', 'ok', 'closed'];
      row.tr.setAttribute('data-state', state);
      row.state.set(shape, tone, word);
      row.split.set(BREAKER.map(([name, , t]) => [t, keys[name] ?? 0]).reverse());
      row.split.node.toggleAttribute('hidden', total < 2);
      setText(row.words, total < 2 ? '–' : present.map(([name, , , w]) => `${keys[name]} ${w}`).join(' · '));
      setText(row.opens, count(breaker.opens));
      row.opens.classList.toggle('zero', !breaker.opens);
    },
    note(all) {
      // A breaker counts once, as its badge: by the worst of its keys.
      const worst = all.map(([, b]) => BREAKER.find(([state]) => b.keys?.[state] > 0)?.[3] ?? 'closed');
      const words = BREAKER.map(([, , , word]) => [word, worst.filter((each) => each === word).length]);
      const present = words.filter(([word, n]) => n > 0 && word !== 'closed');
      return present.length ? present.map(([word, n]) => `${n} ${word}`).join(' · ') : 'all closed';
    },
  });
}

function caches(root) {
  return policy(root, {
    title: 'Caches', kind: 'cache',
    columns: [['Name', 'col-name'], ['Hit ratio', 'ratio'], ['Stale', 'num'], ['Evicted', 'num'], ['Size', 'use']],
    empty: 'No cache is in use.',
    row() {
      const ring = donut();
      const ratio = el('span', { class: 'figure' });
      const stale = el('td', { class: 'num' });
      const evicted = el('td', { class: 'num' });
      const size = bar();
      const figure = el('span', { class: 'figure' });
      const ratioCell = el('td', { class: 'ratio' }, el('div', { class: 'line' }, ring.node, ratio));
      return {
        ring, ratio, ratioCell, stale, evicted, size, figure,
        cells: [ratioCell, stale, evicted, el('td', { class: 'use' }, el('div', { class: 'line' }, size.node, figure))],
      };
    },
    update(row, cache) {
      const asked = (cache.hits ?? 0) + (cache.misses ?? 0);
      row.ring.set(asked > 0 ? cache.hits / asked : 0);
      setText(row.ratio, percent(cache.hits ?? 0, asked));
      row.ratioCell.setAttribute('title', `${plural(cache.hits ?? 0, 'hit')}, ${plural(cache.misses ?? 0, 'miss', 'misses')}`);
      for (const [cell, value] of [[row.stale, cache.stale_hits], [row.evicted, cache.evicted]]) {
        setText(cell, count(value));
        cell.classList.toggle('zero', !value);
      }
      const bounded = cache.max_size > 0;
      row.size.node.classList.toggle('none', !bounded);
      row.size.set(bounded ? cache.size / cache.max_size : 0);
      setText(row.figure, bounded ? `${count(cache.size)}/${cache.max_size}` : count(cache.size));
    },
  });
}

function hedges(root) {
  return policy(root, {
    title: 'Hedges', kind: 'hedge',
    columns: [['Name', 'col-name'], ['After', 'num'], ['Hedged', 'num'], ['Won', 'num'], ['No budget', 'num']],
    empty: 'No hedge is in use.',
    row() {
      const [after, hedged, won, refused] = Array.from({ length: 4 }, () => el('td', { class: 'num' }));
      return { after, hedged, won, refused, cells: [after, hedged, won, refused] };
    },
    update(row, hedge) {
      setText(row.after, duration(hedge.delay));
      for (const name of ['hedged', 'won', 'refused']) {
        setText(row[name], count(hedge[name]));
        row[name].classList.toggle('zero', !hedge[name]);
      }
    },
  });
}

function chaos(root) {
  return policy(root, {
    title: 'Chaos', kind: 'chaos',
    columns: [['Name', 'col-name'], ['State', 'state'], ['Calls', 'num'], ['Failed', 'num'], ['Late', 'num'], ['Hung', 'num']],
    row() {
      const state = pill('strong');
      const [calls, failed, delayed, hung] = Array.from({ length: 4 }, () => el('td', { class: 'num' }));
      return { state, calls, failed, delayed, hung, cells: [el('td', { class: 'state' }, state.node), calls, failed, delayed, hung] };
    },
    update(row, chaos) {
      row.state.set('dot', chaos.on ? 'bad' : 'idle', chaos.on ? 'on' : 'off');
      for (const name of ['calls', 'failed', 'delayed', 'hung']) {
        setText(row[name], count(chaos[name]));
        row[name].classList.toggle('zero', !chaos[name]);
      }
    },
  });
}

function work(root) {
  return policy(root, {
    title: 'Work that grows', kind: 'work',
    columns: [['Name', 'col-name'], ['Done', 'use'], ['Left', 'num']],
    row() {
      const progress = bar();
      const figure = el('span', { class: 'figure' });
      const left = el('td', { class: 'num' });
      return { progress, figure, left, cells: [el('td', { class: 'use' }, el('div', { class: 'line' }, progress.node, figure)), left] };
    },
    update(row, { done = 0, left = 0 }) {
      row.progress.set(done / Math.max(1, done + left));
      setText(row.figure, `${count(done)}/${count(done + left)}`);
      setText(row.left, count(left));
      row.left.classList.toggle('zero', !left);
    },
  });
}

export function policyPanels(root) {
  const panels = [
    ['limits', limits(root)], ['breakers', breakers(root)], ['rates', rateLimits(root)], ['caches', caches(root)], ['hedges', hedges(root)],
    ['chaos', chaos(root)], ['work', work(root)], ['pools', pools(root)], ['routers', routers(root)],
  ];
  return {
    render({ state }) {
      for (const [key, render] of panels) render(state[key]);
    },
  };
}
