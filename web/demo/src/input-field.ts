import type { FunctionDescriptor } from 'coreai-web';
import { numberField } from './controls';
import { converted, elementCount, ofBytes, type Elements } from './elements';
import { element, freshId } from './element';
import { fill, firstRule, NUMBER_NAMES, usualNumbers, type Rule } from './fill';
import { icon } from './icon';
import { readNpy } from './npy';
import { pictureLayout, pictureTensor } from './picture';
import { PageError } from './problem';
import { bytes, extents } from './quantity';
import { ShapeField } from './shape-field';

type Port = FunctionDescriptor['inputs'][number];
type Source = Rule | 'file';

const SOURCES: [Source, string][] = [
	['normal', 'Normal'],
	['uniform', 'Uniform'],
	['range', 'Range'],
	['zeros', 'Zeros'],
	['ones', 'Ones'],
	['file', 'From a file…'],
];
// What open extents of inputs start with.
const OPEN = 8;

/** One input of a function: its shape, and where its elements come from. */
export class InputField {
	readonly node: HTMLElement;
	private readonly shape: ShapeField;
	private readonly select: HTMLSelectElement;
	private readonly options = element('div', { class: 'input-options' });
	private readonly summary = element('p', { class: 'muted small file-summary' }, 'A picture, .npy or raw little-endian bytes');
	private readonly preview = element('img', { class: 'preview', alt: '', hidden: true });
	private readonly mean = numberField('Mean', 0, { step: 'any' });
	private readonly deviation = numberField('Deviation', 1, { step: 'any' });
	private readonly file = element('input', { type: 'file', hidden: true, 'aria-hidden': 'true', tabindex: -1 });
	private numbers: (() => number | null)[] = [];
	private chosen: File | null = null;

	constructor(private readonly port: Port) {
		const id = freshId('source');
		this.shape = new ShapeField(port.name, port.shape, OPEN);
		this.select = element('select', { class: 'field', id, onchange: () => this.showOptions() }, ...SOURCES.map(([value, text]) => element('option', { value }, text)));
		this.select.value = port.image ? 'uniform' : firstRule(port.dtype);
		this.file.addEventListener('change', () => {
			const file = this.file.files?.[0];
			if (file) void this.take(file);
		});
		this.node = element(
			'div',
			{ class: 'port', 'data-port': port.name, 'data-drops': '' },
			portHead(port.name, port.dtype, this.shape.node),
			element('div', { class: 'row' }, element('label', { class: 'unseen', for: id }, `Elements of ${port.name}`), this.select),
			this.options,
			this.file,
		);
		this.node.addEventListener('drop', (event) => {
			const file = event.dataTransfer?.files[0];
			if (!file) return;
			event.preventDefault();
			this.select.value = 'file';
			this.showOptions();
			void this.take(file);
		});
		this.showOptions();
	}

	/** The tensor as it is set now. Rejects with a PageError that names the input. */
	async value(seed: number): Promise<{ data: Elements; shape: number[] }> {
		const source = this.select.value as Source;
		try {
			if (source === 'file') return await this.read();
			const [a, b] = usualNumbers(source, this.port.dtype);
			const shape = this.shape.value();
			return { shape, data: fill(this.port.dtype, shape, source, [this.numbers[0]?.() ?? a, this.numbers[1]?.() ?? b], seed) };
		} catch (error) {
			if (!(error instanceof PageError || error instanceof RangeError)) throw error;
			const code = error instanceof PageError ? error.code : 'file';
			throw new PageError(code, `Input ${this.port.name}: ${error.message}`);
		}
	}

	private showOptions(): void {
		const source = this.select.value as Source;
		this.numbers = [];
		if (source === 'file') {
			const choose = element('button', { type: 'button', class: 'button', onclick: () => this.file.click() }, icon('folder'), 'Choose…');
			this.options.replaceChildren(element('div', { class: 'file-row' }, this.preview, element('div', { class: 'grow' }, choose, this.summary)), this.pictureOptions());
			return;
		}
		const names = NUMBER_NAMES[source];
		const [a, b] = usualNumbers(source, this.port.dtype);
		const fields = names ? [numberField(names[0], a, { step: 'any' }), numberField(names[1], b, { step: 'any' })] : [];
		this.numbers = fields.map(({ value }) => value);
		this.options.replaceChildren(...(fields.length ? [element('div', { class: 'pair' }, ...fields.map(({ node }) => node))] : []));
	}

	private pictureOptions(): HTMLElement {
		const floats = /float/.test(this.port.dtype) && pictureLayout(this.port.shape) !== null;
		return element(
			'div',
			{ hidden: !floats },
			element('div', { class: 'pair' }, this.mean.node, this.deviation.node),
			element('p', { class: 'muted small' }, 'Pictures: (value ÷ 255 − mean) ÷ deviation'),
		);
	}

	private async take(file: File): Promise<void> {
		this.chosen = file;
		URL.revokeObjectURL(this.preview.src);
		this.preview.hidden = !isPicture(file);
		if (isPicture(file)) this.preview.src = URL.createObjectURL(file);
		this.summary.textContent = `${file.name} · ${bytes(file.size)}`;
		try {
			const { shape } = await this.read();
			this.shape.set(shape);
			this.summary.textContent = `${file.name} · ${bytes(file.size)} · ${extents(shape)}`;
			this.summary.classList.remove('bad');
		} catch (error) {
			this.summary.textContent = `${file.name}: ${error instanceof Error ? error.message : String(error)}`;
			this.summary.classList.add('bad');
		}
	}

	private async read(): Promise<{ data: Elements; shape: number[] }> {
		const { chosen: file, port } = this;
		if (!file) throw new PageError('file', 'no file is chosen yet');
		if (isPicture(file)) return pictureTensor(file, port, this.mean.value() ?? 0, this.deviation.value() || 1);
		const content = new Uint8Array(await file.arrayBuffer());
		if (!file.name.endsWith('.npy')) {
			const shape = this.shape.value();
			return { shape, data: ofBytes(port.dtype, content, elementCount(shape)) };
		}
		const { shape, data } = readNpy(content);
		const fits = shape.length === port.shape.length && port.shape.every((extent, axis) => extent === null || extent === shape[axis]);
		if (!fits) throw new PageError('file', `the file has shape [${shape.join(', ')}], [${port.shape.map((extent) => extent ?? '?').join(', ')}] is expected`);
		return { shape, data: converted(data, port.dtype) };
	}
}

const isPicture = (file: File) => file.type.startsWith('image/');

/** Name, type and shape of a port in one line. */
export function portHead(name: string, dtype: string, shape: HTMLElement): HTMLElement {
	return element('div', { class: 'port-head' }, element('code', { class: 'port-name', title: name }, name), element('span', { class: 'tag' }, dtype), shape);
}
