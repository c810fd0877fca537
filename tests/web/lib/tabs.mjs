// Tabs of Chromium over its own protocol. Playwright keeps every page visible, so what a tab in the background does can
// only be seen without it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BROWSERS, FLAGS } from './browser.mjs';

/**
 * Starts Chromium with one window.
 * @returns `{open(url), close()}`; `open` gives a tab with `evaluate(expression)`, `show()`, which hides the others, and
 *   `send(method, params)`
 */
export async function launchTabs() {
	const executable = process.env.CHROMIUM || BROWSERS.find(existsSync);
	const profile = await mkdtemp(join(tmpdir(), 'coreai-tabs-'));
	const child = spawn(executable, [...FLAGS, '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'], {
		stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
	});
	const [input, output] = [child.stdio[3], child.stdio[4]];
	const waiting = new Map();
	let next = 1;
	let rest = '';
	output.setEncoding('utf8').on('data', (text) => {
		const messages = (rest + text).split('\0');
		rest = messages.pop();
		for (const message of messages) {
			const { id, result, error } = JSON.parse(message);
			const entry = waiting.get(id);
			waiting.delete(id);
			if (error) entry?.reject(new Error(error.message));
			else entry?.resolve(result);
		}
	});
	const ended = new Promise((done) => child.once('close', done));
	ended.then(() => waiting.forEach(({ reject }) => reject(new Error('the browser ended'))));
	const send = (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
		waiting.set(next, { resolve, reject });
		input.write(`${JSON.stringify({ id: next++, method, params, sessionId })}\0`);
	});
	return {
		async open(url) {
			const { targetId } = await send('Target.createTarget', { url });
			const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
			const tab = {
				send: (method, params) => send(method, params, sessionId),
				show: () => send('Target.activateTarget', { targetId }),
				/** Value of an expression, awaited. */
				async evaluate(expression) {
					const { result, exceptionDetails } = await tab.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
					if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
					return result.value;
				},
			};
			while (await tab.evaluate('location.href + document.readyState') !== `${url}complete`) await new Promise((done) => setTimeout(done, 20));
			return tab;
		},
		async close() {
			await send('Browser.close').catch(() => {});
			await ended;
			await rm(profile, { recursive: true, force: true, maxRetries: 5 });
		},
	};
}
