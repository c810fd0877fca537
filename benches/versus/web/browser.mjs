// Headless Chromium with WebGPU.
import { existsSync } from 'node:fs';
import { BROWSERS, FLAGS } from '../../../tests/web/lib/browser.mjs';

// Timestamps of dispatches are multiples of 0.1 ms otherwise.
const EXACT = '--disable-dawn-features=timestamp_quantization';

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
	const args = [...FLAGS.filter((flag) => !gpu || !flag.startsWith('--use-webgpu-adapter')), EXACT];
	const options = { executablePath, args };
	if (profile) return chromium.launchPersistentContext(profile, options);
	const browser = await chromium.launch(options);
	const context = await browser.newContext();
	context.on('close', () => browser.close());
	return context;
}
