// Compiles WGSL files with Tint, the compiler of Chromium, and makes compute pipelines of some of each kernel's.
//   node check.mjs FOLDER    1 if a file fails
//   node check.mjs --probe   2 if there is no browser with WebGPU
// The browser is $CHROMIUM, or the first that is found.
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { launch } from '../web/lib/browser.mjs';

// Files compiled at once.
const BATCH = 32;
// Sources of a kernel of which pipelines are made: a software adapter takes 0.2 s for a small one.
const PIPELINES = 1;
const LIMIT_MS = 600_000;

// In the page: keeps a device in `window.device`; tells its adapter and features.
async function open() {
	const adapter = await navigator.gpu?.requestAdapter();
	if (!adapter) return null;
	const wanted = ['subgroups', 'shader-f16'].filter((feature) => adapter.features.has(feature));
	// Limits are left at their defaults: what passes is portable.
	window.device = await adapter.requestDevice({ requiredFeatures: wanted });
	const { vendor, architecture } = adapter.info;
	return { name: `${vendor} ${architecture}`.trim(), features: wanted };
}

// In the page: the messages of each source, none for one that is fine.
function compile(sources) {
	const one = async ({ code, pipeline }) => {
		device.pushErrorScope('validation');
		const module = device.createShaderModule({ code });
		const scope = device.popErrorScope();
		const messages = (await module.getCompilationInfo()).messages
			.filter((m) => m.type !== 'info')
			.map((m) => `${m.lineNum}:${m.linePos}: ${m.type}: ${m.message}`);
		const error = await scope;
		if (messages.length || error) return messages.length ? messages : [error.message];
		if (!pipeline) return [];
		try {
			await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
			return [];
		} catch (e) {
			return [`pipeline: ${e.message}`];
		}
	};
	return Promise.all(sources.map(one));
}

// What ends the check early, with an exit status.
class Stop extends Error {
	constructor(status, message) {
		super(message);
		this.status = status;
	}
}
const missing = (what) => new Stop(2, `skipped: ${what}`);

async function check(page, folder, { name, features }) {
	const files = readdirSync(folder).filter((file) => file.endsWith('.wgsl')).sort();
	if (!files.length) throw new Stop(1, `no .wgsl files in ${folder}`);
	const read = (file) => ({ file, code: readFileSync(join(folder, file), 'utf8') });
	const needs = { subgroups: /^enable subgroups;/m, 'shader-f16': /^enable f16;/m };
	const lacks = ({ code }) => Object.keys(needs).some((f) => needs[f].test(code) && !features.includes(f));
	const all = files.map(read);
	const sources = all.filter((source) => !lacks(source));
	let pipelines = 0;
	const made = {};
	for (const source of sources) {
		source.kernel = source.code.split('\n', 1)[0].replace(/^\/\/ /, '');
		made[source.kernel] = (made[source.kernel] ?? 0) + 1;
		source.pipeline = made[source.kernel] <= PIPELINES;
		pipelines += Number(source.pipeline);
	}
	let failed = 0;
	for (let at = 0; at < sources.length; at += BATCH) {
		const batch = sources.slice(at, at + BATCH);
		const results = await page.evaluate(compile, batch);
		results.forEach((messages, i) => {
			if (!messages.length) return;
			failed++;
			console.log(`${join(folder, batch[i].file)} (${batch[i].kernel}): ${messages.join('\n    ')}`);
		});
	}
	const left = all.length - sources.length;
	const not = left ? `, ${left} not compiled for want of a feature` : '';
	console.log(`${sources.length} sources, ${pipelines} pipelines on ${name} (${features.join(', ') || 'no features'}): ${failed} failed${not}`);
	if (failed) throw new Stop(1);
}

const [what] = process.argv.slice(2);
if (!what) {
	console.error('usage: check.mjs FOLDER | --probe');
	process.exit(1);
}
let browser, server, late;
try {
	browser = await launch().catch((e) => {
		throw missing(e.message.split('\n')[0]);
	});
	// WebGPU wants a secure context, which 127.0.0.1 is.
	server = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<!doctype html>'));
	await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
	late = setTimeout(() => {
		console.error(`not done after ${LIMIT_MS / 1000} s`);
		process.exit(1);
	}, LIMIT_MS);
	const page = await browser.newPage();
	await page.goto(`http://127.0.0.1:${server.address().port}/`);
	const device = await page.evaluate(open);
	if (!device) throw missing('no WebGPU adapter');
	if (what !== '--probe') await check(page, what, device);
} catch (e) {
	if (e.message) console.log(e instanceof Stop ? e.message : e);
	process.exitCode = e.status ?? 1;
} finally {
	clearTimeout(late);
	server?.close();
	await browser?.close();
}
