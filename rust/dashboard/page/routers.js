// Routers, each of which opens to its callers, and their commands, each of which opens to its errors.

import { count, duration, el, entriesOf, isNumber, plural, rate, setAttr, setName, setText } from './format.js';
import { policy } from './panel.js';

const numbers = (n) => Array.from({ length: n }, () => el('td', { class: 'num' }));

function write(cells) {
  for (const [cell, value, shown = count] of cells) {
    setText(cell, shown(value));
    cell.classList.toggle('zero', !value);
  }
}

const sum = (of, name) => of.reduce((all, each) => all + (each[name] ?? 0), 0);

function routersTable(root) {
  return policy(root, {
    title: 'Routers', kind: 'router',
    columns: [['Name', 'col-name'], ['Callers', 'num'], ['Rate /s', 'num'], ['At work', 'num'], ['Requests', 'num'], ['Errors', 'num']],
    row() {
      const [callers, rates, running, requests, errors] = numbers(5);
      return { callers, rates, running, requests, errors, cells: [callers, rates, running, requests, errors] };
    },
    update(row, router) {
      const all = entriesOf(router.commands).map(([, command]) => command);
      write([
        [row.callers, router.callers], [row.rates, sum(all, 'per_second'), rate], [row.running, sum(all, 'running')],
        [row.requests, sum(all, 'requests')], [row.errors, sum(all, 'errors')],
      ]);
      row.errors.classList.toggle('bad', sum(all, 'lately') > 0);
      setAttr(row.errors, 'title', `${count(sum(all, 'lately'))} in the last minute`);
    },
  });
}

function commandsTable(root) {
  return policy(root, {
    title: 'Commands', kind: 'command',
    columns: [
      ['Name', 'col-name'], ['Router', 'router'], ['Rate /s', 'num'], ['At work', 'num'], ['Requests', 'num'], ['Errors', 'num'],
      ['p50', 'num'], ['p99', 'num'],
    ],
    row() {
      const router = el('span', { class: 'name' });
      const [rates, running, requests, errors, p50, p99] = numbers(6);
      const cells = [el('td', { class: 'router' }, router), rates, running, requests, errors, p50, p99];
      return { router, rates, running, requests, errors, p50, p99, cells };
    },
    update(row, command) {
      setName(row.router, command.router);
      // By router and command: two routers may have one of the same name.
      setName(row.button.firstChild, command.name);
      write([
        [row.rates, command.per_second, rate], [row.running, command.running], [row.requests, command.requests], [row.errors, command.errors],
      ]);
      row.errors.classList.toggle('bad', command.lately > 0);
      setAttr(row.errors, 'title', `${count(command.lately)} in the last minute`);
      for (const field of ['p50', 'p99']) {
        const late = !isNumber(command[field]);
        setText(row[field], duration(command[field] ?? command[`all_${field}`]));
        row[field].classList.toggle('zero', late);
      }
    },
    note: (all) => plural(all.length, 'command'),
  });
}

export function routers(root) {
  const tables = [routersTable(root), commandsTable(root)];
  return (map) => {
    const commands = Object.create(null);
    for (const [router, { commands: own }] of entriesOf(map)) {
      for (const [name, command] of entriesOf(own)) commands[`${router}\n${name}`] = { ...command, router, name };
    }
    tables[0](map);
    tables[1](commands);
  };
}
