import { element, freshId } from './element';

/** A choice among few values, all of them visible: radio buttons that look like one control. */
export function segments<T extends string>(
	label: string,
	options: readonly (readonly [T, string])[],
	chosen: T,
	onchange: (value: T) => void = () => {},
): { node: HTMLElement; value(): T; set(value: T): void } {
	const name = freshId('choice');
	const inputs = options.map(([value, text]) => {
		const input = element('input', { type: 'radio', name, value, onchange: () => onchange(value) });
		input.checked = value === chosen;
		return { value, input, node: element('label', { class: 'segment' }, input, element('span', {}, text)) };
	});
	const node = element('div', { class: 'segments', role: 'radiogroup', 'aria-label': label }, ...inputs.map((entry) => entry.node));
	return {
		node,
		value: () => inputs.find(({ input }) => input.checked)?.value ?? chosen,
		set: (value) => {
			for (const entry of inputs) entry.input.checked = entry.value === value;
		},
	};
}

/** A box that is on or off, with a line that says what it does. */
export function check(label: string, about: string, on: boolean): { node: HTMLElement; input: HTMLInputElement } {
	const input = element('input', { type: 'checkbox' });
	input.checked = on;
	const text = element('span', {}, label, about ? element('span', { class: 'muted small block' }, about) : null);
	return { node: element('label', { class: 'check' }, input, text), input };
}

/** A number field with a label above it; `value` is null while it is empty or not a number. */
export function numberField(
	label: string,
	value: number | '',
	limits: { min?: number; max?: number; step?: number | 'any' },
	attributes: Record<string, string> = {},
): { node: HTMLElement; input: HTMLInputElement; value(): number | null } {
	const id = freshId('number');
	const input = element('input', { type: 'number', id, class: 'field', value, inputmode: 'decimal', ...limits, ...attributes });
	return {
		node: element('div', { class: 'setting' }, element('label', { class: 'label', for: id }, label), input),
		input,
		value: () => (Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null),
	};
}

/** A slider with its value beside the label. `shown` puts the value into words. */
export function slider(
	label: string,
	value: number,
	limits: { min: number; max: number; step: number },
	shown: (value: number) => string = String,
): { node: HTMLElement; input: HTMLInputElement; value(): number } {
	const id = freshId('slider');
	const input = element('input', { type: 'range', id, ...limits, value });
	const output = element('output', { for: id }, shown(value));
	const update = () => {
		output.textContent = shown(input.valueAsNumber);
		const share = (input.valueAsNumber - limits.min) / (limits.max - limits.min);
		input.style.setProperty('--share', `${share * 100}%`);
		input.setAttribute('aria-valuetext', shown(input.valueAsNumber));
	};
	input.addEventListener('input', update);
	update();
	const head = element('span', { class: 'row spread' }, element('label', { class: 'label', for: id }, label), output);
	return { node: element('div', { class: 'setting' }, head, input), input, value: () => input.valueAsNumber };
}
