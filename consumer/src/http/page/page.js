// The status page: fetches the whole state, follows it by server-sent events, and shows it. Texts come from events of
// strangers: they become text, never markup.

import { Plot } from './plot.js';
import { NOTHING, bytes, clock, count, counted, day, meaning, rate, time, timeParts } from './words.js';

const $ = (id) => document.getElementById(id);

/** Without an event for so long, in milliseconds, the connection is taken for lost. */
const SILENCE = 5000;
/** Where events are refused or lost, it is asked again after so long, in milliseconds: soon enough to be no silence. */
const AGAIN = 2500;

const MOST_POINTS = 180;

/** What the plots show, in minutes: as much as there is. */
const SPANS = [2, 5, 15];

const state = { points: [], version: null, started: Date.now(), heard: 0, whole: false };

// ---- texts and lists; nothing is touched that has not changed, so that focus and selection stay

function text(node, value) {
  const told = String(value);
  if (node.textContent !== told) node.textContent = told;
}

function node(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Makes the children of a list or table those of the items, by key; each keeps its element for as long as it is there. */
function list(parent, items, keyOf, make, update) {
  const known = parent.known ??= new Map();
  const keys = new Set();
  items.forEach((item, place) => {
    const key = String(keyOf(item));
    keys.add(key);
    let child = known.get(key);
    if (!child) known.set(key, child = make(item));
    update(child, item);
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  for (const [key, child] of known) {
    if (keys.has(key)) continue;
    child.remove();
    known.delete(key);
  }
}

/** A table's row: a heading and cells; those that hold text are aligned as text. */
function row(columns, textual = []) {
  const made = node('tr', {}, node('th', { scope: 'row' }));
  for (let column = 1; column < columns; column++) {
    made.append(node('td', { className: textual.includes(column) ? 'text' : '' }));
  }
  return made;
}

function cells(made, ...values) {
  values.forEach((value, place) => text(made.children[place], value));
}

// ---- what is shown

const MARKS = {
  keeping_up: 'M7 12.5l3.5 3.5L17 9',
  behind: 'M12 6.5V12l4 2.5',
  not_ready: 'M8 8l8 8M16 8l-8 8',
  starting: 'M7 12h.01M12 12h.01M17 12h.01',
  standing_by: 'M9.5 8v8M14.5 8v8',
  stopping: 'M9 9h6v6H9z',
};

const LEVELS = { problem: 'Problem', warning: 'Attention', note: 'Note' };

const plots = [
  new Plot({
    title: 'Rate',
    unit: 'messages/s',
    scale: 'linear',
    least: 20,
    axis: count,
    lines: [{ name: 'stored', of: (point) => point.rate, tell: (value) => `${rate(value)}/s` }],
  }),
  new Plot({
    title: 'Latency',
    unit: 'Kafka to commit',
    scale: 'log',
    axis: time,
    lines: [
      { name: 'p50', of: (point) => point.latency_p50, tell: time },
      { name: 'p99', of: (point) => point.latency_p99, tell: time },
    ],
  }),
  new Plot({
    title: 'Lag',
    unit: 'messages',
    scale: 'linear',
    least: 20,
    axis: count,
    lines: [{ name: 'waiting in Kafka', of: (point) => point.lag, tell: count }],
  }),
];
$('plots').append(...plots.map((plot) => plot.figure));

function show(status) {
  text($('topic'), status.topic);
  text($('group'), status.group);
  showVerdict(status);
  showFigures(status);
  showPartitions(status.lag);
  showBatches(status);
  showTables(status);
  showRetries(status.retries);
  showLetters(status.dead_letters);
  text($('about'), `Version ${status.version}, ${counted(status.workers, 'worker', 'workers')}, up for ${time(status.uptime_seconds)}, since ${day(status.started)}`);
}

function showVerdict({ verdict, reasons, findings, topic }) {
  $('verdict').dataset.state = verdict.state;
  $('mark').setAttribute('d', MARKS[verdict.state] ?? '');
  text($('title'), verdict.title);
  text($('detail'), verdict.detail);
  list($('reasons'), reasons, (reason) => reason, () => node('li'), text);
  // Only what a listener must hear at once: the sentence below changes every second.
  text($('spoken'), [verdict.title.replace(/ by .*/, ''), ...reasons.map((reason) => reason.replace(/\d+ s\b/, 'some time'))].join('. '));
  document.title = `${verdict.title} · ${topic}`;
  list($('findings'), findings, (finding) => finding.text.replace(/[\d,]+/g, '#'), () => node('li', {}, node('b'), node('span')), (made, finding) => {
    made.dataset.level = finding.level;
    cells(made, LEVELS[finding.level] ?? finding.level, finding.text);
  });
}

function showFigures({ messages, latency, lag, dead_letters }) {
  text($('rate'), rate(messages.rate));
  text($('rate-sub'), `${rate(messages.rate_since_start)}/s on average; ${bytes(messages.payload_bytes_rate)}/s`);
  const [number, unit] = timeParts(latency.now.p50_seconds ?? latency.since_start.p50_seconds);
  text($('latency'), number);
  text($('latency-unit'), unit);
  text($('latency-sub'), latency.now.p50_seconds === null
    ? (latency.since_start.p50_seconds === null ? 'nothing committed yet' : 'since the start; nothing just now')
    : `99 of 100 within ${time(latency.now.p99_seconds)}`);
  text($('lag'), count(lag.messages));
  text($('lag-unit'), lag.messages === 1 ? 'message' : 'messages');
  text($('lag-sub'), lag.messages ? `the oldest waits for ${time(lag.seconds)}` : 'nothing waits in Kafka');
  text($('stored'), count(messages.stored));
  const skipped = messages.skipped ? `, ${count(messages.skipped)} left out` : '';
  text($('stored-sub'), `of ${counted(messages.consumed, 'message', 'messages')}${skipped}`);
  text($('dead'), count(dead_letters.count));
  text($('dead-unit'), dead_letters.count === 1 ? 'message' : 'messages');
  text($('dead-sub'), `${count(dead_letters.lately)} in the last 15 minutes`);
}

function showPartitions({ partitions, messages, seconds }) {
  text($('partitions-summary'), partitions.length
    ? `${counted(partitions.length, 'partition', 'partitions')}; ${messages ? `${counted(messages, 'message waits', 'messages wait')}, the oldest for ${time(seconds)}` : 'nothing waits'}.`
    : 'No partition is assigned to this process.');
  const worst = partitions.reduce((most, it) => Math.max(most, it.messages ?? 0), 0);
  list($('partitions'), partitions, (it) => it.partition, () => row(5), (made, it) => {
    made.toggleAttribute('data-lags', worst > 0 && it.messages === worst);
    cells(made, it.partition, count(it.messages), time(it.seconds), count(it.stored_offset), count(it.end_offset));
  });
}

function showBatches({ batches, memory }) {
  const size = batches.messages_mean ?? batches.messages_mean_since_start;
  text($('batches-summary'), batches.count
    ? `${counted(batches.count, 'transaction', 'transactions')}, ${rate(batches.rate)}/s now, ${rate(size)} messages each; the last one ${time(batches.seconds_since_last_commit)} ago. `
      + `In memory ${bytes(memory.batches_bytes + memory.fetched_bytes)}, of ${bytes(memory.limit_bytes)} at most.`
    : 'No transaction since the start.');
  const whole = batches.phases.reduce((sum, phase) => sum + (phase.mean_seconds_since_start ?? 0), 0);
  list($('phases'), batches.phases, (phase) => phase.phase, () => {
    const made = row(5);
    made.lastElementChild.className = 'share';
    made.lastElementChild.append(node('span', { className: 'bar' }));
    return made;
  }, (made, phase) => {
    const mean = phase.mean_seconds_since_start;
    cells(made, phase.phase.replace('_', ' '), time(phase.mean_seconds), time(mean), time(phase.p99_seconds_since_start));
    made.querySelector('.bar').style.inlineSize = `${whole ? (100 * (mean ?? 0)) / whole : 0}%`;
  });
}

function showTables({ tables }) {
  list($('tables'), tables, (it) => it.table, () => row(2), (made, it) => cells(made, it.table, count(it.rows)));
}

function showRetries(retries) {
  text($('retries-summary'), retries.length ? 'Attempts that PostgreSQL did not take, since the start. Each was repeated.' : 'None since the start.');
  $('retries-table').hidden = !retries.length;
  list($('retries'), retries, (it) => it.sqlstate, () => row(3, [1]), (made, it) => cells(made, it.sqlstate, meaning(it.sqlstate), count(it.count)));
}

function showLetters({ count: all, reasons, newest }) {
  text($('letters-summary'), all
    ? 'Messages that could not become rows, by reason, since the start. The table dead_letters keeps them with all their bytes.'
    : 'None since the start of this process. Older ones, if any, are in the table dead_letters.');
  list($('letter-reasons'), reasons, (it) => it.reason, () => node('li', {}, node('span'), ' ', node('b')), (made, it) => {
    cells(made, it.reason, count(it.count));
  });
  const letters = $('letters');
  // Whoever reads one does not want it to move.
  const open = letters.querySelector('details[open]');
  const shown = letters.known ?? new Map();
  const newer = newest.filter((letter) => !shown.has(place(letter))).length;
  if (open && newer) {
    text($('letters-note'), `${counted(newer, 'newer one is', 'newer ones are')} not shown while one is open.`);
    return;
  }
  text($('letters-note'), newest.length ? 'The newest ones. Open one for its payload and the command that replays it.' : '');
  list(letters, newest, place, letterNode, () => {});
}

function place(letter) {
  return `${letter.partition}/${letter.offset}`;
}

/** A dead letter never changes: it is made once. */
function letterNode(letter) {
  const facts = node('dl');
  const fact = (name, ...values) => facts.append(node('dt', { textContent: name }), node('dd', {}, ...values));
  fact('Detail', letter.detail);
  if (letter.sqlstate) fact('SQLSTATE', node('code', { textContent: letter.sqlstate }), ' ', meaning(letter.sqlstate));
  if (letter.event_type !== null) fact('Event type', node('code', { textContent: letter.event_type }));
  if (letter.table !== null) fact('Table', letter.table);
  if (letter.payload_bytes === null) {
    fact('Payload', 'none: a tombstone');
  } else {
    const size = letter.payload_cut ? `the beginning of ${counted(letter.payload_bytes, 'byte', 'bytes')}` : counted(letter.payload_bytes, 'byte', 'bytes');
    fact('Payload', node('pre', { textContent: letter.payload || ' ', tabIndex: 0 }), node('span', { className: 'sub', textContent: size }));
  }
  fact('Replay', node('code', { className: 'replay', textContent: letter.replay }));
  const summary = node('summary', {},
    node('time', { textContent: clock(letter.at), dateTime: letter.at, title: day(letter.at) }),
    node('span', { className: 'reason', textContent: letter.reason }),
    node('span', { className: 'place', textContent: `partition ${letter.partition}, offset ${letter.offset}` }),
    node('span', { className: 'hint', textContent: letter.detail }));
  return node('li', {}, node('details', {}, summary, facts));
}

function showConfiguration(settings) {
  const given = settings.filter((it) => it.source !== 'default').length;
  text($('configuration-summary'), `All settings; ${count(given)} given, ${count(settings.length - given)} by default`);
  const numbered = settings.map((it, number) => ({ ...it, number }));
  list($('configuration'), numbered, (it) => it.number, () => row(3, [1, 2]), (made, it) => {
    made.dataset.source = it.source;
    cells(made, it.setting, it.value || NOTHING, it.source);
  });
}

function showPoints() {
  // A young process fills the plots, too.
  const age = state.points.length ? state.points.at(-1).at_ms - state.points[0].at_ms : 0;
  const span = SPANS.find((minutes) => age <= minutes * 60000) ?? SPANS.at(-1);
  text($('minutes-title'), `The last ${span} minutes`);
  $('away-key').hidden = state.points.every((point) => point.ready);
  plots.forEach((plot) => plot.show(state.points, span));
  // A row a minute: the newest point of each.
  const minutes = new Map(state.points.map((point) => [Math.floor(point.at_ms / 60000), point]));
  list($('minutes'), [...minutes.values()].reverse(), (point) => Math.floor(point.at_ms / 60000), () => row(6), (made, point) => {
    cells(made, clock(point.at_ms) + (point.ready ? '' : ', not ready'), rate(point.rate), time(point.latency_p50), time(point.latency_p99), count(point.lag), time(point.lag_seconds));
  });
}

function addPoint(point) {
  if (!point || point.at_ms <= (state.points.at(-1)?.at_ms ?? 0)) return;
  state.points.push(point);
  state.points.splice(0, state.points.length - MOST_POINTS);
  showPoints();
}

// ---- the connection

let source = null;
let lostSince = null;
let nextTry = Date.now() + AGAIN;

function heard() {
  state.heard = Date.now();
  lostSince = null;
}

/** The whole state: at the beginning, after each connection, and while events are refused. */
async function fetchWhole() {
  try {
    const answer = await fetch('status', { cache: 'no-store' });
    if (!answer.ok) return;
    const status = await answer.json();
    // Another program than the one that this page belongs to.
    if (state.version !== null && state.version !== status.version) location.reload();
    state.version = status.version;
    state.whole = true;
    heard();
    show(status);
    state.points = status.history.points;
    showPoints();
    showConfiguration(status.configuration);
    tellConnection();
  } catch {
    // The watch below tells it.
  }
}

function connect() {
  source?.close();
  source = new EventSource('status/events');
  source.onopen = fetchWhole;
  source.onmessage = (event) => {
    heard();
    const status = JSON.parse(event.data);
    show(status);
    if (state.whole) addPoint(status.point);
    tellConnection();
  };
  source.onerror = tellConnection;
}

function tellConnection() {
  const now = Date.now();
  const lost = now - (state.heard || state.started) > SILENCE;
  if (lost) lostSince ??= state.heard || now;
  document.body.toggleAttribute('data-stale', lost && state.heard > 0);
  $('lost').hidden = !lost;
  if (lost) {
    const since = state.heard ? `Connection lost at ${clock(lostSince)}: what is shown is from then.` : 'No answer from storage-consumer.';
    text($('lost'), `${since} Trying again.`);
    document.title = 'Connection lost · storage-consumer';
  }
  const live = source?.readyState === EventSource.OPEN;
  const word = lost ? 'lost' : live ? 'live' : state.heard ? 'slow' : 'connecting';
  $('connection').dataset.state = word;
  text($('connection-text'), { lost: 'connection lost', live: 'live', slow: 'every few seconds', connecting: 'connecting' }[word]);
}

function watch() {
  const now = Date.now();
  if (!document.hidden && now >= nextTry && (source?.readyState === EventSource.CLOSED || now - (state.heard || state.started) > SILENCE)) {
    nextTry = now + AGAIN;
    fetchWhole();
    connect();
  }
  tellConnection();
}

// A page that nobody looks at costs nothing.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    source?.close();
    source = null;
  } else {
    state.heard = Date.now();
    connect();
  }
});

fetchWhole();
connect();
setInterval(watch, 1000);
