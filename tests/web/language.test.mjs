// Language models in the page and in the worker: the golden tokens of SmolLM2, streaming, aborts, loss of the device,
// a frozen tab, memory and long tasks. What needs many tokens on a software adapter is done with a tiny random model.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { SHARED, start, WHOLE_SET } from './lib/pages.mjs';
import { launchTabs } from './lib/tabs.mjs';
import { largeBundle, tinyBundle } from './lib/tiny.mjs';

const MIB = 1 << 20;
/** Bound of the wasm memory after loading on the GPU unit. */
const MEMORY = 64 * MIB;
/** Longest task of the main thread while a worker loads and generates, in milliseconds. */
const TASK_MS = 50;
/** The most likely token must be the golden one where the two most likely logits are so far apart. */
const MARGIN = 0.1;
/** Seconds for SmolLM2 on the GPU unit; a software adapter takes seconds for a token. */
const GPU_SECONDS = WHOLE_SET ? Infinity : 60;
/** Golden tokens that are computed with the prompt, in one step. */
const WITH_PROMPT = 10;

const SMOLLM2 = '/shared/models/smollm2-135m-int4/';
const folder = join(SHARED, 'models/smollm2-135m-int4');
const missing = existsSync(join(folder, 'metadata.json')) ? undefined : '../shared/models/smollm2-135m-int4 is not there';
const prompts = missing ? [] : JSON.parse(readFileSync(join(SHARED, 'models/golden_int4.json'), 'utf8'));

const CONVERSATION = [{ role: 'user', content: 'Which way is up?' }];
// Temperature: the most likely tokens of random weights soon repeat.
const VARIED = { maxTokens: 24, temperature: 1, seed: 7 };

const largeFolder = mkdtempSync(join(tmpdir(), 'coreai-large-'));
let at, tiny;
before(async () => {
	at = await start({ mounts: { '/large/': largeFolder } });
	if (at.skip) return;
	tiny = await tinyBundle();
	for (const entry of readdirSync(tiny.folder, { recursive: true, withFileTypes: true })) {
		const path = join(entry.parentPath, entry.name);
		if (entry.isFile()) at.server.put(`/tiny/${relative(tiny.folder, path)}`, readFileSync(path));
	}
});
after(async () => {
	await at?.close();
	await tiny?.remove();
	rmSync(largeFolder, { recursive: true, force: true });
});

/** A page with language/page.js; `call(name, …)` calls a function of it. */
async function open() {
	const page = await at.page();
	await page.evaluate(async () => { window.language = await import('/tests/web/language/page.js'); });
	return { page, call: (name, ...given) => page.evaluate(([name, given]) => window.language[name](...given), [name, given]) };
}

/** A test in a page of its own. */
function check(name, body, { skip } = {}) {
	test(name, { timeout: WHOLE_SET ? 0 : 600_000 }, async (t) => {
		const reason = at.skip ?? skip;
		if (reason) return t.skip(reason);
		const { page, call } = await open();
		try {
			await body(call, t, page);
		} finally {
			await page.context().close();
		}
	});
}

/** Fails where a token differs and the margin is wide enough; gives the number of tokens compared. */
function compare(golden, tokens, first = 0) {
	let compared = 0;
	tokens.forEach((token, i) => {
		const expected = golden.new_ids[first + i];
		const margin = golden.margins[first + i];
		if (expected === undefined || margin < MARGIN) return;
		compared++;
		assert.equal(token, expected, `"${golden.prompt}", token ${first + i}: ${token}, expected ${expected} (margin ${margin})`);
	});
	return compared;
}

/**
 * The golden tokens are fed and the most likely ones compared: some in one step with the prompt, the others one by one.
 */
async function follows(call, golden, limits) {
	const ids = [...golden.prompt_ids, ...golden.new_ids.slice(0, -1)];
	const first = golden.prompt_ids.length - 1;
	const together = golden.prompt_ids.length + WITH_PROMPT;
	const sizes = [together, ...Array(ids.length - together).fill(1)];
	const { tokens, seconds } = await call('mostLikely', 'smollm2', ids, sizes, limits);
	const compared = compare(golden, tokens.slice(first));
	process.stderr.write(`"${golden.prompt}": ${compared} golden tokens; ${seconds[0].toFixed(1)} s for ${together}, then ${(seconds.at(-1)).toFixed(2)} s each\n`);
	assert.ok(compared > WITH_PROMPT / 2, `only ${compared} tokens were compared`);
}

/** What chat gives is the golden tokens up to the first that is too close to call, or the end of the turn. */
function compareTurn(golden, { text, tokenIds }) {
	const close = tokenIds.findIndex((id, i) => id !== golden.new_ids[i]);
	const compared = compare(golden, close < 0 ? tokenIds : tokenIds.slice(0, close + 1));
	assert.ok(compared > 0, `nothing was compared: ${text}`);
	return compared;
}

describe('SmolLM2 follows the golden tokens', () => {
	const shortest = [...prompts].sort((a, b) => a.prompt_ids.length - b.prompt_ids.length);

	check('gpu, in the page', async (call, t) => {
		const { unit, seconds } = await call('load', 'smollm2', SMOLLM2, { computeUnit: 'gpu' });
		assert.equal(unit, 'gpu');
		t.diagnostic(`loaded in ${seconds.toFixed(1)} s`);
		const begin = performance.now();
		const left = () => GPU_SECONDS - (performance.now() - begin) / 1e3;
		for (const [i, golden] of shortest.entries()) {
			if (i && left() <= GPU_SECONDS / 2) break;
			await follows(call, golden, { seconds: left(), least: 3 });
		}
	}, { skip: missing });

	check('cpu, in the page', async (call) => {
		const { unit } = await call('load', 'smollm2', SMOLLM2, { computeUnit: 'cpu' });
		assert.equal(unit, 'cpu');
		for (const golden of WHOLE_SET ? prompts : prompts.slice(0, 2)) await follows(call, golden);
	}, { skip: missing });

	check('cpu, chat in the worker', async (call) => {
		const { unit } = await call('load', 'smollm2', SMOLLM2, { computeUnit: 'cpu', worker: true });
		assert.equal(unit, 'cpu');
		for (const golden of WHOLE_SET ? prompts : prompts.slice(0, 3)) {
			const { turn, parts } = await call('answer', 'smollm2', golden.prompt, { maxTokens: 40 });
			assert.equal(turn.error, undefined);
			assert.equal(parts.map((part) => part.text).join(''), turn.text);
			compareTurn(golden, turn);
		}
	}, { skip: missing });

	check('gpu, chat in the worker, with little memory and a free main thread', async (call, t, page) => {
		await page.evaluate(() => { window.language.longTasks.length = 0; });
		const { unit, memory } = await call('load', 'smollm2', SMOLLM2, { computeUnit: 'gpu', worker: true });
		assert.equal(unit, 'gpu');
		const [golden] = shortest;
		const { turn } = await call('answer', 'smollm2', golden.prompt, { maxTokens: WHOLE_SET ? 40 : 2 });
		assert.equal(turn.error, undefined);
		compareTurn(golden, turn);
		const longest = Math.max(0, ...await page.evaluate(() => window.language.longTasks));
		t.diagnostic(`${(memory.wasmBytes / MIB).toFixed(1)} MiB of wasm memory after loading; longest task of the main thread ${longest} ms`);
		assert.ok(longest < TASK_MS, `a task of the main thread took ${longest} ms`);
		assert.ok(memory.wasmBytes < MEMORY, `${(memory.wasmBytes / MIB).toFixed(1)} MiB of wasm memory after loading`);
	}, { skip: missing });
});

check('a float16 asset of 270 MB streams past the wasm memory', async (call, t) => {
	await largeBundle(largeFolder);
	const { memory } = await call('load', 'large', '/large/bundle/', { computeUnit: 'gpu', worker: true });
	t.diagnostic(`${(memory.wasmBytes / MIB).toFixed(1)} MiB of wasm memory, ${(memory.device.weights / MIB).toFixed(1)} MiB of weights on the device`);
	assert.ok(memory.device.weights > 250 * MIB, 'the model is too small');
	assert.ok(memory.wasmBytes < MEMORY, `${(memory.wasmBytes / MIB).toFixed(1)} MiB of wasm memory`);
});

for (const worker of [false, true]) {
	describe(`chat ${worker ? 'in the worker' : 'in the page'}`, () => {
		let page, call, loaded;
		before(async () => {
			if (at.skip) return;
			({ page, call } = await open());
			loaded = await call('load', 'tiny', '/tiny/', { computeUnit: 'gpu', worker });
		}, { timeout: 120_000 });
		after(() => page?.context().close());
		const chat = (name, body) => test(name, { timeout: 180_000 }, (t) => (at.skip ? t.skip(at.skip) : body(t)));

		chat('streams and stops', async () => {
			assert.deepEqual([loaded.unit, loaded.contextLength], ['gpu', 512]);
			assert.deepEqual(await call('codec', 'tiny', 'up'), { ids: [87, 82], text: 'up' });
			const { parts, turn, error } = await call('answer', 'tiny', CONVERSATION, VARIED);
			assert.equal(error, null);
			assert.equal(parts.map((part) => part.text).join(''), turn.text);
			assert.ok(parts.length > VARIED.maxTokens / 2, `${parts.length} parts`);
			assert.ok(parts.every((part, i) => !i || part.tokens > parts[i - 1].tokens && part.seconds >= parts[i - 1].seconds));
			assert.equal(turn.stopReason, 'max_tokens');
			assert.equal(turn.tokenIds.length, VARIED.maxTokens);
			assert.equal(turn.figures.generatedTokens, VARIED.maxTokens);
			assert.ok(turn.figures.promptTokens > 10 && turn.figures.reusedTokens === 0);

			// A longer conversation computes only what is new; the same seed gives the same tokens.
			const longer = [...CONVERSATION, { role: 'assistant', content: turn.text }, { role: 'user', content: 'And down?' }];
			const second = await call('answer', 'tiny', longer, VARIED);
			assert.ok(second.turn.figures.reusedTokens > turn.figures.promptTokens, JSON.stringify(second.turn.figures));
			const again = await call('answer', 'tiny', CONVERSATION, VARIED);
			assert.deepEqual(again.turn.tokenIds, turn.tokenIds);
			const other = await call('answer', 'tiny', CONVERSATION, { ...VARIED, seed: 8 });
			assert.notDeepEqual(other.turn.tokenIds, turn.tokenIds);

			const stop = turn.text.slice(6, 8);
			const stopped = await call('answer', 'tiny', CONVERSATION, { ...VARIED, stop: [stop] });
			assert.equal(stopped.turn.stopReason, 'stop_string');
			assert.equal(stopped.turn.text, turn.text.slice(0, turn.text.indexOf(stop)));
			assert.equal(stopped.parts.map((part) => part.text).join(''), stopped.turn.text);
		});

		chat('is aborted and left', async () => {
			const whole = await call('answer', 'tiny', CONVERSATION, VARIED);
			for (const at of [0, 3]) {
				const { turn, error, parts } = await call('answer', 'tiny', CONVERSATION, { ...VARIED, maxTokens: 400 }, { at, then: 'abort' });
				assert.deepEqual([error?.name, error?.code, error?.cause], ['AbortError', 'cancelled', 'enough']);
				assert.deepEqual(turn.error, error);
				assert.ok(parts.length < 100, `${parts.length} parts after an abort at ${at}`);
			}
			const left = await call('answer', 'tiny', CONVERSATION, { ...VARIED, maxTokens: 400 }, { at: 3, then: 'leave' });
			assert.equal(left.error, null);
			assert.equal(left.turn.stopReason, 'cancelled');
			assert.ok(left.turn.tokenIds.length < 100);
			const after = await call('answer', 'tiny', CONVERSATION, VARIED);
			assert.deepEqual(after.turn.tokenIds, whole.turn.tokenIds);
		});

		chat('gives the tokens that the CPU unit gives', async () => {
			assert.equal((await call('load', 'cpu', '/tiny/', { computeUnit: 'cpu', worker })).unit, 'cpu');
			const [cpu, gpu] = [await call('answer', 'cpu', CONVERSATION, VARIED), await call('answer', 'tiny', CONVERSATION, VARIED)];
			assert.deepEqual(gpu.turn.tokenIds, cpu.turn.tokenIds);
		});

		chat('works again after dispose', async () => {
			await call('dispose', 'cpu');
			await call('dispose', 'tiny');
			await call('load', 'tiny', '/tiny/', { computeUnit: 'cpu', worker });
			assert.ok((await call('answer', 'tiny', CONVERSATION, VARIED)).turn.text);
		});
	});
}

check('a device lost in the middle of an answer is replaced, and the tokens are the same', async (call) => {
	await call('load', 'tiny', '/tiny/', { computeUnit: 'gpu', ownDevice: 'function' });
	const whole = await call('answer', 'tiny', CONVERSATION, VARIED);
	for (const parts of [1, 9]) {
		const { turn, error } = await call('answer', 'tiny', CONVERSATION, VARIED, { at: parts, then: 'lose' });
		assert.equal(error, null);
		assert.deepEqual(turn.tokenIds, whole.turn.tokenIds);
		assert.equal(turn.text, whole.turn.text);
	}
	// Between answers, with a conversation that goes on.
	await call('lose');
	const longer = [...CONVERSATION, { role: 'assistant', content: whole.turn.text }, { role: 'user', content: 'And down?' }];
	const next = await call('answer', 'tiny', longer, VARIED);
	assert.equal(next.error, null);
	await call('load', 'fresh', '/tiny/', { computeUnit: 'gpu' });
	const fresh = await call('answer', 'fresh', longer, VARIED);
	assert.deepEqual(next.turn.tokenIds, fresh.turn.tokenIds);
});

check('a device of the page that cannot be replaced ends the answer with DeviceLostError', async (call) => {
	await call('load', 'tiny', '/tiny/', { computeUnit: 'gpu', ownDevice: 'object' });
	const { error, turn } = await call('answer', 'tiny', CONVERSATION, VARIED, { at: 4, then: 'lose' });
	assert.deepEqual([error?.name, error?.code], ['DeviceLostError', 'device_lost']);
	assert.deepEqual(turn.error, error);
});

test('a hidden tab, frozen for a while, gives the same tokens', { timeout: 300_000 }, async (t) => {
	if (at.skip) return t.skip(at.skip);
	const browser = await launchTabs();
	try {
		const tab = await browser.open(`${at.server.origin}/`);
		await tab.evaluate('(async () => { globalThis.language = await import("/tests/web/language/page.js"); })()');
		await tab.evaluate(`globalThis.frozen = 0; document.addEventListener('freeze', () => frozen++); 0`);
		const call = (name, ...given) => tab.evaluate(`language.${name}(...${JSON.stringify(given)})`);
		const other = await browser.open(`${at.server.origin}/?other`);
		for (const worker of [false, true]) {
			await tab.show();
			const key = `worker ${worker}`;
			await call('load', key, '/tiny/', { computeUnit: 'gpu', worker });
			const options = { ...VARIED, maxTokens: 200 };
			const whole = await call('answer', key, CONVERSATION, options);
			assert.equal(await tab.evaluate('document.visibilityState'), 'visible');
			const answer = call('answer', key, CONVERSATION, options);
			await other.show();
			while (await tab.evaluate('document.visibilityState') !== 'hidden') await new Promise((done) => setTimeout(done, 10));
			for (let i = 0; i < 3; i++) {
				await tab.send('Page.setWebLifecycleState', { state: 'frozen' });
				await new Promise((done) => setTimeout(done, 200));
				await tab.send('Page.setWebLifecycleState', { state: 'active' });
				await new Promise((done) => setTimeout(done, 50));
			}
			const { turn, error } = await answer;
			assert.equal(error, null);
			assert.equal(await tab.evaluate('document.visibilityState'), 'hidden', 'the tab was shown again');
			assert.deepEqual(turn.tokenIds, whole.turn.tokenIds);
		}
		assert.ok(await tab.evaluate('frozen') >= 3, 'the tab was not frozen');
	} finally {
		await browser.close();
	}
});
