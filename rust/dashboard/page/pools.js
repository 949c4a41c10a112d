// Pools of workers: their calls, and what each row opens to, its workers one by one.

import { count, el, plural, setAttr, setText } from './format.js';
import { policy } from './panel.js';

export function pools(root) {
  return policy(root, {
    title: 'Pools of workers', kind: 'pool',
    columns: [['Name', 'col-name'], ['Workers', 'num'], ['At work', 'num'], ['Waiting', 'num'], ['Calls', 'num'], ['Lost', 'num']],
    row() {
      const [workers, running, waiting, calls, lost] = Array.from({ length: 5 }, () => el('td', { class: 'num' }));
      return { workers, running, waiting, calls, lost, cells: [workers, running, waiting, calls, lost] };
    },
    update(row, pool) {
      const ended = pool.calls ?? {};
      const all = Object.values(ended).reduce((sum, n) => sum + n, 0);
      for (const [cell, value] of [
        [row.workers, pool.workers], [row.running, pool.running], [row.waiting, pool.waiting], [row.calls, all], [row.lost, pool.lost],
      ]) {
        setText(cell, count(value));
        cell.classList.toggle('zero', !value);
      }
      row.lost.classList.toggle('bad', pool.lost > 0);
      setAttr(row.calls, 'title', Object.entries(ended).filter(([, n]) => n > 0).map(([outcome, n]) => `${count(n)} ${outcome}`).join(', '));
      setAttr(row.workers, 'title', `${plural(pool.restarted ?? 0, 'worker')} in place of another`);
    },
  });
}
