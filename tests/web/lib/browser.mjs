// Headless Chromium with WebGPU on its software adapter, for tests and benches.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where Chromium may lie. */
export const BROWSERS = [
	'/usr/bin/chromium',
	'/usr/bin/chromium-browser',
	'/usr/bin/google-chrome',
	'/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** Flags with which Chromium offers WebGPU where there is no GPU. */
export const FLAGS = [
	'--headless=new', '--no-sandbox', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--no-first-run',
	'--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic',
	// A software adapter takes long for a large pipeline; the watchdog would take that for a hang.
	'--disable-gpu-watchdog',
];

/** No Chromium can be had here; tests that need one are skipped. */
export class NoBrowser extends Error {}

async function chromium() {
	const executablePath = process.env.CHROMIUM || BROWSERS.find(existsSync);
	if (!executablePath) throw new NoBrowser('no chromium; set CHROMIUM to its path');
	const { chromium } = await import('playwright-core').catch(() => {
		throw new NoBrowser('no playwright-core; `npm ci` in tests/web installs it');
	});
	return { chromium, executablePath };
}

/**
 * Starts Chromium, the one in $CHROMIUM or the first that is found. Storage lies in memory; see `launchProfile`.
 * @param {string[]} [args] further flags
 * @param {string[]} [without] flags that are left out
 */
export async function launch(args = [], without = []) {
	const { chromium: type, executablePath } = await chromium();
	return type.launch({ executablePath, args: [...FLAGS.filter((flag) => !without.includes(flag)), ...args] });
}

/**
 * Starts Chromium with a profile on disk, as a user has one. Closing the context removes a profile that was made here.
 * @param {string} [profile] folder of an older profile
 * @param {string[]} [args] further flags
 */
export async function launchProfile(profile, args = []) {
	const { chromium: type, executablePath } = await chromium();
	const folder = profile ?? await mkdtemp(join(tmpdir(), 'coreai-profile-'));
	const context = await type.launchPersistentContext(folder, { executablePath, args: [...FLAGS, ...args] });
	if (!profile) context.on('close', () => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
	return context;
}

/**
 * For `before` of a test file: a browser, or the reason for which its tests are skipped. A Chromium that is there and
 * does not start fails the tests in CI and skips them elsewhere.
 * @returns {Promise<{browser?: import('playwright-core').Browser, skip?: string}>}
 */
export async function browserOrReason(args) {
	try {
		return { browser: await launch(args) };
	} catch (error) {
		if (process.env.CI && !(error instanceof NoBrowser)) throw error;
		return { skip: error.message.split('\n')[0] };
	}
}
