import { element } from './element';

/** A shape whose open extents can be typed. */
export class ShapeField {
	readonly node = element('div', { class: 'shape' });
	private readonly inputs: (HTMLInputElement | number)[];

	/** `open` is what open extents start with. */
	constructor(name: string, shape: readonly (number | null)[], open: number, onchange: () => void = () => {}) {
		this.inputs = shape.map((extent, axis) => {
			if (extent !== null) return extent;
			return element('input', {
				type: 'number', class: 'extent', min: 0, max: 2 ** 31 - 1, step: 1, value: open, inputmode: 'numeric',
				'aria-label': `${name}, extent ${axis}`, title: 'This extent is open', onchange,
			});
		});
		if (!shape.length) this.node.append('scalar');
		this.inputs.forEach((input, axis) => {
			if (axis) this.node.append(element('span', { class: 'times', 'aria-hidden': 'true' }, '×'));
			this.node.append(typeof input === 'number' ? element('span', {}, String(input)) : input);
		});
	}

	/** The extents as they stand. */
	value(): number[] {
		return this.inputs.map((input) => (typeof input === 'number' ? input : Math.max(0, Math.round(input.valueAsNumber || 0))));
	}

	/** Writes extents into the open ones. */
	set(shape: readonly number[]): void {
		this.inputs.forEach((input, axis) => {
			if (typeof input !== 'number') input.value = String(shape[axis] ?? 0);
		});
	}
}
