import type { Tensor } from 'coreai-web';
import { COLOUR_MAPS, type ColourMapName } from './colour-map';
import { element, freshId } from './element';
import { number } from './quantity';

// Larger planes are thinned out to this many rows and columns.
const MOST = 1024;
// Small planes are shown at least this wide, in CSS pixels.
const SHOWN = 384;
// Planes that are longer than this many times their width are stretched, so that their rows can be told apart.
const LONG = 6;

/** How a tensor lies as planes: `[…outer, rows, columns]` or `[…outer, rows, columns, colours]`. */
interface Planes {
	outer: number[];
	rows: number;
	columns: number;
	/** 3 or 4 colours side by side (`last`) or in planes (`first`); null where there are none. */
	colours: 'first' | 'last' | null;
}

function planesOf(shape: readonly number[]): Planes | null {
	const rank = shape.length;
	if (rank < 2 || shape.includes(0)) return null;
	const at = (axis: number) => shape[rank + axis] ?? 1;
	if (rank >= 3 && (at(-1) === 3 || at(-1) === 4) && at(-2) >= 8 && at(-3) >= 8) {
		return { outer: shape.slice(0, -3), rows: at(-3), columns: at(-2), colours: 'last' };
	}
	const colours = rank >= 3 && at(-3) === 3 && at(-2) >= 8 && at(-1) >= 8 ? 'first' : null;
	return { outer: shape.slice(0, -2), rows: at(-2), columns: at(-1), colours };
}

/** Whether the tensor has planes worth looking at as an image. */
export function looksLikeImage(shape: readonly number[]): boolean {
	const planes = planesOf(shape);
	return planes !== null && planes.rows > 1 && planes.columns > 1;
}

/** The planes of a tensor as images: which one, in which colours. */
export class TensorImage {
	readonly node: HTMLElement;
	private readonly canvas = element('canvas', { class: 'tensor-canvas', role: 'img' });
	private readonly legend = element('div', { class: 'legend-bar' });
	private readonly planes: Planes;
	private readonly count: number;
	private map: ColourMapName;
	private colours: boolean;
	private plane = 0;

	constructor(private readonly tensor: Tensor, signed: boolean) {
		this.planes = planesOf(tensor.shape) as Planes;
		this.count = this.planes.outer.reduce((product, extent) => product * extent, 1);
		this.map = signed ? 'signed' : 'grey';
		this.colours = this.planes.colours !== null;
		this.node = element('div', { class: 'tensor-image' }, this.controls(), element('div', { class: 'canvas-box' }, this.canvas), this.legend, this.thinned());
		this.draw();
	}

	private thinned(): HTMLElement | null {
		const { rows, columns } = this.planes;
		const parts = [rows > MOST ? `${MOST} of ${rows} rows` : '', columns > MOST ? `${MOST} of ${columns} columns` : ''].filter(Boolean);
		return parts.length ? element('p', { class: 'muted small' }, `Shown: ${parts.join(', ')}, evenly spaced.`) : null;
	}

	private controls(): HTMLElement {
		const row = element('div', { class: 'row controls' });
		const add = (label: string, control: HTMLElement) => {
			control.id = freshId('plane');
			row.append(element('div', { class: 'row' }, element('label', { class: 'label', for: control.id }, label), control));
		};
		if (this.count > 1) {
			const name = this.planes.outer.length > 1 ? 'Plane' : 'Channel';
			const input = element('input', { type: 'number', class: 'field extent', min: 0, max: this.count - 1, step: 1, value: 0 });
			input.addEventListener('input', () => {
				this.plane = Math.min(this.count - 1, Math.max(0, Math.round(input.valueAsNumber || 0)));
				this.draw();
			});
			add(`${name}, 0 to ${this.count - 1}`, input);
		}
		const select = element('select', { class: 'field' });
		if (this.planes.colours) select.append(element('option', { value: 'rgb' }, 'Red, green, blue'));
		for (const [value, text] of [['grey', 'Grey'], ['heat', 'Heat'], ['signed', 'Around zero']]) select.append(element('option', { value }, text));
		select.value = this.colours ? 'rgb' : this.map;
		select.addEventListener('change', () => {
			this.colours = select.value === 'rgb';
			if (!this.colours) this.map = select.value as ColourMapName;
			this.draw();
		});
		add('Colours', select);
		return row;
	}

	// Value at a row and column of the plane, of the colour where there are colours.
	private reader(): (row: number, column: number, colour: number) => number {
		const { rows, columns, colours } = this.planes;
		const { data, shape } = this.tensor;
		if (colours === 'last') {
			const depth = shape.at(-1) ?? 1;
			const base = this.plane * rows * columns * depth;
			return (row, column, colour) => Number(data[base + (row * columns + column) * depth + colour]);
		}
		// In colours the selector names any plane of the three.
		const plane = this.colours ? Math.floor(this.plane / 3) * 3 : this.plane;
		const base = plane * rows * columns;
		return (row, column, colour) => Number(data[base + (this.colours ? colour * rows * columns : 0) + row * columns + column]);
	}

	private draw(): void {
		const { rows, columns } = this.planes;
		const [height, width] = [Math.min(rows, MOST), Math.min(columns, MOST)];
		const value = this.reader();
		const at = (y: number, x: number, colour: number) => value(Math.floor((y * rows) / height), Math.floor((x * columns) / width), colour);
		const depth = this.colours ? 3 : 1;
		let [low, high] = [Infinity, -Infinity];
		for (let y = 0; y < height; y += 1) {
			for (let x = 0; x < width; x += 1) {
				for (let colour = 0; colour < depth; colour += 1) {
					const found = at(y, x, colour);
					if (!Number.isFinite(found)) continue;
					low = Math.min(low, found);
					high = Math.max(high, found);
				}
			}
		}
		if (low > high) [low, high] = [0, 0];
		if (!this.colours && this.map === 'signed') {
			high = Math.max(Math.abs(low), Math.abs(high));
			low = -high;
		}
		const scale = high > low ? 1 / (high - low) : 0;
		const map = COLOUR_MAPS[this.colours ? 'grey' : this.map];
		const pixels = new ImageData(width, height);
		for (let y = 0; y < height; y += 1) {
			for (let x = 0; x < width; x += 1) {
				const shares = [0, 1, 2].map((colour) => (at(y, x, this.colours ? colour : 0) - low) * scale);
				const finite = shares.every(Number.isFinite);
				const rgb = this.colours ? shares.map((share) => share * 255) : map(shares[0] ?? 0);
				// What is no number is left transparent.
				pixels.data.set([...(finite ? rgb : [0, 0, 0]), finite ? 255 : 0], (y * width + x) * 4);
			}
		}
		this.canvas.width = width;
		this.canvas.height = height;
		this.canvas.getContext('2d')?.putImageData(pixels, 0, 0);
		this.fit(width, height);
		this.canvas.setAttribute('aria-label', `${rows} × ${columns}, values from ${number(low, 4)} to ${number(high, 4)}`);
		this.showLegend(low, high);
	}

	private fit(width: number, height: number): void {
		const { style } = this.canvas;
		const long = width > LONG * height || height > LONG * width;
		style.objectFit = long ? 'fill' : 'contain';
		style.blockSize = long ? (width > height ? '7.5rem' : `${SHOWN}px`) : 'auto';
		style.inlineSize = !long ? `${Math.max(width, Math.min(SHOWN, (SHOWN * width) / height))}px` : width > height ? '100%' : '7.5rem';
	}

	private showLegend(low: number, high: number): void {
		const bar = element('span', { class: 'ramp', 'aria-hidden': 'true' });
		const map = COLOUR_MAPS[this.colours ? 'grey' : this.map];
		const stops = Array.from({ length: 13 }, (_, i) => `rgb(${map(i / 12).join(' ')})`);
		bar.style.backgroundImage = `linear-gradient(to right, ${stops.join(', ')})`;
		this.legend.replaceChildren(element('span', {}, number(low, 4)), bar, element('span', {}, number(high, 4)));
	}
}
