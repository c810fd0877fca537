import type { InferenceFunction, Tensor } from 'coreai-web';
import { numberField } from './controls';
import { element, freshId } from './element';
import { icon } from './icon';
import { InputField } from './input-field';
import type { Loaded } from './loader';
import { MachineView } from './machine';
import { codeOf, isCancel, problemPanel } from './problem';
import { duration } from './quantity';
import { reportView } from './report-view';
import { StateFields } from './state-fields';
import { Tabs } from './tabs';
import { tensorView } from './tensor-view';

const MOST_RUNS = 1000;

const median = (values: number[]): number => {
	const sorted = [...values].sort((a, b) => a - b);
	const middle = sorted.length >> 1;
	return sorted.length % 2 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};

/** Runs any function of a model with made-up or given inputs, and shows what comes out. */
export class FunctionsView {
	readonly node: HTMLElement;
	private readonly form = element('form', { class: 'function-form' });
	private readonly fields = element('div', { class: 'stack' });
	private readonly seed = numberField('Seed', 1, { min: 0, max: 2 ** 32 - 1, step: 1 });
	private readonly runs = numberField('Timed runs', 5, { min: 0, max: MOST_RUNS, step: 1 });
	private readonly start = element('button', { class: 'button primary' }, icon('play'), 'Run');
	private readonly stop = element('button', { type: 'button', class: 'button', hidden: true }, icon('stop'), 'Stop');
	private readonly trouble = element('div');
	private readonly timing = element('div', { class: 'timing', role: 'status' });
	private readonly outputs = element('div', { class: 'stack' }, element('p', { class: 'placeholder' }, 'Outputs appear here after a run.'));
	private readonly states = element('div', { class: 'stack' }, element('p', { class: 'placeholder' }, 'This function has no states, or they are not made yet.'));
	private readonly report = element('div', { class: 'stack' });
	private readonly machine: MachineView;
	private readonly results: Tabs;
	private fn: InferenceFunction;
	private inputs: InputField[] = [];
	private stateFields: StateFields;
	private running: AbortController | null = null;
	private last = Promise.resolve();

	constructor(private readonly loaded: Loaded) {
		const { model } = loaded;
		const first = model.functions.find(({ name }) => name === 'main') ?? model.functions[0];
		if (!first) throw new TypeError(`${loaded.name} has no functions`);
		this.machine = new MachineView(loaded);
		const id = freshId('function');
		const select = element('select', { class: 'field grow', id, onchange: () => this.choose(select.value) }, ...model.functions.map(({ name }) => element('option', { value: name }, name)));
		select.value = first.name;
		this.results = new Tabs(
			'Results',
			[
				{ key: 'outputs', label: 'Outputs', panel: this.outputs },
				{ key: 'states', label: 'States', panel: this.states },
				{ key: 'report', label: 'Report', panel: this.report },
				{ key: 'machine', label: 'Machine', panel: element('div', {}, element('section', { class: 'card narrow' }, this.machine.node)) },
			],
			(key) => void this.look(key),
		);
		const dice = element('button', { type: 'button', class: 'button quiet round', 'aria-label': 'Another seed', title: 'Another seed', onclick: () => {
			this.seed.input.value = String(Math.floor(Math.random() * 2 ** 32));
		} }, icon('dice'));
		this.form.append(
			element('div', { class: 'setting' }, element('label', { class: 'label', for: id }, model.functions.length > 1 ? `Function, one of ${model.functions.length}` : 'Function'), select),
			this.fields,
			element('div', { class: 'run-bar' }, element('div', { class: 'pair' }, element('div', { class: 'row seed' }, this.seed.node, dice), this.runs.node), element('div', { class: 'row' }, this.start, this.stop)),
		);
		this.form.addEventListener('submit', (event) => {
			event.preventDefault();
			if (!this.running) this.last = this.run();
		});
		this.stop.addEventListener('click', () => this.cancel());
		this.node = element(
			'div',
			{ class: 'functions' },
			this.form,
			element('div', { class: 'results' }, this.trouble, this.timing, this.results.list, this.results.panels),
		);
		this.fn = model.function(first.name);
		this.stateFields = new StateFields(this.fn);
		this.choose(first.name);
	}

	/** Ends what is running. */
	cancel(): void {
		this.running?.abort();
	}

	/** Resolves when nothing runs any more. */
	settled(): Promise<void> {
		return this.last;
	}

	private choose(name: string): void {
		this.cancel();
		this.stateFields.reset();
		this.fn = this.loaded.model.function(name);
		this.inputs = this.fn.descriptor.inputs.map((port) => new InputField(port));
		this.stateFields = new StateFields(this.fn);
		this.fields.replaceChildren(
			element('h3', {}, 'Inputs'),
			...(this.inputs.length ? this.inputs.map(({ node }) => node) : [element('p', { class: 'muted' }, 'This function takes none.')]),
			this.stateFields.node,
		);
		this.trouble.replaceChildren();
		this.timing.replaceChildren();
		this.outputs.replaceChildren(element('p', { class: 'placeholder' }, 'Outputs appear here after a run.'));
	}

	private async run(): Promise<void> {
		const running = new AbortController();
		const { signal } = running;
		const { fn, inputs: fields, stateFields } = this;
		this.running = running;
		this.start.disabled = true;
		this.stop.hidden = false;
		this.trouble.replaceChildren();
		this.timing.replaceChildren(element('p', { class: 'working' }, 'Running…'));
		const times: number[] = [];
		try {
			const seed = this.seed.value() ?? 0;
			const inputs: Record<string, Awaited<ReturnType<InputField['value']>>> = {};
			for (const [i, field] of fields.entries()) {
				const port = fn.descriptor.inputs[i];
				if (port) inputs[port.name] = await field.value(seed + i);
			}
			const states = await stateFields.states();
			const once = async () => {
				const start = performance.now();
				const outputs = await fn.run(inputs, { signal, ...(states ? { states } : {}) });
				times.push((performance.now() - start) / 1000);
				if (states) stateFields.ran();
				return outputs;
			};
			this.showOutputs(await once());
			// With states every further run is a step more, and the outputs shown are the first one's.
			const more = states ? 0 : Math.min(MOST_RUNS, Math.max(0, Math.round(this.runs.value() ?? 0)));
			for (let i = 0; i < more; i += 1) {
				this.showTimes(times, `Timing, ${i + 1} of ${more}…`);
				await once();
			}
			this.showTimes(times, states ? 'One step; run again for the next' : '');
		} catch (error) {
			if (isCancel(error)) this.showTimes(times, 'Stopped');
			else {
				this.timing.replaceChildren();
				this.trouble.replaceChildren(problemPanel(error, () => this.trouble.replaceChildren()));
				if (codeOf(error) === 'device_lost') stateFields.reset('The GPU was lost: zeroed by the next run');
			}
		} finally {
			this.running = null;
			this.start.disabled = false;
			const focused = document.activeElement === this.stop;
			this.stop.hidden = true;
			if (focused) this.start.focus();
		}
		if (this.results.shown !== 'outputs') await this.look(this.results.shown);
	}

	private showOutputs(outputs: Record<string, Tensor>): void {
		this.outputs.replaceChildren(...Object.entries(outputs).map(([name, tensor]) => tensorView(name, tensor)));
		this.results.show('outputs');
	}

	private showTimes(times: number[], note: string): void {
		const [first, ...more] = times;
		const stat = (name: string, value: string) => element('div', {}, element('dt', {}, name), element('dd', {}, value));
		const stats = element('dl', { class: 'figures large' });
		if (first !== undefined) stats.append(stat('First run', duration(first)));
		if (more.length) {
			stats.append(stat(`Median of ${more.length}`, duration(median(more))));
			stats.append(stat('Fastest to slowest', `${duration(Math.min(...more))} to ${duration(Math.max(...more))}`));
		}
		this.timing.replaceChildren(stats, note ? element('p', { class: 'muted small' }, note) : '');
	}

	private async look(key: string): Promise<void> {
		try {
			if (key === 'report') this.report.replaceChildren(reportView(await this.loaded.model.report()));
			if (key === 'machine') await this.machine.refresh();
			if (key === 'states') {
				const found = await this.stateFields.read();
				if (found.length) this.states.replaceChildren(...found.map(([name, tensor]) => tensorView(name, tensor)));
				else this.states.replaceChildren(element('p', { class: 'placeholder' }, this.fn.descriptor.states.length ? 'States are made with the first run.' : 'This function has no states.'));
			}
		} catch (error) {
			this.trouble.replaceChildren(problemPanel(error, () => this.trouble.replaceChildren()));
		}
	}
}
