import type { Tensor } from 'coreai-web';
import { segments } from './controls';
import { element } from './element';
import { icon } from './icon';
import { writeNpy } from './npy';
import { count, extents, number } from './quantity';
import { largest, statisticsOf, type Statistics } from './statistics';
import { looksLikeImage, TensorImage } from './tensor-image';
import { histogramPlot, linePlot } from './tensor-plot';
import { tensorTable } from './tensor-table';

type Way = 'image' | 'plot' | 'histogram' | 'table';

const NAMES: Record<Way, string> = { image: 'Image', plot: 'Plot', histogram: 'Histogram', table: 'Table' };
// Tensors up to this many elements start as a table.
const SMALL = 64;
const TOP = 5;
// A row of at least this many values has its largest listed.
const ROW = 10;

/** How many axes are longer than 1. */
const longAxes = (shape: readonly number[]) => shape.filter((extent) => extent > 1).length;

function ways(tensor: Tensor): Way[] {
	const row = longAxes(tensor.shape) === 1 && tensor.data.length > 1;
	const found: Way[] = [];
	if (looksLikeImage(tensor.shape)) found.push('image');
	if (row) found.push('plot');
	if (tensor.data.length > 1) found.push('histogram');
	found.push('table');
	return found;
}

function figures(tensor: Tensor, found: Statistics): HTMLElement {
	const pairs: [string, string][] = [
		['min', number(found.min)],
		['max', number(found.max)],
		['mean', number(found.mean)],
		['std', number(found.deviation)],
		['zeros', found.count ? `${number((100 * found.zeros) / found.count, 3)} %` : '0'],
	];
	if (tensor.data.length === 1) pairs.splice(0, pairs.length, ['value', number(tensor.data[0] ?? NaN, 8)]);
	const node = element('dl', { class: 'figures' }, ...pairs.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))));
	const odd: [string, number][] = [['NaN', found.nan], ['infinite', found.infinite]];
	for (const [name, amount] of odd) {
		if (amount) node.append(element('div', { class: 'bad' }, element('dt', {}, name), element('dd', {}, count(amount))));
	}
	return node;
}

function top(tensor: Tensor): HTMLElement | null {
	if (longAxes(tensor.shape) !== 1 || tensor.data.length < ROW) return null;
	const items = largest(tensor.data, TOP).map((at) => element('li', {}, element('span', { class: 'muted' }, `${at} `), number(tensor.data[at] ?? NaN)));
	return element('div', { class: 'top' }, element('span', { class: 'label' }, 'Largest'), element('ol', {}, ...items));
}

/** A tensor: its statistics, the ways to look at it, and a button that saves it. */
export function tensorView(name: string, tensor: Tensor): HTMLElement {
	const found = statisticsOf(tensor.data);
	const body = element('div', { class: 'tensor-body' });
	const show = (way: Way) => {
		const views: Record<Way, () => Element> = {
			image: () => new TensorImage(tensor, found.min < 0 && found.max > 0).node,
			plot: () => linePlot(tensor.data, found),
			histogram: () => histogramPlot(tensor.data, found),
			table: () => tensorTable(tensor.data, tensor.shape),
		};
		body.replaceChildren(views[way]());
	};
	const offered = ways(tensor);
	const first = tensor.data.length <= SMALL ? 'table' : (offered[0] ?? 'table');
	const choice = segments(`How to show ${name}`, offered.map((way) => [way, NAMES[way]] as const), first, show);
	const save = element('button', { type: 'button', class: 'button quiet small', 'aria-label': `Save ${name} as .npy`, onclick: () => download(name, tensor) }, icon('download'), '.npy');
	show(first);
	return element(
		'section',
		{ class: 'card tensor', 'data-tensor': name, 'aria-label': name },
		element(
			'div',
			{ class: 'row spread' },
			element('div', { class: 'port-head' }, element('code', { class: 'port-name', title: name }, name), element('span', { class: 'tag' }, tensor.dtype), element('span', { class: 'shape' }, extents(tensor.shape))),
			save,
		),
		figures(tensor, found),
		top(tensor),
		offered.length > 1 ? choice.node : null,
		body,
	);
}

function download(name: string, tensor: Tensor): void {
	const url = URL.createObjectURL(writeNpy(tensor));
	const link = element('a', { href: url, download: `${name.replace(/[^\w.-]+/g, '_')}.npy` });
	link.click();
	// The browser has taken the file over by the next task.
	setTimeout(() => URL.revokeObjectURL(url), 1000);
}
