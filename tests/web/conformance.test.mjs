// Recorded cases in the page, on both units: the same ones pass as natively, but for those in differences.json. With
// COREAI_KEEP set, what the page computed stays in its folder.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { start, WHOLE_SET } from './lib/pages.mjs';
import { judge } from './conformance/judge.mjs';
import { loadedOnly, ownCases, sharedCases } from './conformance/sample.mjs';

/** Cases of the large set, at least: a software adapter compiles a pipeline in 0.1 s. */
const SAMPLE = WHOLE_SET ? { gpu: Infinity, cpu: Infinity } : { gpu: 300, cpu: 1200 };
/** A case that takes longer hangs. */
const CASE_MS = 90_000;
/** The heap of a page that ran this many cases is let go. */
const CASES_OF_PAGE = 400;

const differences = JSON.parse(readFileSync(new URL('differences.json', import.meta.url), 'utf8'));
let at;

before(async () => (at = await start()));
after(() => at.close());

async function open() {
	const page = await at.page();
	await page.evaluate(async () => { window.conformance = await import('/tests/web/conformance/page.js'); });
	return page;
}

const timeout = (ms) => new Promise((done) => setTimeout(done, ms).unref());

/** Runs the cases in pages, and writes what came out into `folder`. */
async function compute(cases, unit, folder) {
	const only = loadedOnly();
	const slow = [];
	const start = performance.now();
	let page = await open();
	for (const [number, { id, url }] of cases.entries()) {
		if (number && number % CASES_OF_PAGE === 0) {
			await page.context().close();
			page = await open();
		}
		const begin = performance.now();
		const place = { url, only: only.has(id) ? 'load' : undefined };
		const running = page.evaluate(([place, unit]) => window.conformance.runCase(place, unit), [place, unit])
			.catch((error) => ({ code: 'page', message: error.message }));
		let result = await Promise.race([running, timeout(CASE_MS)]);
		if (!result || result.code === 'page' && !result.stack) {
			result ??= { code: 'timeout', message: `not done after ${CASE_MS / 1000} s` };
			await page.context().close();
			page = await open();
		}
		const [name, content] = 'file' in result
			? [`${id}.safetensors`, Buffer.from(result.file, 'base64')]
			: [`${id}.json`, JSON.stringify(result)];
		await writeFile(join(folder, name), content);
		slow.push([performance.now() - begin, id]);
		if ((number + 1) % 50 === 0) process.stderr.write(`${unit}: ${number + 1} of ${cases.length} cases, ${((performance.now() - start) / 1e3).toFixed(0)} s\n`);
	}
	await page.context().close();
	slow.sort(([a], [b]) => b - a);
	const slowest = slow.slice(0, 3).map(([ms, id]) => `${id} ${(ms / 1e3).toFixed(1)} s`).join(', ');
	process.stderr.write(`${unit}: ${cases.length} cases in ${((performance.now() - start) / 1e3).toFixed(0)} s; slowest: ${slowest}\n`);
}

async function compare(t, cases, unit) {
	const folder = await mkdtemp(join(tmpdir(), `coreai-results-${unit}-`));
	try {
		await compute(cases, unit, folder);
		const found = judge(cases, unit, folder);
		assert.ok(typeof found !== 'string', `the results are not judged: ${found}`);
		let native = judge(cases, unit);
		if (typeof native === 'string') {
			t.diagnostic(`no native ${unit} unit (${native.split('\n')[0]}); compared with the native CPU unit`);
			native = judge(cases, 'cpu');
		}
		const listed = new Set(differences.filter((row) => row.unit === unit).map((row) => row.case));
		const told = [];
		for (const { id } of cases) {
			const [here, there] = [found.get(id), native.get(id)];
			const differs = here.verdict !== there.verdict;
			if (differs && !listed.has(id)) told.push(`${id}: ${here.verdict} (${here.detail}); natively ${there.verdict}`);
			if (!differs && listed.has(id)) told.push(`${id}: ${here.verdict} as natively, and differences.json lists it`);
		}
		const passed = [...found.values()].filter(({ verdict }) => verdict === 'passed').length;
		t.diagnostic(`${unit}: ${passed} of ${cases.length} pass, the others do what the list says`);
		assert.equal(told.length, 0, `${told.length} of ${cases.length} cases differ from the native unit:\n${told.join('\n')}`);
	} finally {
		if (!process.env.COREAI_KEEP) await rm(folder, { recursive: true });
		else process.stderr.write(`results: ${folder}\n`);
	}
}

test('every row of differences.json names a case once, a unit and a reason', () => {
	const known = new Set([...ownCases(), ...(sharedCases(Infinity) ?? [])].map(({ id }) => id));
	const rows = new Set();
	for (const row of differences) {
		assert.deepEqual(Object.keys(row).sort(), ['case', 'reason', 'unit']);
		assert.ok(['gpu', 'cpu'].includes(row.unit) && row.reason.length > 10, JSON.stringify(row));
		assert.ok(!rows.has(`${row.case} ${row.unit}`), `${row.case} is listed twice`);
		rows.add(`${row.case} ${row.unit}`);
		if (sharedCases(1)) assert.ok(known.has(row.case), `there is no case ${row.case}`);
	}
});

for (const unit of ['cpu', 'gpu']) {
	test(`the repository's own cases, ${unit}`, async (t) => {
		if (at.skip) return t.skip(at.skip);
		const cases = ownCases();
		assert.ok(cases.length >= 51, `only ${cases.length} cases are here`);
		await compare(t, cases, unit);
	});

	test(`the recorded set, ${unit}`, async (t) => {
		if (at.skip) return t.skip(at.skip);
		const cases = sharedCases(SAMPLE[unit]);
		if (!cases) return t.skip('../shared/conformance is not there');
		await compare(t, cases, unit);
	});
}
