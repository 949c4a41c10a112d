// A panel with one table of things by name, of which a row may open to its keys.

import { Keyed, byName, capped, el, entriesOf, setAttr, setMore, setName, setText } from './format.js';
import { keysDetail } from './keys.js';
import { scroller } from './tables.js';

let disclosures = 0;

/** One panel with one table; `columns` is a list of [label, class], `row` makes and `update` writes its cells. Without a text
    for it the empty panel is hidden. */
export function policy(root, { title, kind, columns, empty, row, update, note }) {
  const body = el('tbody');
  const head = el('tr', {}, ...columns.map(([label, className]) => el('th', { scope: 'col', class: className }, label)));
  const box = scroller(title, el('table', { class: `grid policy ${kind}` }, el('thead', {}, head), body));
  const more = el('p', { class: 'more' });
  const none = el('p', { class: 'empty' }, empty ?? '');
  const summary = el('span', { class: 'note' });
  const panel = el('div', { class: 'panel' }, el('div', { class: 'subhead' }, el('h3', {}, title), summary), box, more, none);
  root.append(panel);
  const open = new Set();
  let last = {};
  const keyed = new Keyed(body, (name) => {
    const label = el('span', { class: 'name' });
    setName(label, name);
    // It opens only if its policy has keys.
    const button = el('button', { type: 'button', class: 'disclose' }, label);
    const made = row();
    const tr = el('tr', {}, el('th', { scope: 'row', class: 'col-name' }, button), ...made.cells);
    tr.setAttribute(`data-${kind}`, name);
    const found = { ...made, name, button, id: `${kind}-detail-${(disclosures += 1)}`, detail: null, tr, nodes: [tr] };
    button.addEventListener('click', () => {
      if (!open.delete(name)) open.add(name);
      render(last);
    });
    return found;
  });

  function unfold(row, policy) {
    const keys = policy.by_key !== undefined;
    row.button.disabled = !keys;
    const wanted = keys && open.has(row.name);
    setAttr(row.button, 'aria-expanded', keys ? String(wanted) : null);
    setAttr(row.button, 'aria-controls', wanted ? row.id : null);
    if (wanted && row.detail === null) {
      row.detail = keysDetail(kind, columns.length, row.id);
      row.nodes.push(row.detail.node);
    } else if (!wanted && row.detail !== null) {
      row.nodes.pop().remove();
      row.detail = null;
    }
    row.detail?.update(policy);
  }

  const render = (map) => {
    last = map;
    const all = entriesOf(map).sort(byName);
    const [shown, left] = capped(all);
    keyed.render(shown, (row, policy) => {
      update(row, policy);
      unfold(row, policy);
    });
    setMore(more, left);
    box.hidden = all.length === 0;
    none.hidden = all.length > 0;
    panel.hidden = empty === undefined && all.length === 0;
    setText(summary, all.length ? note?.(all) ?? '' : '');
  };
  return render;
}
