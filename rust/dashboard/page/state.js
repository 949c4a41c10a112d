// The state as it arrives, and the bounded history that rates and sparklines are drawn from: it begins with what the server kept.

export const SAMPLES = 600; // as many as the server keeps, one a second
const MAX_RINGS = 200;
const STALE_AFTER = 30; // observations without a change before a series may lose its ring to another
const SMOOTHING = 0.4;
const SETTLED = 20; // what is older weighs nothing

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Apply a JSON merge patch (RFC 7396) and return the result.
 * Objects have no prototype, so that a name such as `__proto__` is a name like any other.
 */
export function merge(target, patch) {
  if (!isObject(patch)) return patch;
  const result = isObject(target) ? target : Object.create(null);
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete result[key];
    else result[key] = isObject(value) ? merge(result[key], value) : value;
  }
  return result;
}

/** The last SAMPLES values of one series. */
export class Ring {
  constructor() {
    this.values = new Float32Array(SAMPLES);
    this.head = 0;
    this.length = 0;
  }

  push(value) {
    this.values[this.head] = value;
    this.head = (this.head + 1) % SAMPLES;
    if (this.length < SAMPLES) this.length += 1;
  }

  /** The i-th oldest value. */
  at(i) {
    return this.values[(this.head - this.length + i + SAMPLES) % SAMPLES];
  }

  /** The largest of the values from the given one on. */
  max(from = 0) {
    let most = 0;
    for (let i = from; i < this.length; i += 1) most = Math.max(most, this.at(i));
    return most;
  }

  /** The mean of the last values, of which each older one weighs less. */
  recent() {
    let mean = 0;
    for (let i = Math.max(0, this.length - SETTLED); i < this.length; i += 1) mean += SMOOTHING * (this.at(i) - mean);
    return mean;
  }

  static of(values) {
    const ring = new Ring();
    for (const value of values) ring.push(value);
    return ring;
  }

  clone() {
    const copy = new Ring();
    copy.values.set(this.values);
    copy.head = this.head;
    copy.length = this.length;
    return copy;
  }
}

const HEADLINES = ['effects', 'errors', 'running', 'waiting', 'lag', 'threads'];

/** Rates of every effect, and rings for the headlines and for the liveliest effects. */
export class History {
  constructor() {
    this.reset();
  }

  reset() {
    this.pid = null;
    this.now = null;
    this.round = 0;
    this.rates = { effects: 0, errors: 0 };
    this.series = Object.fromEntries(HEADLINES.map((name) => [name, new Ring()]));
    this.effects = new Map(); // name -> {started, errors, rate, changed, seen, ring}
    this.rings = 0;
  }

  clone() {
    const copy = new History();
    copy.rates = { ...this.rates };
    for (const name of HEADLINES) copy.series[name] = this.series[name].clone();
    for (const [name, record] of this.effects) {
      copy.effects.set(name, { ...record, ring: record.ring && record.ring.clone() });
    }
    return copy;
  }

  /** A whole state brings the past with it: what is known here is replaced. */
  begin(state) {
    this.reset();
    this.observe(state);
    const past = state.past ?? {};
    delete state.past;
    for (const name of HEADLINES) this.series[name] = Ring.of(past.headlines?.[name] ?? []);
    for (const name of ['effects', 'errors']) this.rates[name] = this.series[name].recent();
    for (const name in past.effects) {
      const record = this.effects.get(name);
      if (record === undefined || this.rings >= MAX_RINGS) continue;
      record.ring = Ring.of(past.effects[name]);
      record.rate = record.ring.recent();
      this.rings += 1;
    }
  }

  observe(state) {
    // A new process, or one whose clock went back, has counters of its own.
    if (state.pid !== this.pid || (this.now !== null && state.now < this.now - 1)) {
      this.reset();
      this.pid = state.pid;
    }
    const first = this.now === null;
    const elapsed = first ? 0 : state.now - this.now;
    // Two messages in quick succession would make a noisy rate: let them count as one.
    if (!first && elapsed < 0.2) return;
    this.now = state.now;
    this.round += 1;

    let started = 0;
    let errors = 0;
    const wanting = [];
    const effects = state.effects ?? {};
    let names = 0;
    for (const name in effects) {
      names += 1;
      const effect = effects[name];
      const begun = effect.started ?? 0;
      const wrong = (effect.failed ?? 0) + (effect.timed_out ?? 0);
      let record = this.effects.get(name);
      if (record === undefined) {
        record = {
          started: first ? begun : 0, errors: first ? wrong : 0,
          rate: 0, sample: 0, changed: this.round, seen: 0, ring: null,
        };
        this.effects.set(name, record);
      }
      const more = Math.max(0, begun - record.started);
      if (more > 0) record.changed = this.round;
      record.sample = first ? 0 : more / elapsed;
      record.rate += SMOOTHING * (record.sample - record.rate);
      if (record.rate < 0.02) record.rate = 0;
      started += more;
      errors += Math.max(0, wrong - record.errors);
      record.started = begun;
      record.errors = wrong;
      record.seen = this.round;
      if (!first && record.ring === null && record.changed === this.round) wanting.push(record);
    }
    if (this.effects.size > names) {
      for (const [name, record] of this.effects) {
        if (record.seen === this.round) continue;
        if (record.ring) this.rings -= 1;
        this.effects.delete(name);
      }
    }
    this.#share(wanting);
    if (first) return;
    for (const record of this.effects.values()) if (record.ring) record.ring.push(record.sample);

    const totals = state.totals ?? {};
    this.rates.effects += SMOOTHING * (started / elapsed - this.rates.effects);
    this.rates.errors += SMOOTHING * (errors / elapsed - this.rates.errors);
    this.series.effects.push(started / elapsed);
    this.series.errors.push(errors / elapsed);
    this.series.running.push(totals.running ?? 0);
    this.series.waiting.push(totals.waiting ?? 0);
    this.series.lag.push(state.loop?.lag_p99 ?? 0);
    this.series.threads.push(totals.threads_busy ?? 0);
  }

  /** Give rings to those that want one: the free ones first, then those of the stalest. */
  #share(wanting) {
    if (wanting.length === 0) return;
    let stale = null;
    for (const record of wanting) {
      if (this.rings < MAX_RINGS) {
        record.ring = new Ring();
        this.rings += 1;
        continue;
      }
      stale ??= [...this.effects.values()]
        .filter((other) => other.ring && this.round - other.changed > STALE_AFTER)
        .sort((a, b) => b.changed - a.changed);
      const loser = stale.pop();
      if (loser === undefined) return;
      loser.ring = null;
      record.ring = new Ring();
    }
  }
}
