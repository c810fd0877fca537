// Which recorded cases run.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, SHARED } from '../lib/pages.mjs';

/** The repository's own cases: `{id, folder, url}`, as the server of the tests has them. */
export function ownCases() {
	return ['assets', 'assets/ops'].flatMap((place) => readdirSync(join(ROOT, 'tests', place)).sort()
		.filter((id) => existsSync(join(ROOT, 'tests', place, id, 'case.json')))
		.map((id) => ({ id, folder: join(ROOT, 'tests', place, id), url: `/tests/${place}/${id}` })));
}

/**
 * Cases of the large set beside the repository, or null where it is not there: such that every family, operation,
 * element type and pair of family and port type occurs, small cases first; then more of each family in turn.
 * @param {number} count at least so many, unless there are fewer
 */
export function sharedCases(count) {
	const index = join(SHARED, 'conformance/index.jsonl');
	if (!existsSync(index)) return null;
	const rows = readFileSync(index, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
	rows.sort((a, b) => a.case_bytes - b.case_bytes || (a.id < b.id ? -1 : 1));
	const seen = new Set();
	const taken = new Set();
	for (const row of rows) {
		const traits = [
			`family ${row.family}`,
			...row.ops.map((op) => `op ${op}`),
			...row.element_types.map((type) => `type ${type}`),
			...row.dtypes.map((type) => `${row.family} of ${type}`),
		];
		if (traits.every((trait) => seen.has(trait))) continue;
		traits.forEach((trait) => seen.add(trait));
		taken.add(row.id);
	}
	const families = new Map();
	for (const { id, family } of rows) {
		if (!taken.has(id)) families.set(family, [...(families.get(family) ?? []), id]);
	}
	// Spread over the sizes of a family, not its smallest only.
	for (const [family, ids] of families) families.set(family, spread(ids));
	for (let at = 0; taken.size < Math.min(count, rows.length); at++) {
		for (const ids of families.values()) {
			if (ids[at] && taken.size < count) taken.add(ids[at]);
		}
	}
	return [...taken].sort().map((id) => ({
		id, folder: join(SHARED, 'conformance/cases', id), url: `/shared/conformance/cases/${id}`,
	}));
}

/** The same items such that every beginning is spread over the whole list. */
function spread(items) {
	const order = [];
	const taken = new Set();
	for (let step = items.length; order.length < items.length; step = Math.max(1, Math.floor(step / 2))) {
		for (let at = 0; at < items.length; at += step) {
			if (taken.has(at)) continue;
			taken.add(at);
			order.push(items[at]);
		}
	}
	return order;
}

/** Cases that the native list of expected results says to load and not to run. */
export function loadedOnly() {
	const list = JSON.parse(readFileSync(join(ROOT, 'core/tasks/src/verify/expected.json'), 'utf8'));
	return new Set(list.unrecorded.filter(({ result }) => result === 'loads').map((row) => row.case));
}
