import { check, segments } from './controls';
import { element } from './element';
import type { LoadSettings } from './loader';

/** How a model is loaded. */
export class LoadSettingsForm {
	readonly node: HTMLElement;
	private readonly unit = segments('Compute unit', [['auto', 'Auto'], ['gpu', 'GPU'], ['cpu', 'CPU']], 'auto');
	private readonly precision = segments('Precision', [['fast', 'Fast'], ['exact', 'Exact']], 'fast');
	private readonly worker = check('Run in a worker', 'The page stays smooth while the model works.', true);
	private readonly software = check('Allow software adapters', 'WebGPU on the processor: for trying things out.', false);
	private readonly rules = check('Use fused kernels', 'Off: every composite runs as it is written.', true);
	private readonly strict = check('Fallbacks are errors', 'Refuse what would run slower than it should.', false);

	constructor() {
		const pair = (name: string, control: HTMLElement) => element('div', { class: 'setting' }, element('span', { class: 'label' }, name), control);
		this.node = element(
			'section',
			{ class: 'card load-settings', 'aria-labelledby': 'load-settings-title' },
			element('h2', { class: 'unseen', id: 'load-settings-title' }, 'How to run'),
			element('div', { class: 'load-main' }, pair('Compute unit', this.unit.node), this.worker.node),
			element(
				'details',
				{},
				element('summary', {}, 'More options'),
				element('div', { class: 'load-more' }, pair('Precision', this.precision.node), this.software.node, this.rules.node, this.strict.node),
			),
		);
	}

	/** What is set now. */
	value(): LoadSettings {
		return {
			computeUnit: this.unit.value(),
			precision: this.precision.value(),
			worker: this.worker.input.checked,
			allowSoftwareAdapter: this.software.input.checked,
			rules: this.rules.input.checked,
			strict: this.strict.input.checked,
		};
	}

	/** Takes what the page's address says: `unit=cpu`, `worker=0`, `software=1`, `precision=exact`. */
	read(query: URLSearchParams): void {
		const unit = query.get('unit');
		if (unit === 'auto' || unit === 'gpu' || unit === 'cpu') this.unit.set(unit);
		const precision = query.get('precision');
		if (precision === 'fast' || precision === 'exact') this.precision.set(precision);
		for (const [name, box] of [['worker', this.worker], ['software', this.software]] as const) {
			const value = query.get(name);
			if (value !== null) box.input.checked = value !== '0';
		}
	}
}
