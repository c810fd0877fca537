// Headless Chromium with WebGPU.
import { existsSync } from 'node:fs';

const BROWSERS = [
	'/usr/bin/chromium',
	'/usr/bin/chromium-browser',
	'/usr/bin/google-chrome',
	'/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
const FLAGS = [
	'--headless=new', '--no-sandbox', '--enable-unsafe-webgpu', '--no-first-run', '--disable-background-networking',
	'--disable-component-update', '--disable-sync', '--disable-quic',
	// A software adapter takes long for a large pipeline; the watchdog would take that for a hang.
	'--disable-gpu-watchdog',
	// Timestamps of dispatches are multiples of 0.1 ms otherwise.
	'--disable-dawn-features=timestamp_quantization',
];

/** What ends a program with a message and without a trace. */
export class Stop extends Error {}

/**
 * Starts the browser: $CHROMIUM, or the first that is found.
 *
 * @param {{gpu: boolean, profile?: string}} options gpu: the machine's adapter rather than SwiftShader;
 *   profile: folder of a profile that stays
 * @returns {Promise<import('playwright-core').BrowserContext>} close it
 */
export async function launch({ gpu, profile }) {
	const executablePath = process.env.CHROMIUM || BROWSERS.find(existsSync);
	if (!executablePath) throw new Stop('no chromium found: install it, or name it in $CHROMIUM');
	const { chromium } = await import('playwright-core').catch(() => {
		throw new Stop('playwright-core is missing: run npm install --ignore-scripts in benches/versus/web');
	});
	const args = gpu ? FLAGS : [...FLAGS, '--use-webgpu-adapter=swiftshader'];
	const options = { executablePath, args };
	if (profile) return chromium.launchPersistentContext(profile, options);
	const browser = await chromium.launch(options);
	const context = await browser.newContext();
	context.on('close', () => browser.close());
	return context;
}
