import type { AIModel } from 'coreai-web';
import { element } from './element';
import type { Loaded } from './loader';
import { bytes, duration } from './quantity';

const CLASSES = [
	['weights', 'Weights'],
	['states', 'States'],
	['activations', 'Activations'],
	['other', 'Other'],
] as const;

const row = (name: string, value: string | Node) => element('div', { class: 'fact' }, element('dt', {}, name), element('dd', {}, value));

function features(adapter: NonNullable<AIModel['adapter']>): string {
	const { features: has, subgroup_sizes: sizes } = adapter;
	const range = sizes && has.subgroups ? ` (${[...new Set(sizes)].join('–')})` : '';
	const names = [has.shader_f16 ? 'shader-f16' : '', has.subgroups ? `subgroups${range}` : '', has.timestamps ? 'timestamps' : ''];
	return names.filter(Boolean).join(', ') || 'none of f16, subgroups, timestamps';
}

/** Where a model runs and what memory it takes. */
export class MachineView {
	readonly node = element('div', { class: 'stack' });
	private readonly memory = element('div', { class: 'memory' });

	constructor(private readonly loaded: Loaded) {
		const { model, language, settings, seconds, loadedBytes, storedBytes } = loaded;
		const { adapter } = model;
		const facts = [row('Unit', model.computeUnit === 'gpu' ? 'GPU, through WebGPU' : 'CPU, in WebAssembly')];
		if (adapter && model.computeUnit === 'gpu') {
			facts.push(row('Adapter', adapter.software ? `${adapter.name} (software)` : adapter.name), row('Features', features(adapter)));
		}
		facts.push(row('Runs in', settings.worker ? 'a worker' : 'the page'), row('Precision', settings.precision));
		if (language) facts.push(row('Context', `${language.contextLength} tokens`));
		const stored = storedBytes ? `, ${storedBytes >= loadedBytes ? 'all' : bytes(storedBytes)} from storage` : '';
		facts.push(row('Loaded', `${loadedBytes ? `${bytes(loadedBytes)} ` : ''}in ${duration(seconds)}${stored}`));
		this.node.append(element('dl', { class: 'facts' }, ...facts), this.memory);
	}

	/** Asks again how much memory is in use. */
	async refresh(): Promise<void> {
		const use = await this.loaded.model.memory().catch(() => null);
		if (!use) return;
		const classes = CLASSES.map(([key, name]) => ({ key, name, size: use.device[key] }));
		const sum = classes.reduce((total, { size }) => total + size, 0);
		const parts = classes.filter(({ size }) => size > 0);
		const bar = element('div', { class: 'memory-bar', 'aria-hidden': 'true' });
		for (const { key, size } of parts) {
			const part = element('span', { 'data-class': key });
			part.style.flexGrow = String(size);
			bar.append(part);
		}
		const legend = parts.map(({ key, name, size }) =>
			element('div', { class: 'fact', 'data-class': key }, element('dt', {}, name), element('dd', {}, bytes(size))),
		);
		// The CPU unit keeps its tensors in the heap below.
		const onDevice = [element('dl', { class: 'facts' }, row('Device memory', bytes(sum))), bar, element('dl', { class: 'facts legend' }, ...legend)];
		this.memory.replaceChildren(
			...(sum ? onDevice : []),
			element('dl', { class: 'facts' }, row('WebAssembly heap', bytes(use.wasmBytes))),
		);
	}
}
