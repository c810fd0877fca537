// A language model in the page and in the worker: streaming, leaving early, abort, several answers. The model is not in
// the repository.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bench } from './lib/package.mjs';

const BUNDLE = fileURLToPath(new URL('../../../shared/models/smollm2-135m-int4/', import.meta.url));

let at, page;
before(async () => {
	at = await bench();
	if (!at.skip && !existsSync(`${BUNDLE}metadata.json`)) at.skip = 'no ../shared/models';
	if (at.skip) return;
	const put = (folder) => {
		for (const entry of readdirSync(BUNDLE + folder, { withFileTypes: true })) {
			if (entry.isDirectory()) put(`${folder}${entry.name}/`);
			else at.server.put(`/smollm2/${folder}${entry.name}`, readFileSync(BUNDLE + folder + entry.name));
		}
	};
	put('');
	page = await at.page();
	await page.evaluate(async () => {
		window.web = await import('/web/dist/language.js');
	});
});
after(() => at.close());

for (const worker of [false, true]) {
	test(`chat ${worker ? 'in the worker' : 'in the page'}`, { timeout: 240_000 }, async (t) => {
		if (at.skip) return t.skip(at.skip);
		const found = await page.evaluate(async (worker) => {
			const phases = new Set();
			const lm = await web.LanguageModel.load('smollm2/', { worker, computeUnit: 'cpu', contextLength: 256, onProgress: ({ phase }) => phases.add(phase) });
			const parts = [];
			const answer = lm.chat('What is the capital of France?', { maxTokens: 6 });
			for await (const part of answer) parts.push(part);
			const turn = await answer.turn;
			const again = await lm.chat([{ role: 'user', content: 'What is the capital of France?' }], { maxTokens: 6 }).turn;
			const left = lm.chat('Count to one hundred.', { maxTokens: 100 });
			for await (const part of left) if (part.tokens >= 2) break;
			const cancelled = await left.turn;
			const controller = new AbortController();
			const aborted = lm.chat('Count to one hundred.', { maxTokens: 100, signal: controller.signal });
			let error = null;
			try {
				for await (const part of aborted) if (part.tokens >= 2) controller.abort('enough');
			} catch (thrown) {
				error = { name: thrown.name, code: thrown.code, cause: String(thrown.cause), typed: thrown instanceof web.AbortedError };
			}
			const ids = await lm.encode('Hello, world');
			const result = {
				name: lm.name, context: lm.contextLength, unit: lm.model.computeUnit, phases: [...phases], parts, turn, again, left: cancelled.stopReason, error,
				ids: ids.length, text: await lm.decode(ids), functions: lm.model.functions.map((fn) => fn.name),
			};
			const unfinished = lm.chat('Count to one hundred.', { maxTokens: 100 });
			const begun = unfinished[Symbol.asyncIterator]();
			await begun.next();
			lm.dispose();
			result.unfinished = await unfinished.turn.then((turn) => turn.stopReason, (thrown) => thrown.code);
			result.after = await lm.encode('x').then(() => null, (thrown) => thrown.code);
			return result;
		}, worker);
		const { turn, again, parts } = found;
		assert.equal(parts.map((part) => part.text).join(''), turn.text);
		assert.match(turn.text, /Paris|France/);
		assert.ok(turn.tokenIds.length <= 6 && parts.at(-1).tokens <= 6);
		assert.equal(again.text, turn.text);
		assert.ok(again.figures.reusedTokens > 0, JSON.stringify(again.figures));
		assert.ok(turn.figures.promptTokens > 0 && turn.figures.tokensPerSecond > 0, JSON.stringify(turn.figures));
		assert.equal(found.left, 'cancelled');
		assert.deepEqual(found.error, { name: 'AbortError', code: 'cancelled', cause: 'enough', typed: true });
		assert.equal(found.text, 'Hello, world');
		assert.equal(found.context, 256);
		assert.ok(found.phases.includes('ready'));
		// A worker may be gone before the answer has ended.
		assert.ok(found.unfinished === 'cancelled' || (worker && found.unfinished === 'disposed'), found.unfinished);
		assert.equal(found.after, 'disposed');
	});
}
