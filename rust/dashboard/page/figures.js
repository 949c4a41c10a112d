// The strip of headline figures, each with its last ten minutes.

import { pill, sparkline } from './charts.js';
import { compact, count, duration, el, isNumber, percent, rate, setAttr, setText, span } from './format.js';

const FIGURES = [
  {
    name: 'effects', label: 'Effects /s', floor: 1,
    value: (v) => rate(v.history.rates.effects),
    note: (v) => `${compact(sumOf(v.state.effects, 'started'))} started in all`,
  },
  {
    name: 'errors', label: 'Errors /s', floor: 1, title: 'Failed or timed out',
    value: (v) => rate(v.history.rates.errors),
    note: (v) => {
      const { effects, errors } = v.history.rates;
      return errors < 0.05 ? 'none of late' : `${percent(Math.min(errors, effects), effects)} of effects`;
    },
    tone: (v) => (v.history.rates.errors >= 0.05 ? 'bad' : ''),
  },
  {
    name: 'running', label: 'Running', floor: 4,
    value: (v) => compact(v.state.totals?.running ?? 0),
    note: (v) => oldest(v, (s) => s === 'running'),
  },
  {
    name: 'waiting', label: 'Waiting', floor: 4,
    value: (v) => compact(v.state.totals?.waiting ?? 0),
    note: (v) => oldest(v, (s) => s !== 'running'),
  },
  {
    name: 'lag', label: 'Loop lag p99', floor: 0.005, title: 'How late the event loop gets to its callbacks',
    value: (v) => duration(v.state.loop?.lag_p99),
    note: (v) => {
      const { lag_max: most, drain_p99: letters } = v.state.loop ?? {};
      return `max ${duration(most)} · drain p99 ${isNumber(letters) ? count(letters) : '–'}`;
    },
    tone: (v) => (v.state.loop?.lag_p99 > 0.1 ? 'bad' : v.state.loop?.lag_p99 > 0.02 ? 'warn' : ''),
  },
  {
    name: 'threads', label: 'Threads busy', floor: 4,
    value: (v) => compact(v.state.totals?.threads_busy ?? 0),
    note: (v) => (v.state.totals?.threads_abandoned > 0 ? `${v.state.totals.threads_abandoned} abandoned` : 'none abandoned'),
    tone: (v) => (v.state.totals?.threads_abandoned > 0 ? 'warn' : ''),
  },
];

function sumOf(map, field) {
  let sum = 0;
  for (const key in map) sum += map[key][field] ?? 0;
  return sum;
}

function oldest(view, wanted) {
  let since = Infinity;
  for (const id in view.state.running) {
    const entry = view.state.running[id];
    if (wanted(entry.state) && entry.since < since) since = entry.since;
  }
  return since === Infinity ? 'none listed' : `longest ${span(view.now - since)}`;
}

export function headlines(root) {
  const figures = FIGURES.map((figure) => {
    const value = el('dd', { class: 'value', 'data-figure': figure.name });
    const note = pill('note');
    const spark = sparkline('wide', 36, figure.floor);
    const box = el('div', { class: 'figure-box' }, el('dt', {}, figure.label), value, el('dd', { class: 'under' }, note.node), el('dd', { 'aria-hidden': 'true' }, spark.node));
    if (figure.title) box.setAttribute('title', figure.title);
    root.append(box);
    return { ...figure, write: note, box, valueNode: value, spark };
  });
  return {
    render(view) {
      for (const figure of figures) {
        const tone = figure.tone?.(view) ?? '';
        setText(figure.valueNode, figure.value(view));
        // The shape is shown by CSS only with a tone: a warning is a triangle as well as a colour.
        figure.write.set('triangle', tone || 'idle', figure.note(view));
        setAttr(figure.box, 'data-tone', tone || null);
        figure.spark.draw(view.history.series[figure.name]);
      }
    },
  };
}
