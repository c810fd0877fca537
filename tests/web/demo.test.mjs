// The built demo (`web/demo/dist`), as a person uses it. COREAI_SCREENSHOTS names a folder for a picture of each state.
//   (cd web/demo && npm run build) && node --test demo.test.mjs
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { browserOrReason } from './lib/browser.mjs';
import { serve } from './lib/server.mjs';

const DEMO = fileURLToPath(new URL('../../web/demo/', import.meta.url));
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
// A software adapter or one core of a busy machine does the work.
const LOAD_MS = 240_000;
const ANSWER_MS = 240_000;
const LIMIT = { timeout: 600_000 };

let browser, server, reason;

before(async () => {
	if (!existsSync(join(DEMO, 'dist/index.html'))) {
		if (process.env.CI) throw new Error('web/demo/dist is not there; `npm run build` in web/demo makes it');
		reason = 'the demo is not built: npm run build in web/demo';
		return;
	}
	const found = await browserOrReason();
	({ browser, skip: reason } = found);
	if (browser) server = await serve({ '/demo/': join(DEMO, 'dist'), '/demo/models/': join(DEMO, 'models') });
});

after(async () => {
	await browser?.close();
	await server?.close();
});

/** A test with a page of its own, in a profile of its own. What the page throws fails the test. */
function check(name, options, body) {
	test(name, LIMIT, async (t) => {
		if (reason) return t.skip(reason);
		const { size = DESK, theme = 'light', needs } = options;
		if (needs && !existsSync(join(DEMO, 'models', needs))) return t.skip(`no ${needs} on this machine`);
		const context = await browser.newContext({ viewport: size, colorScheme: theme, acceptDownloads: true });
		const page = await context.newPage();
		const thrown = [];
		page.on('pageerror', (error) => thrown.push(error.message));
		page.setDefaultTimeout(30_000);
		try {
			await body(page, t);
			assert.deepEqual(thrown, [], 'errors thrown in the page');
		} finally {
			await context.close();
			server.faults.clear();
		}
	});
}

async function picture(page, name) {
	const folder = process.env.COREAI_SCREENSHOTS;
	if (!folder) return;
	mkdirSync(folder, { recursive: true });
	await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

async function open(page, query = '') {
	await page.goto(`${server.origin}/demo/${query}`);
	await page.locator('[data-sample]').first().waitFor();
}

const sample = (page, id) => page.locator(`[data-sample="models/${id}"]`);
const tab = (page, name) => page.getByRole('tab', { name, exact: true });
const run = (page) => page.getByRole('button', { name: 'Run', exact: true });

async function load(page, id) {
	await sample(page, id).click();
	await page.locator('.workbench, .problem').first().waitFor({ timeout: LOAD_MS });
	assert.equal(await page.locator('.problem').count(), 0, await page.locator('.problem').allInnerTexts().then(String));
}

async function ran(page) {
	await page.locator('.tensor, .problem').first().waitFor({ timeout: LOAD_MS });
	await run(page).and(page.locator(':enabled')).waitFor({ timeout: LOAD_MS });
	assert.equal(await page.locator('.problem').count(), 0, await page.locator('.problem').allInnerTexts().then(String));
}

async function fits(page, state) {
	const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
	assert.ok(over <= 0, `${state}: the page is ${over} pixels wider than the window`);
}

// An .npy file of float32.
function npy(shape, values) {
	const head = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`.padEnd(117) + '\n';
	const start = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length, 0]);
	return Buffer.concat([start, Buffer.from(head), Buffer.from(Float32Array.from(values).buffer)]);
}

for (const query of ['?unit=cpu', '?unit=gpu&software=1']) {
	check(`a function runs, its seed decides its outputs, and its report is shown (${query})`, {}, async (page) => {
		const unit = query.includes('cpu') ? 'CPU' : 'GPU';
		await open(page, query);
		await picture(page, 'choose');
		await load(page, 'convnext-v2.aimodel');
		assert.equal(await tab(page, 'Functions').getAttribute('aria-selected'), 'true', 'an asset opens with its functions');
		assert.match(await page.locator('.model-bar .tag').innerText(), new RegExp(unit));
		await page.getByLabel('Timed runs').fill('2');
		const figures = async () => {
			await run(page).click();
			await ran(page);
			return page.locator('.tensor .figures').innerText();
		};
		const first = await figures();
		assert.match(await page.locator('.tensor').innerText(), /1 × 16 × 4 × 4/);
		assert.match(await page.locator('.timing').innerText(), /First run[\s\S]*Median of 2/);
		assert.equal(await figures(), first, 'the same seed');
		await page.getByLabel('Seed', { exact: true }).fill('7');
		assert.notEqual(await figures(), first, 'another seed');
		await picture(page, `outputs-${unit}`);
		await tab(page, 'Report').click();
		await page.locator('.report').waitFor();
		assert.match(await page.locator('.report').innerText(), new RegExp(`${unit} unit`));
		await picture(page, `report-${unit}`);
		await tab(page, 'Machine').click();
		await page.locator('.results').getByText('WebAssembly heap').waitFor();
		const classes = await page.locator('.results .legend').allInnerTexts();
		assert.equal(classes.join().includes('Weights'), unit === 'GPU', 'memory by class, where there is a device');
		await picture(page, `machine-${unit}`);
	});
}

check('tensors come from files and are saved as .npy', {}, async (page) => {
	await open(page, '?unit=cpu');
	await load(page, 'cat.aimodel');
	const fields = page.locator('.port');
	for (const [i, values] of [[1, 2, 3, 4], [5, 6, 7, 8]].entries()) {
		await fields.nth(i).locator('select').selectOption('file');
		await fields.nth(i).locator('input[type=file]').setInputFiles({ name: 'x.npy', mimeType: '', buffer: npy([2, 2], values) });
		await fields.nth(i).getByText('2 × 2').waitFor();
	}
	await run(page).click();
	await ran(page);
	const output = page.locator('[data-tensor="cat"]');
	const cells = (await output.locator('td').allInnerTexts()).filter(Boolean).map(Number);
	assert.deepEqual([...cells].sort(), [1, 2, 3, 4, 5, 6, 7, 8], 'the concatenation as a table');
	const [file] = await Promise.all([page.waitForEvent('download'), output.getByRole('button', { name: /Save/ }).click()]);
	const saved = readFileSync(await file.path());
	const data = saved.subarray(10 + saved.readUInt16LE(8));
	const values = Array.from({ length: data.length / 4 }, (_, i) => data.readFloatLE(i * 4));
	assert.deepEqual(values, cells, 'the file has what the table shows');
	// A file that does not fit is told with both shapes.
	await fields.first().locator('input[type=file]').setInputFiles({ name: 'y.npy', mimeType: '', buffer: npy([2], [1, 2]) });
	await fields.first().getByText(/\[2\], .* is expected/).waitFor();
	await run(page).click();
	await page.getByRole('alert').getByText(/is expected/).waitFor();
	await picture(page, 'input-error');
});

check('states go on from run to run until they are reset', {}, async (page) => {
	await open(page, '?unit=cpu');
	await load(page, 'ring.aimodel');
	const shown = async () => {
		await run(page).click();
		await ran(page);
		await tab(page, 'States').click();
		await page.locator('[data-tensor="b_kept"]').waitFor();
		return page.locator('[data-tensor="b_kept"] .figures').innerText();
	};
	const position = page.locator('[data-port="at"] select');
	await position.selectOption('zeros');
	const first = await shown();
	await picture(page, 'states');
	await position.selectOption('ones');
	const second = await shown();
	assert.notEqual(second, first, 'a second row is kept beside the first');
	await page.getByRole('button', { name: 'Reset' }).click();
	await position.selectOption('zeros');
	assert.equal(await shown(), first, 'after a reset it begins anew');
});

check('a picture goes in and a mask comes out as an image', { needs: 'selfie-segmentation.aimodel', theme: 'dark' }, async (page) => {
	await open(page, '?unit=cpu');
	await load(page, 'selfie-segmentation.aimodel');
	const canvas = await page.evaluate(() => {
		const node = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });
		const context = node.getContext('2d');
		context.fillStyle = '#c86';
		context.arc(32, 24, 16, 0, 7);
		context.fill();
		return node.toDataURL().split(',')[1];
	});
	await page.locator('.port select').selectOption('file');
	await page.locator('.port input[type=file]').setInputFiles({ name: 'p.png', mimeType: 'image/png', buffer: Buffer.from(canvas, 'base64') });
	await page.getByLabel('Timed runs').fill('0');
	await run(page).click();
	await ran(page);
	const drawn = await page.locator('.tensor-canvas').evaluate((node) => {
		const { data } = node.getContext('2d').getImageData(0, 0, node.width, node.height);
		return { width: node.width, height: node.height, colours: new Set(data.filter((_, i) => i % 4 === 0)).size };
	});
	assert.deepEqual([drawn.width, drawn.height], [256, 256]);
	assert.ok(drawn.colours > 4, `${drawn.colours} levels of grey`);
	await picture(page, 'mask-dark');
});

check('a language model answers, stops, starts anew, and answers without a network', { needs: 'smollm2-135m-int4' }, async (page, t) => {
	await page.addInitScript(() => {
		globalThis.longest = 0;
		const observer = new PerformanceObserver((list) => {
			for (const { duration } of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, duration);
		});
		observer.observe({ type: 'longtask', buffered: true });
	});
	await open(page, '?unit=cpu');
	await sample(page, 'smollm2-135m-int4').click();
	await page.getByRole('progressbar').waitFor();
	await page.getByText(/MB of .*MB/).waitFor();
	await picture(page, 'loading');
	const message = page.getByRole('textbox', { name: 'Message' });
	await message.waitFor({ timeout: LOAD_MS });
	await picture(page, 'chat-empty');
	await page.getByLabel('Temperature').fill('0');
	await page.getByLabel(/Longest answer/).fill('24');
	await message.fill('What is the capital of France?');
	await message.press('Enter');
	const answers = page.getByRole('article', { name: 'Answer' });
	await answers.locator('.prose > *').first().waitFor({ timeout: ANSWER_MS });
	await picture(page, 'chatting');
	await page.locator('.message.assistant[aria-busy=false]').waitFor({ timeout: ANSWER_MS });
	assert.match(await answers.innerText(), /Paris/);
	assert.match(await answers.locator('footer').innerText(), /tokens\/s[\s\S]*first after/);
	await picture(page, 'chat');
	await page.getByLabel(/Longest answer/).fill('400');
	await message.fill('Write a long story about a ship.');
	await message.press('Enter');
	await answers.nth(1).locator('.prose > *').first().waitFor({ timeout: ANSWER_MS });
	await message.press('Escape');
	await page.locator('.message[data-stopped]').waitFor({ timeout: 30_000 });
	assert.match(await answers.nth(1).locator('footer').innerText(), /stopped/);
	assert.equal(await page.getByRole('button', { name: 'Send' }).isVisible(), true);
	await picture(page, 'stopped');
	await page.getByRole('button', { name: 'New conversation' }).click();
	assert.equal(await answers.count(), 0);
	await page.getByRole('tab', { name: 'Functions' }).click();
	await page.getByText('keyCache').waitFor();
	await picture(page, 'functions');
	// The browser counts tasks from 50 ms on as long.
	t.diagnostic(`longest task of the page: ${await page.evaluate(() => Math.round(globalThis.longest)) || 'below 50'} ms`);
	await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
	await server.stop();
	try {
		await open(page, '?unit=cpu');
		await load(page, 'smollm2-135m-int4');
		assert.match(await page.locator('.side').innerText(), /all from storage/);
		await page.getByLabel('Temperature').fill('0');
		await page.getByLabel(/Longest answer/).fill('24');
		await message.fill('What is the capital of France?');
		await message.press('Enter');
		await page.locator('.message.assistant[aria-busy=false]').waitFor({ timeout: ANSWER_MS });
		assert.match(await answers.innerText(), /Paris/);
		await picture(page, 'chat-offline');
	} finally {
		await server.listen();
	}
});

check('a folder is chosen, and a file is dropped', {}, async (page) => {
	const asset = fileURLToPath(new URL('../assets/state-ring-f32/model.aimodel', import.meta.url));
	await open(page, '?unit=cpu');
	await page.locator('input[webkitdirectory]').setInputFiles(asset);
	await page.locator('.workbench').waitFor({ timeout: LOAD_MS });
	assert.equal(await page.locator('.model-name').innerText(), 'model');
	await run(page).click();
	await ran(page);
	const drop = (name, bytes) => page.evaluate(([file, content]) => {
		const dataTransfer = new DataTransfer();
		dataTransfer.items.add(new File([Uint8Array.from(content)], file));
		document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
	}, [name, [...bytes]]);
	// A model that is open gives way to what is dropped.
	await drop('main.mlirb', readFileSync(join(asset, 'main.mlirb')));
	await page.locator('.model-name', { hasText: 'main' }).waitFor({ timeout: LOAD_MS });
	await run(page).click();
	await ran(page);
	await drop('notes.txt', Buffer.from('no model'));
	await page.getByRole('alert').getByText(/notes\.txt is no model/).waitFor();
	await drop('broken.mlirb', Buffer.from('no model'));
	await page.getByRole('alert').locator('.code-chip', { hasText: 'asset.' }).waitFor({ timeout: LOAD_MS });
	await picture(page, 'error-asset');
});

check('a load is cancelled and goes on later', { needs: 'efficientnet-lite0.aimodel' }, async (page) => {
	const weights = '/demo/models/efficientnet-lite0.aimodel/main.mlirb';
	await open(page, '?unit=cpu');
	server.faults.set(weights, { bytesPerSecond: 400_000 });
	await sample(page, 'efficientnet-lite0.aimodel').click();
	await page.getByText(/[1-9].* of 4\.\d+ MB/).waitFor();
	await picture(page, 'loading-slowly');
	await page.getByRole('button', { name: 'Cancel' }).click();
	await sample(page, 'efficientnet-lite0.aimodel').waitFor();
	assert.equal(await page.getByRole('alert').count(), 0, 'a cancel is no error');
	assert.equal(await page.evaluate(() => document.activeElement?.getAttribute('data-sample')), 'models/efficientnet-lite0.aimodel');
	server.faults.clear();
	await load(page, 'efficientnet-lite0.aimodel');
});

check('a bad address is told with its code and advice', {}, async (page) => {
	await open(page);
	for (const [address, code] of [['models/none.aimodel', 'network'], ['ftp://example.org/x', 'source']]) {
		await page.getByLabel('Address of a model').fill(address);
		await page.getByLabel('Address of a model').press('Enter');
		const alert = page.getByRole('alert');
		await alert.locator('.code-chip', { hasText: code }).waitFor({ timeout: LOAD_MS });
		assert.ok(await alert.evaluate((node) => node.contains(document.activeElement)), 'the message has the focus');
		await picture(page, `error-${code}`);
		await alert.getByRole('button', { name: 'Close the message' }).click();
		assert.equal(await alert.count(), 0);
	}
});

check('a stored model is deleted', {}, async (page) => {
	await open(page, '?unit=cpu');
	await load(page, 'convnext-v2.aimodel');
	await page.getByRole('button', { name: 'Other model' }).click();
	const remove = page.getByRole('button', { name: /Delete convnext-v2/ });
	await remove.waitFor();
	await picture(page, 'stored');
	await remove.click();
	await remove.waitFor({ state: 'detached' });
	await page.reload();
	await page.locator('[data-sample]').first().waitFor();
	assert.equal(await remove.count(), 0, 'it is gone for good');
});

check('everything works from the keyboard', {}, async (page) => {
	await open(page, '?unit=cpu');
	const focused = () => page.evaluate(() => {
		const node = document.activeElement;
		const ring = getComputedStyle(node).outlineStyle !== 'none' || getComputedStyle(node).boxShadow !== 'none';
		return { sample: node.getAttribute('data-sample'), role: node.getAttribute('role'), text: node.textContent.trim(), ring };
	});
	const tabTo = async (wanted, most = 40) => {
		for (let i = 0; i < most; i += 1) {
			await page.keyboard.press('Tab');
			const found = await focused();
			if (wanted(found)) return found;
		}
		throw new Error('the Tab key does not get there');
	};
	const card = await tabTo(({ sample: id }) => id === 'models/cat.aimodel');
	assert.ok(card.ring, 'the focus is seen');
	await page.keyboard.press('Enter');
	await page.locator('.workbench').waitFor({ timeout: LOAD_MS });
	assert.deepEqual(await focused().then(({ role, text }) => [role, text]), ['tab', 'Functions'], 'the focus is in the new view');
	await page.keyboard.press('ArrowLeft');
	assert.equal(await tab(page, 'Chat').getAttribute('aria-selected'), 'true');
	await page.keyboard.press('ArrowRight');
	await tabTo(({ text }) => text === 'Run');
	await page.keyboard.press('Enter');
	await ran(page);
	await tabTo(({ role, text }) => role === 'tab' && text === 'Outputs');
	await page.keyboard.press('End');
	assert.equal(await tab(page, 'Machine').getAttribute('aria-selected'), 'true');
});

check('a phone shows everything without scrolling sideways', { size: PHONE }, async (page) => {
	await open(page, '?unit=cpu');
	await fits(page, 'choose');
	await picture(page, 'phone-choose');
	await load(page, 'flow-gru.aimodel');
	await fits(page, 'functions');
	await run(page).click();
	await ran(page);
	await fits(page, 'image');
	await picture(page, 'phone-outputs');
	for (const way of ['Histogram', 'Table']) {
		await page.locator('.tensor .segment', { hasText: way }).first().click();
		await fits(page, way);
	}
	await tab(page, 'Report').click();
	await page.locator('.report').waitFor();
	await fits(page, 'report');
	await page.getByRole('button', { name: 'Other model' }).click();
	await page.getByLabel('Address of a model').fill(`models/${'none-'.repeat(40)}.aimodel`);
	await page.getByLabel('Address of a model').press('Enter');
	await page.getByRole('alert').waitFor({ timeout: LOAD_MS });
	await fits(page, 'error');
	await picture(page, 'phone-error');
});

check('colours follow the system until the button says otherwise', { theme: 'dark' }, async (page) => {
	await open(page);
	const brightness = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number)[0]);
	assert.ok((await brightness()) < 64, 'dark as the system');
	await picture(page, 'choose-dark');
	await page.getByRole('button', { name: /Change to light/ }).click();
	assert.ok((await brightness()) > 192, 'light');
	await page.reload();
	assert.ok((await brightness()) > 192, 'light after a reload');
});

check('page and stored models work without a network', {}, async (page) => {
	await open(page, '?unit=cpu');
	await load(page, 'convnext-v2.aimodel');
	await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
	await page.reload();
	await page.locator('[data-sample]').first().waitFor();
	await server.stop();
	try {
		await page.reload();
		await page.locator('[data-sample]').first().waitFor();
		await load(page, 'convnext-v2.aimodel');
		await page.getByLabel('Timed runs').fill('0');
		await run(page).click();
		await ran(page);
		await picture(page, 'offline');
	} finally {
		await server.listen();
	}
});
