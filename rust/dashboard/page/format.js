// Words, numbers and nodes: the small helpers every section of the dashboard is written with.

export const MAX_ROWS = 300;
const MAX_SHOWN = 300;
const BULK = 40;
const SHOWN = Symbol('shown');

/** Make an element; children are nodes or strings, never markup. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Write a text only when it changed: what is untouched costs no layout. */
export function setText(node, text) {
  const value = String(text);
  if (node[SHOWN] === value) return;
  node[SHOWN] = value;
  // Changing the one text there is costs less than making another.
  const only = node.firstChild;
  if (only && only.nodeType === Node.TEXT_NODE && only === node.lastChild) only.nodeValue = value;
  else node.textContent = value;
}

/** Write an attribute only when it changed; null removes it. */
export function setAttr(node, name, value) {
  if (value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** Show a name from outside: at most 300 characters of it, the rest is CSS's ellipsis. */
export function setName(node, name) {
  const text = clip(name);
  setText(node, text);
  setAttr(node, 'title', text);
}

export function clip(value, length = MAX_SHOWN) {
  const text = String(value ?? '');
  return text.length > length ? text.slice(0, length - 1) + '…' : text;
}

/**
 * Rows that are reused by key, kept in order, and removed with their entry.
 * `create(key)` makes a row {nodes, …}; `bind(row, key)`, if given, makes a row that of another key.
 */
export class Keyed {
  constructor(parent, create, bind = null) {
    this.parent = parent;
    this.create = create;
    this.bind = bind;
    this.rows = new Map();
    this.order = [];
  }

  /** `entries` is a list of [key, value]; `update(row, value)` writes one row. */
  render(entries, update) {
    const { parent } = this;
    const wanted = new Set();
    for (const [key] of entries) wanted.add(key);
    const focused = parent.contains(document.activeElement) ? document.activeElement : null;
    const holder = focused && this.order.find((key) => this.rows.get(key).nodes.some((node) => node.contains(focused)));
    // When most rows come, go or move, writing them anew where they stand costs far less than moving them.
    const spare = this.bind && this.#moves(entries, wanted) > BULK ? this.order.map((key) => this.rows.get(key)) : null;
    if (spare) {
      this.rows = new Map();
    } else {
      for (const key of this.order) {
        if (wanted.has(key)) continue;
        this.#drop(this.rows.get(key));
        this.rows.delete(key);
      }
    }
    let cursor = parent.firstChild;
    this.order = [];
    for (const [key, value] of entries) {
      let row = this.rows.get(key);
      if (row === undefined) {
        row = spare?.[this.order.length];
        if (row === undefined) row = this.create(key);
        else if (row.key !== key) this.bind(row, key);
        row.key = key;
        this.rows.set(key, row);
      }
      update(row, value);
      for (const node of row.nodes) {
        if (node === cursor) cursor = cursor.nextSibling;
        else parent.insertBefore(node, cursor);
      }
      this.order.push(key);
    }
    for (const row of spare?.slice(entries.length) ?? []) this.#drop(row);
    // Moving a node takes the focus from it, and a bound row may be another's: give it back.
    if (focused && (spare || focused !== document.activeElement)) {
      const target = spare ? this.rows.get(holder)?.focus : focused;
      if (target?.isConnected) target.focus({ preventScroll: true });
      else focused.blur();
    }
  }

  #drop(row) {
    for (const node of row.nodes) node.remove();
    row.dispose?.();
  }

  /** How many rows are about to come, go or change places. */
  #moves(entries, wanted) {
    const stay = this.order.filter((key) => wanted.has(key));
    const moved = new Set();
    let i = 0;
    for (const [key] of entries) {
      while (moved.has(stay[i])) i += 1;
      if (stay[i] === key) i += 1;
      else moved.add(key);
    }
    return moved.size + this.order.length - stay.length;
  }

  *[Symbol.iterator]() {
    yield* this.rows.values();
  }
}

/** The entries of one map of the state, which may be missing. */
export function entriesOf(map) {
  return map ? Object.entries(map) : [];
}

/** Entries by name, at most MAX_ROWS of them, and how many were left out. */
export function capped(entries) {
  const more = Math.max(0, entries.length - MAX_ROWS);
  return [more ? entries.slice(0, MAX_ROWS) : entries, more];
}

export function byName([a], [b]) {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function isNumber(value) {
  return typeof value === 'number' && Number.isFinite(value);
}

/** A count as plain digits. */
export function count(value) {
  return isNumber(value) ? String(value) : '0';
}

/** A count for reading rather than for comparing: 1 234 567 becomes 1.2 M. */
export function compact(value) {
  if (!isNumber(value)) return '–';
  if (value < 10_000) return String(Math.round(value));
  if (value < 1e6) return `${(value / 1e3).toFixed(value < 1e5 ? 1 : 0)} k`;
  if (value < 1e9) return `${(value / 1e6).toFixed(1)} M`;
  return `${(value / 1e9).toFixed(1)} G`;
}

export function rate(value) {
  if (!isNumber(value) || value < 0.05) return '0';
  return value < 99.95 ? value.toFixed(1) : compact(value);
}

/** Bytes, by powers of 1024. */
export function size(bytes) {
  if (!isNumber(bytes)) return '–';
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${value < 9.95 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** A measured duration in seconds, with three digits at most. */
export function duration(seconds) {
  if (!isNumber(seconds)) return '–';
  if (seconds === 0) return '0 ms';
  const ms = seconds * 1e3;
  if (ms < 0.995) return `${Math.max(1, Math.round(ms * 1e3))} µs`;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  return span(seconds);
}

/** An age or a remaining time: steady in width, coarser as it grows. */
export function span(seconds) {
  if (!isNumber(seconds)) return '–';
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 59.5) return `${Math.round(s)} s`;
  const whole = Math.round(s);
  const two = (n) => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)}h ${two(Math.floor(whole / 60) % 60)}m`;
  return `${Math.floor(whole / 86400)}d ${two(Math.floor(whole / 3600) % 24)}h`;
}

export function uptime(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, '0');
  const clock = `${two(Math.floor(whole / 3600) % 24)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole < 86400 ? clock : `${Math.floor(whole / 86400)}d ${clock}`;
}

export function ago(seconds) {
  if (!isNumber(seconds)) return '–';
  return seconds < 1 ? 'just now' : `${seconds < 10 ? Math.floor(seconds) + ' s' : span(seconds)} ago`;
}

export function percent(part, whole) {
  if (!(whole > 0)) return '–';
  const value = (100 * part) / whole;
  if (value > 0 && value < 0.1) return '<0.1%';
  if (value < 100 && value > 99.9) return '>99.9%';
  return `${value < 10 || value > 99 ? value.toFixed(1).replace(/\.0$/, '') : Math.round(value)}%`;
}

export function plural(n, one, many = one + 's') {
  return `${n} ${n === 1 ? one : many}`;
}

/** The quiet line under a table that was cut. */
export function setMore(node, more, hint = '') {
  node.hidden = more <= 0;
  setText(node, more > 0 ? `and ${more} more${hint}` : '');
}
