import { drawing, element } from './element';
import type { Readable } from './elements';
import { count as counted, number } from './quantity';
import { histogram, type Statistics } from './statistics';

// Units of the drawings; they scale with the page.
const WIDTH = 640;
const HEIGHT = 220;
const LEFT = 58;
const BOTTOM = 24;
const TOP = 10;
const RIGHT = 8;
const BINS = 64;
// Longer rows are drawn as the lowest and highest value of each column of pixels.
const COLUMNS = WIDTH - LEFT - RIGHT;

interface Frame {
	low: number;
	high: number;
	left: string;
	right: string;
	label: string;
}

const x = (share: number) => LEFT + share * (WIDTH - LEFT - RIGHT);
const y = (share: number) => HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);

function framed({ low, high, left, right, label }: Frame, ...marks: SVGElement[]): SVGSVGElement {
	const text = (words: string, at: Record<string, string | number>) => drawing('text', { class: 'axis', ...at }, words);
	const lines = [0, 0.5, 1].map((share) => drawing('line', { class: 'grid', x1: x(0), x2: x(1), y1: y(share), y2: y(share) }));
	const levels = [0, 0.5, 1].map((share) => text(number(low + share * (high - low), 4), { x: LEFT - 8, y: y(share) + 4, 'text-anchor': 'end' }));
	return drawing(
		'svg',
		{ class: 'plot', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label },
		...lines,
		...levels,
		text(left, { x: x(0), y: HEIGHT - 6 }),
		text(right, { x: x(1), y: HEIGHT - 6, 'text-anchor': 'end' }),
		...marks,
	);
}

/** A line through the elements of a row. */
export function linePlot(row: Readable, { min, max }: Statistics): SVGSVGElement {
	const [low, high] = max > min ? [min, max] : [min - 1, max + 1];
	const height = (value: number) => y((value - low) / (high - low)).toFixed(2);
	const points: string[] = [];
	const columns = Math.min(row.length, COLUMNS);
	for (let column = 0; column < columns; column += 1) {
		const from = Math.floor((column * row.length) / columns);
		const to = Math.max(from + 1, Math.floor(((column + 1) * row.length) / columns));
		let [least, most] = [Infinity, -Infinity];
		for (let i = from; i < to; i += 1) {
			const value = Number(row[i]);
			if (!Number.isFinite(value)) continue;
			least = Math.min(least, value);
			most = Math.max(most, value);
		}
		// A gap is shown where nothing is finite.
		if (least > most) continue;
		const at = x(columns > 1 ? column / (columns - 1) : 0.5).toFixed(2);
		points.push(`${points.length ? 'L' : 'M'}${at} ${height(least)}`);
		if (most > least) points.push(`L${at} ${height(most)}`);
	}
	const label = `${row.length} values between ${number(min)} and ${number(max)}`;
	const frame = { low, high, left: '0', right: counted(Math.max(0, row.length - 1)), label };
	const marks: SVGElement[] = [drawing('path', { class: 'curve', d: points.join('') })];
	// Few values are seen better as dots on the line.
	if (row.length <= 48) {
		for (let i = 0; i < row.length; i += 1) {
			const value = Number(row[i]);
			if (Number.isFinite(value)) marks.push(drawing('circle', { class: 'dot', cx: x(row.length > 1 ? i / (row.length - 1) : 0.5), cy: height(value), r: 3 }));
		}
	}
	return framed(frame, ...marks);
}

/** How often the elements take which values. */
export function histogramPlot(data: Readable, { min, max, finite }: Statistics): HTMLElement {
	if (!finite) return element('p', { class: 'muted' }, 'No finite values.');
	const [low, high] = max > min ? [min, max] : [min - 0.5, max + 0.5];
	const counts = histogram(data, low, high, BINS);
	const most = Math.max(...counts);
	const bars = counts.flatMap((value, bin) => {
		if (!value) return [];
		// A single element is still seen.
		const share = Math.max(value / most, 0.006);
		const bar = drawing('rect', { class: 'bin', x: x(bin / BINS) + 0.5, width: (x(1) - x(0)) / BINS - 1, y: y(share), height: y(0) - y(share), rx: 1.5 });
		const [from, to] = [low + ((high - low) * bin) / BINS, low + ((high - low) * (bin + 1)) / BINS];
		bar.append(drawing('title', {}, `${number(from, 4)} to ${number(to, 4)}: ${counted(value)}`));
		return [bar];
	});
	const label = `Histogram of ${finite} values between ${number(min)} and ${number(max)}`;
	return element('div', {}, framed({ low: 0, high: most, left: number(low, 4), right: number(high, 4), label }, ...bars));
}
