// Download and storage: ranges, broken connections, damage, changes, offline, quota.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { bench, damage, noise, putModel, requests, sha256, standIn } from './lib/package.mjs';

const MIB = 1 << 20;
const CHUNK = 4 * MIB;
const SIZE = 10 * MIB + 12_344;

let at;
before(async () => (at = await bench()));
after(() => at.close());

/** A page with the stand-in; its profile is its own. */
async function open() {
	const page = await at.page();
	await standIn(page);
	return page;
}

const load = (page, url, options) => page.evaluate(([url, options]) => window.load(url, options), [url, options]);
const hex = (bytes) => Buffer.from(sha256(bytes)).toString('hex');
const sent = (entries) => entries.reduce((sum, entry) => sum + entry.sent, 0);

/** A test in a page of its own; skipped with its reason where there is no browser. */
function check(name, body) {
	test(name, { timeout: 120_000 }, async (t) => {
		if (at.skip) return t.skip(at.skip);
		const page = await open();
		try {
			await body(page, name.replace(/\W+/g, '-'));
		} finally {
			at.server.faults.clear();
			await page.context().close();
		}
	});
}

describe('download', () => {
	check('comes in chunks, once, and is checked', async (page, name) => {
		const bytes = noise(SIZE);
		const path = putModel(at.server, name, bytes);
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
		assert.deepEqual(result.entries, []);
		const all = requests(at.server, path);
		assert.deepEqual(all.map((entry) => entry.range), ['bytes=0-4194303', 'bytes=4194304-8388607', `bytes=8388608-${SIZE - 1}`]);
		assert.equal(sent(all), SIZE);
		const phases = [...new Set(result.events.map((event) => event.phase))];
		assert.deepEqual(phases, ['download', 'prepare', 'ready']);
		const { loaded, total, file, fromStorage, secondsLeft } = result.last;
		assert.deepEqual([loaded, total, file, fromStorage, secondsLeft], [SIZE, SIZE, `${name}.aimodel/main.mlirb`, 0, 0]);
		assert.ok(result.events.every((event, i) => !i || event.loaded >= result.events[i - 1].loaded || event.phase !== result.events[i - 1].phase));
		const [stored] = await page.evaluate(() => window.stored());
		assert.equal(stored.complete, true);
		assert.ok(stored.bytes >= SIZE && stored.bytes < SIZE + 1000, `${stored.bytes}`);
	});

	check('a second load asks for small files only', async (page, name) => {
		const bytes = noise(SIZE, 2);
		const path = putModel(at.server, name, bytes);
		await load(page, `/${name}.aimodel`);
		const since = at.server.log.length;
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes));
		assert.equal(requests(at.server, path, since).length, 0);
		assert.equal(result.last.fromStorage, SIZE);
	});

	check('another signature in the query finds what is stored', async (page, name) => {
		const bytes = noise(SIZE, 21);
		const path = putModel(at.server, name, bytes);
		await load(page, `/${name}.aimodel?signature=1`);
		const since = at.server.log.length;
		assert.equal((await load(page, `/${name}.aimodel?signature=2`)).hash, hex(bytes));
		assert.equal(requests(at.server, path, since).length, 0);
		assert.equal((await page.evaluate(() => window.stored())).length, 1);
	});

	check('a broken connection goes on at the byte', async (page, name) => {
		const bytes = noise(SIZE, 3);
		const path = putModel(at.server, name, bytes);
		const broken = CHUNK + 1_000_000;
		at.server.faults.set(path, { breakAt: broken, times: 2 });
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
		const ranges = requests(at.server, path).map((entry) => entry.range);
		assert.ok(ranges.includes(`bytes=${broken}-${2 * CHUNK - 1}`), ranges.join());
		assert.equal(sent(requests(at.server, path)), SIZE);
	});

	check('abort keeps the bytes and the next load goes on there', async (page, name) => {
		const bytes = noise(SIZE, 4);
		const path = putModel(at.server, name, bytes);
		at.server.faults.set(path, { bytesPerSecond: 2 * MIB });
		const aborted = await load(page, `/${name}.aimodel`, { abortAt: 5 * MIB });
		assert.equal(aborted.error?.name, 'AbortError');
		assert.equal(aborted.error.code, 'cancelled');
		assert.equal(aborted.error.cause, 'enough');
		const [kept] = await page.evaluate(() => window.stored());
		assert.equal(kept.complete, false);
		assert.ok(kept.bytes > 4 * MIB, `${kept.bytes} bytes are kept`);
		at.server.faults.clear();
		const since = at.server.log.length;
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
		const rest = requests(at.server, path, since);
		assert.ok(rest.some((entry) => Number(/=(\d+)-/.exec(entry.range)[1]) % CHUNK), 'no request begins inside a chunk');
		// Whatever was stored is not sent again; small files are in the sum of kept bytes.
		assert.ok(sent(rest) <= SIZE - kept.bytes + 1000, `${sent(rest)} sent again, ${kept.bytes} were kept of ${SIZE}`);
		assert.equal(result.last.fromStorage + sent(rest), SIZE);
	});

	for (const abortAt of [0, 1, CHUNK + 1, SIZE]) {
		check(`abort at ${abortAt} bytes`, async (page, name) => {
			const bytes = noise(SIZE, 5);
			const path = putModel(at.server, name, bytes);
			at.server.faults.set(path, { bytesPerSecond: 20 * MIB });
			const { error } = await load(page, `/${name}.aimodel`, { abortAt });
			assert.equal(error?.name, 'AbortError');
			at.server.faults.clear();
			assert.equal((await load(page, `/${name}.aimodel`)).hash, hex(bytes));
		});
	}

	check('servers without ranges send it once, in order', async (page, name) => {
		const bytes = noise(SIZE, 6);
		const path = putModel(at.server, name, bytes);
		at.server.faults.set(path, { noRanges: true });
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
		assert.equal(requests(at.server, path).length, 1);
		assert.deepEqual([result.last.loaded, result.last.total], [SIZE, SIZE]);
		const since = at.server.log.length;
		assert.equal((await load(page, `/${name}.aimodel`)).hash, hex(bytes));
		assert.equal(requests(at.server, path, since).length, 0);
	});

	check('without ranges a broken connection begins anew and keeps what came', async (page, name) => {
		const bytes = noise(SIZE, 7);
		const path = putModel(at.server, name, bytes);
		at.server.faults.set(path, { noRanges: true, breakAt: CHUNK + 5, times: 2 });
		setTimeout(() => at.server.faults.set(path, { noRanges: true }), 400);
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
	});

	check('an untold length', async (page, name) => {
		const bytes = noise(SIZE, 8);
		at.server.faults.set(putModel(at.server, name, bytes), { noLength: true });
		assert.equal((await load(page, `/${name}.aimodel`)).hash, hex(bytes));
	});

	check('without storage memory is bounded and nothing is kept', async (page, name) => {
		const bytes = noise(13 * CHUNK, 9);
		const path = putModel(at.server, name, bytes);
		const result = await load(page, `/${name}.aimodel`, { storage: 'none' });
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
		assert.equal(sent(requests(at.server, path)), bytes.length);
		assert.deepEqual(await page.evaluate(() => window.stored()), []);
		assert.equal(await page.evaluate(() => window.readAgain()), hex(bytes));
	});

	check('a server in trouble is asked a few times', async (page, name) => {
		const bytes = noise(SIZE, 10);
		const path = putModel(at.server, name, bytes);
		at.server.faults.set(path, { status: 503, times: 2 });
		assert.equal((await load(page, `/${name}.aimodel`)).hash, hex(bytes));
		at.server.faults.set(`/${name}-2.aimodel/metadata.json`, { status: 503 });
		const { error } = await load(page, `/${name}-2.aimodel`);
		assert.deepEqual([error.name, error.code, error.status], ['NetworkError', 'network', 503]);
		assert.match(error.url, /-2\.aimodel\/metadata\.json$/);
		assert.equal(requests(at.server, `/${name}-2.aimodel/metadata.json`).length, 4);
	});

	check('missing files and start pages in their place', async (page, name) => {
		const { error } = await load(page, `/${name}.aimodel`);
		assert.deepEqual([error.name, error.status], ['NetworkError', 404]);
		assert.match(error.message, /there is no main\.mlirb/);
		for (const file of ['metadata.json', 'main.hash', 'main.mlirb']) at.server.faults.set(`/${name}.aimodel/${file}`, { html: true });
		assert.equal((await load(page, `/${name}.aimodel`)).error.status, 404);
		assert.deepEqual(await page.evaluate(() => window.stored()), [], 'a wrong address is not kept');
	});

	check('what does not fit main.hash is refused and not kept', async (page, name) => {
		putModel(at.server, name, noise(SIZE, 11), sha256(noise(SIZE, 12)));
		const { error } = await load(page, `/${name}.aimodel`);
		assert.deepEqual([error.name, error.code], ['IntegrityError', 'integrity']);
		assert.deepEqual(await page.evaluate(() => window.stored()), []);
	});

	check('without main.hash the report says so', async (page, name) => {
		const bytes = noise(SIZE, 13);
		const path = putModel(at.server, name, bytes, null);
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes));
		assert.deepEqual(result.entries, ['download_unchecked']);
		const since = at.server.log.length;
		assert.equal((await load(page, `/${name}.aimodel`)).hash, hex(bytes));
		assert.equal(requests(at.server, path, since).length, 0);
	});
});

describe('storage', () => {
	for (const [how, hash] of [['damage', true], ['remove', true], ['damage', false]]) {
		check(`one chunk heals after ${how}${hash ? '' : ' without main.hash'}`, async (page, name) => {
			const bytes = noise(SIZE, 20);
			const path = putModel(at.server, name, bytes, hash ? undefined : null);
			await load(page, `/${name}.aimodel`);
			assert.equal(await damage(page, 'main.mlirb.1', how), 1);
			const since = at.server.log.length;
			const result = await load(page, `/${name}.aimodel`);
			assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
			assert.ok(result.entries.includes('storage_healed'), result.entries.join());
			const again = requests(at.server, path, since);
			assert.deepEqual(again.map((entry) => entry.range), [`bytes=${CHUNK}-${2 * CHUNK - 1}`]);
			assert.equal(sent(again), CHUNK);
			const later = at.server.log.length;
			assert.equal((await load(page, `/${name}.aimodel`)).hash, hex(bytes));
			assert.equal(requests(at.server, path, later).length, 0, 'the healed chunk was not stored');
		});
	}

	check('a model in use heals too, and survives deletion', async (page, name) => {
		const bytes = noise(SIZE, 21);
		putModel(at.server, name, bytes);
		await load(page, `/${name}.aimodel`);
		await damage(page, 'main.mlirb.2', 'damage');
		assert.equal(await page.evaluate(() => window.readAgain()), hex(bytes));
		await page.evaluate((url) => window.storage_.delete(url), `/${name}.aimodel`);
		assert.deepEqual(await page.evaluate(() => window.stored()), []);
		assert.equal(await page.evaluate(() => window.readAgain()), hex(bytes));
	});

	for (const hash of [true, false]) {
		check(`a file that changed is downloaded anew, ${hash ? 'by its hash' : 'by its ETag'}`, async (page, name) => {
			putModel(at.server, name, noise(SIZE, 22), hash ? undefined : null);
			await load(page, `/${name}.aimodel`);
			const next = noise(SIZE, 23);
			const path = putModel(at.server, name, next, hash ? undefined : null);
			const since = at.server.log.length;
			const result = await load(page, `/${name}.aimodel`);
			assert.equal(result.hash, hex(next), JSON.stringify(result.error));
			assert.equal(sent(requests(at.server, path, since)), SIZE);
		});
	}

	check('a file that changed since an interrupted download', async (page, name) => {
		const path = putModel(at.server, name, noise(SIZE, 24));
		at.server.faults.set(path, { bytesPerSecond: 4 * MIB });
		await load(page, `/${name}.aimodel`, { abortAt: 5 * MIB });
		at.server.faults.clear();
		const next = noise(SIZE, 25);
		putModel(at.server, name, next);
		assert.equal((await load(page, `/${name}.aimodel`)).hash, hex(next));
	});

	check('loads offline what is complete', async (page, name) => {
		const bytes = noise(SIZE, 26);
		putModel(at.server, name, bytes);
		await load(page, `/${name}.aimodel`);
		await page.context().setOffline(true);
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
		assert.deepEqual(result.entries, ['offline']);
		const other = await load(page, `/${name}-never.aimodel`);
		assert.deepEqual([other.error.name, other.error.status], ['NetworkError', null]);
		await damage(page, 'main.mlirb.1', 'remove');
		const damaged = await load(page, `/${name}.aimodel`);
		assert.equal(damaged.error.name, 'NetworkError');
		await page.context().setOffline(false);
		assert.equal((await load(page, `/${name}.aimodel`)).hash, hex(bytes));
	});

	check('a quota that is too small', async (page, name) => {
		const bytes = noise(SIZE, 27);
		putModel(at.server, name, bytes);
		const cdp = await page.context().newCDPSession(page);
		// Less than a chunk: Chromium counts writes that run at once late, and its estimate tells 10 GiB whatever the quota.
		const quotaSize = MIB;
		await cdp.send('Storage.overrideQuotaForOrigin', { origin: at.server.origin, quotaSize });
		const { error } = await load(page, `/${name}.aimodel`, { storage: 'require' });
		assert.deepEqual([error?.name, error?.code], ['StorageQuotaError', 'storage_quota']);
		assert.ok(error.missing >= SIZE - quotaSize && error.missing <= SIZE, `${error.missing} missing`);
		const result = await load(page, `/${name}.aimodel`);
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
		assert.deepEqual(result.entries, ['storage_quota']);
	});

	check('a quota that ends while chunks come', async (page, name) => {
		const bytes = noise(SIZE, 29);
		const path = putModel(at.server, name, bytes);
		at.server.faults.set(path, { delay: 500, bytesPerSecond: 16 * MIB });
		const cdp = await page.context().newCDPSession(page);
		const loading = load(page, `/${name}.aimodel`);
		while (!requests(at.server, path).length) await new Promise((later) => setTimeout(later, 20));
		await new Promise((later) => setTimeout(later, 700));
		await cdp.send('Storage.overrideQuotaForOrigin', { origin: at.server.origin, quotaSize: 3 * MIB });
		const result = await loading;
		assert.equal(result.hash, hex(bytes), JSON.stringify(result.error));
		assert.deepEqual(result.entries, ['storage_quota']);
		assert.equal((await page.evaluate(() => window.stored()))[0]?.complete ?? false, false);
	});

	check('two tabs load the same at once, and it comes once', async (page, name) => {
		const bytes = noise(SIZE, 28);
		const path = putModel(at.server, name, bytes);
		at.server.faults.set(path, { bytesPerSecond: 8 * MIB });
		const other = await at.page(page.context());
		await standIn(other);
		const results = await Promise.all([load(page, `/${name}.aimodel`), load(other, `/${name}.aimodel`)]);
		assert.deepEqual(results.map((result) => result.hash), [hex(bytes), hex(bytes)]);
		assert.equal(sent(requests(at.server, path)), SIZE);
	});
});
