// How numbers, times and codes are told to people. Pure.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const NOTHING = '–';

export function count(number) {
  return number === null || number === undefined ? NOTHING : whole.format(number);
}

/** A number and what is counted. */
export function counted(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** A rate: tenths only where they matter. */
export function rate(number) {
  return number > 0 && number < 100 ? tenths.format(number) : count(number);
}

/** Seconds as [number, unit], in the unit that a person would take. */
export function timeParts(seconds) {
  if (seconds === null || seconds === undefined) return [NOTHING, ''];
  if (seconds === 0) return ['0', 's'];
  if (seconds < 0.001) return [whole.format(seconds * 1e6), 'µs'];
  if (seconds < 0.01) return [tenths.format(seconds * 1e3), 'ms'];
  if (seconds < 1) return [whole.format(seconds * 1e3), 'ms'];
  if (seconds < 10) return [tenths.format(seconds), 's'];
  if (seconds < 120) return [whole.format(seconds), 's'];
  if (seconds < 7200) return [whole.format(seconds / 60), 'min'];
  if (seconds < 172800) return [tenths.format(seconds / 3600), 'h'];
  return [whole.format(seconds / 86400), 'days'];
}

export function time(seconds) {
  return timeParts(seconds).join(' ').trim();
}

export function bytes(number) {
  if (number === null || number === undefined) return NOTHING;
  for (const [unit, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) {
    if (number >= size) return `${tenths.format(number / size)} ${unit}`;
  }
  return `${whole.format(number)} B`;
}

const clockOf = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayOf = new Intl.DateTimeFormat('en-GB', { year: 'numeric', month: 'long', day: 'numeric', hour: '2-digit', minute: '2-digit' });

export function clock(moment) {
  return clockOf.format(new Date(moment));
}

export function day(moment) {
  return dayOf.format(new Date(moment));
}

const MEANINGS = {
  connection: 'connection refused, lost or broken',
  silence: 'no answer in time',
  '25006': 'the server is read-only: a standby, or a failover',
  '40001': 'serialization failure',
  '40P01': 'deadlock',
  '53100': 'disk full',
  '53200': 'out of memory',
  '53300': 'too many connections',
  '55P03': 'a lock was not to be had in time',
  '57014': 'cancelled: the statement took too long',
  '57P01': 'ended by an administrator',
  '57P02': 'ended by a crash of the server',
  '57P03': 'the server starts or stops',
  '42501': 'permission denied',
  '42P01': 'no such table',
  '42703': 'no such column',
};

const CLASSES = {
  '08': 'connection trouble',
  '22': 'a value that PostgreSQL refuses',
  '23': 'a constraint',
  '25': 'transaction state',
  '28': 'login refused',
  '40': 'rolled back',
  '42': 'the schema is not as expected, or a permission is missing',
  '53': 'resources exhausted',
  '55': 'not in the state that is needed',
  '57': 'intervention from outside',
  '58': 'system error of the server',
  XX: 'internal error of the server',
};

export function meaning(sqlstate) {
  return MEANINGS[sqlstate] ?? CLASSES[sqlstate.slice(0, 2)] ?? '';
}
