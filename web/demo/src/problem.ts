import { element, freshId } from './element';
import { icon } from './icon';
import { bytes } from './quantity';

/** An error in the words of the page. */
export interface Problem {
	title: string;
	code: string;
	message: string;
	advice: string;
}

// By code, or by the part in front of the dot.
const ADVICE: Record<string, [title: string, advice: string]> = {
	asset: ['This is not an asset that can be read', 'Choose a folder that ends in .aimodel, or a bundle folder that has one in it. If the files were copied, copy them again: they may be incomplete.'],
	language: ['This language bundle cannot be used', 'A bundle has metadata.json, an .aimodel and a tokenizer folder. A plain .aimodel can still be run in the Functions tab.'],
	network: ['The file could not be fetched', 'Check the address and your connection. A server of another site must allow this page with the header Access-Control-Allow-Origin.'],
	integrity: ['The file is not what its hash says', 'The copy on the server is damaged or was changed while it was read. Load it again; if that does not help, replace main.mlirb and main.hash.'],
	no_adapter: ['No GPU adapter was found', 'Choose Auto or CPU as the compute unit, allow software adapters, or use a browser with WebGPU.'],
	out_of_memory: ['Not enough memory', 'Close other tabs, choose a smaller model, or the CPU unit.'],
	device_lost: ['The GPU was lost', 'The model rebuilds itself by the next run; states of functions start anew. Run again.'],
	unsupported: ['The asset uses something that is not supported', 'The message names it. Other functions of the same asset may still run.'],
	input: ['An input does not fit', 'Compare its type and shape with what the function declares.'],
	index_out_of_range: ['An index points outside of its tensor', 'Give the integer inputs smaller values: fill them with zeros or a smaller range.'],
	no_function: ['There is no such function', 'Choose one of the functions that the asset lists.'],
	strict: ['A fallback was needed', 'Turn off “Fallbacks are errors”, then look at the report to see which.'],
	gpu: ['The GPU driver refused something', 'Load the model again. If that does not help, choose the CPU unit.'],
	storage_quota: ['The browser has no room for the model', 'Delete stored models below, or free disk space.'],
	cancelled: ['Cancelled', 'Nothing is lost: what was downloaded is kept, and the next load goes on from there.'],
	source: ['There is nothing to load', 'Drop a folder that ends in .aimodel, a bundle folder, or a main.mlirb file.'],
	file: ['This file cannot be used here', 'Choose another file, or another kind of it.'],
};
const OTHER: [string, string] = ['Something went wrong', 'Load the page again. If it happens again, the code and the message are what to report.'];

const field = (error: unknown, name: string): unknown =>
	typeof error === 'object' && error !== null && name in error ? (error as Record<string, unknown>)[name] : undefined;

/** Stable code of an error; `error` for one that has none. */
export function codeOf(error: unknown): string {
	const code = field(error, 'code');
	return typeof code === 'string' ? code : 'error';
}

/** Whether an error only says that something was cancelled. */
export function isCancel(error: unknown): boolean {
	return codeOf(error) === 'cancelled' || field(error, 'name') === 'AbortError';
}

/** Puts an error into words. */
export function problemOf(error: unknown): Problem {
	const code = codeOf(error);
	const [title, advice] = ADVICE[code] ?? ADVICE[code.split('.')[0] ?? ''] ?? OTHER;
	let message = String(field(error, 'message') ?? error);
	const [needed, limit, missing] = ['needed', 'limit', 'missing'].map((name) => field(error, name));
	if (typeof needed === 'number' && typeof limit === 'number') message += ` (${bytes(needed)} needed, ${bytes(limit)} allowed)`;
	if (typeof missing === 'number') message += ` (${bytes(missing)} missing)`;
	return { title, code, message, advice };
}

/** An error of the page itself. */
export class PageError extends Error {
	constructor(readonly code: 'source' | 'file' | 'input', message: string) {
		super(message);
	}
}

/** A panel that shows an error, read out at once. `retry` adds a button. */
export function problemPanel(error: unknown, onclose: () => void, retry?: () => void): HTMLElement {
	const { title, code, message, advice } = problemOf(error);
	const id = freshId('problem');
	return element(
		'section',
		{ class: 'problem', role: 'alert', 'aria-labelledby': id, tabindex: -1 },
		icon('warning'),
		element(
			'div',
			{ class: 'problem-text' },
			element('h2', { id }, title),
			element('p', { class: 'problem-message' }, message),
			element('p', { class: 'muted' }, advice),
			element(
				'div',
				{ class: 'row' },
				retry ? element('button', { type: 'button', class: 'button', onclick: retry }, 'Try again') : null,
				element('code', { class: 'code-chip', title: 'Code of the error' }, code),
			),
		),
		element('button', { type: 'button', class: 'button quiet round', 'aria-label': 'Close the message', onclick: onclose }, icon('close')),
	);
}
