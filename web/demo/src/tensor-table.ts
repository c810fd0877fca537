import { element } from './element';
import type { Readable } from './elements';
import { number } from './quantity';

const ROWS = 64;
const COLUMNS = 24;

/** The first elements as a table: the last axis runs to the right, all others downwards. */
export function tensorTable(data: Readable, shape: readonly number[]): HTMLElement {
	const width = shape.at(-1) ?? 1;
	const height = width ? data.length / width : 0;
	const columns = Math.min(width, COLUMNS);
	const rows = Math.min(height, ROWS);
	const head = Array.from({ length: columns }, (_, column) => element('th', { scope: 'col' }, String(column)));
	const body = Array.from({ length: rows }, (_, row) => {
		const cells = Array.from({ length: columns }, (_, column) => element('td', {}, number(data[row * width + column] ?? NaN)));
		return element('tr', {}, element('th', { scope: 'row' }, indices(row, shape.slice(0, -1))), ...cells);
	});
	const cut = [rows < height ? `${rows} of ${height} rows` : '', columns < width ? `${columns} of ${width} columns` : ''].filter(Boolean);
	return element(
		'div',
		{},
		element(
			'div',
			{ class: 'table-scroll', tabindex: 0, role: 'region', 'aria-label': 'Elements' },
			element('table', { class: 'elements' }, element('thead', {}, element('tr', {}, element('td', {}), ...head)), element('tbody', {}, ...body)),
		),
		cut.length ? element('p', { class: 'muted small' }, `Shown: ${cut.join(', ')}. The .npy file has all of them.`) : null,
	);
}

// Position of a row in the outer axes.
function indices(row: number, outer: readonly number[]): string {
	const at: number[] = [];
	let rest = row;
	for (const extent of [...outer].reverse()) {
		at.unshift(rest % extent);
		rest = Math.floor(rest / extent);
	}
	return at.join(', ');
}
