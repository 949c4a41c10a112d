// The dashboard: takes the event stream, keeps the state, and draws every section from it.

import { pill } from './charts.js';
import { headlines } from './figures.js';
import { ago, clip, plural, setAttr, setText, uptime } from './format.js';
import { policyPanels } from './policies.js';
import { servicesTable, shutdownPanel } from './services.js';
import { History, merge } from './state.js';
import { changesList, effectsTable, failuresList } from './tables.js';
import { runningTree } from './tree.js';

const QUIET_AFTER = 5; // seconds without a message before the page says so
const RETRY_MS = 3000;
const TICK_MS = 500;

const page = document.documentElement;
const byId = (id) => document.getElementById(id);

// The state, what is known about the connection, and what a pause holds on to.
let state = null;
let frozen = null; // {state, history, now} while paused
let missed = 0;
let seq = 0;
let connected = false;
let everConnected = false;
let heardAt = 0; // performance.now() of the last message, in seconds
const history = new History();
const clock = () => performance.now() / 1000;

/** The time of the program: it goes on between messages, but not without a connection. */
function now() {
  if (frozen) return frozen.now;
  if (!state) return 0;
  return state.now + (connected ? Math.min(clock() - heardAt, QUIET_AFTER) : 0);
}

// ---- header

const health = pill('health');
byId('health').append(health.node);
const link = pill('link');
byId('link-state').append(link.node);

function renderHeader(view) {
  const { program, pid, version, live, ready } = view.state;
  const name = clip(program, 80) || 'mountain-runtime';
  setText(byId('program'), name);
  setAttr(byId('program'), 'title', clip(program));
  setText(byId('pid'), `pid ${pid ?? '–'}`);
  setText(byId('version'), `v${clip(version, 30)}`);
  if (ready && live) health.set('check', 'ok', 'ready');
  else if (live) health.set('half', 'warn', 'live, not ready');
  else health.set('cross', 'bad', 'not live');
  const title = `${name}${ready && live ? '' : live ? ' (not ready)' : ' (not live)'}`;
  if (document.title !== title) document.title = title;
}

function renderLink() {
  const silent = clock() - heardAt;
  let age = '';
  if (frozen) {
    link.set('hollow', 'accent', 'paused');
    age = plural(missed, 'update') + ' held';
  } else if (!connected) {
    link.set('dashes', 'warn', everConnected ? 'reconnecting' : 'connecting');
    if (everConnected) age = `last heard ${ago(silent)}`;
  } else if (silent > QUIET_AFTER) {
    link.set('ring', 'warn', 'quiet');
    age = `for ${Math.floor(silent)} s`;
  } else {
    link.set('dot', 'ok', 'connected');
  }
  setText(byId('link-age'), age);
  setAttr(page, 'data-stale', state && !frozen && !connected ? 'yes' : null);
}

// ---- sections

const effects = effectsTable(byId('effects-panel'), byId('effects-note'));
const sections = [
  headlines(byId('figures')),
  shutdownPanel(byId('shutdown')),
  effects,
  runningTree(byId('now-panel'), byId('now-note')),
  policyPanels(byId('policies-panels')),
  changesList(byId('changes')),
  servicesTable(byId('services-panel'), byId('services-note')),
  failuresList(byId('failures-panel'), byId('failures-note')),
];

function render() {
  if (!state) return;
  const view = frozen ?? { state, history, now: now() };
  renderHeader(view);
  for (const section of sections) section.render(view);
  tick();
}

function tick() {
  renderLink();
  if (!state || document.hidden) return;
  const time = now();
  const shown = frozen?.state ?? state;
  setText(byId('uptime'), `up ${uptime(shown.uptime + (time - shown.now))}`);
  if (frozen) return;
  for (const section of sections) section.tick?.(time);
}

// ---- the stream

function setConnected(yes) {
  connected = yes;
  everConnected ||= yes;
  page.dataset.connected = yes ? 'yes' : 'no';
  renderLink();
}

function receive(event, whole) {
  // A change to a state that never came says nothing.
  if (!whole && !state) return;
  let patch;
  try {
    patch = JSON.parse(event.data);
  } catch {
    return;
  }
  if (typeof patch !== 'object' || patch === null) return;
  state = merge(whole ? undefined : state, patch);
  heardAt = clock();
  if (whole) history.begin(state);
  else history.observe(state);
  if (!connected) setConnected(true);
  if (frozen) {
    missed += 1;
    renderLink();
  } else if (!document.hidden) {
    render();
  }
  page.dataset.seq = String((seq += 1));
}

let source = null;

function connect() {
  source?.close();
  source = new EventSource('/events');
  source.addEventListener('open', () => setConnected(true));
  source.addEventListener('snapshot', (event) => receive(event, true));
  source.addEventListener('delta', (event) => receive(event, false));
  source.addEventListener('error', () => {
    // Time stands still where it was when the connection went.
    if (connected && state) state.now = now();
    setConnected(false);
    // A refusal, unlike a broken connection, makes a browser give up.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  });
}

window.addEventListener('pagehide', () => source?.close());
window.addEventListener('pageshow', (event) => {
  if (event.persisted) connect();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) render();
});

// ---- pause, theme, help, keys

const pauseButton = byId('pause');

function togglePause() {
  if (frozen) {
    frozen = null;
  } else if (state) {
    frozen = { state: merge(undefined, state), history: history.clone(), now: now() };
  }
  missed = 0;
  setAttr(pauseButton, 'aria-pressed', String(frozen !== null));
  setText(pauseButton.querySelector('.label'), frozen ? 'Resume' : 'Pause');
  setAttr(pauseButton, 'title', frozen ? 'Resume (p)' : 'Pause (p)');
  setAttr(page, 'data-paused', frozen ? 'yes' : null);
  render();
}

const THEMES = ['auto', 'light', 'dark'];
let theme = 'auto';
try {
  theme = localStorage.getItem('mountain-theme') ?? 'auto';
} catch {
  // No storage, no memory: the theme follows the system.
}

function setTheme(name) {
  theme = THEMES.includes(name) ? name : 'auto';
  setAttr(page, 'data-theme', theme);
  setAttr(byId('theme'), 'aria-label', `Theme: ${theme}`);
  setAttr(byId('theme'), 'title', `Theme: ${theme} (t)`);
  try {
    localStorage.setItem('mountain-theme', theme);
  } catch {
    // It lasts as long as the page then.
  }
}

const help = byId('help');
const filter = byId('filter');

function toggleHelp() {
  if (help.open) help.close();
  else help.showModal();
}

function jump(index) {
  const title = document.querySelectorAll('main h2')[index];
  if (!title) return;
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  title.closest('section').scrollIntoView({ block: 'start', behavior: calm ? 'auto' : 'smooth' });
  title.focus({ preventScroll: true });
}

function clearFilter() {
  filter.value = '';
  effects.filter('');
}

pauseButton.addEventListener('click', togglePause);
byId('theme').addEventListener('click', () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]));
byId('help-open').addEventListener('click', toggleHelp);
byId('help-close').addEventListener('click', toggleHelp);
filter.addEventListener('input', () => effects.filter(filter.value));

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (help.open) {
    if (event.key === '?') toggleHelp();
    return;
  }
  if (event.key === 'Escape' && (filter.value || event.target === filter)) {
    clearFilter();
    filter.blur();
    return;
  }
  if (event.target instanceof HTMLInputElement) return;
  if (event.key === '/') {
    event.preventDefault();
    filter.focus();
    filter.select();
  } else if (event.key === 'p') togglePause();
  else if (event.key === 't') byId('theme').click();
  else if (event.key === '?') toggleHelp();
  else if (event.key >= '1' && event.key <= '6' && event.key.length === 1) jump(Number(event.key) - 1);
});

setTheme(theme);
setConnected(false);
setInterval(tick, TICK_MS);
connect();
