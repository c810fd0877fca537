import type { FunctionDescriptor, InferenceFunction, States, Tensor } from 'coreai-web';
import { element } from './element';
import { icon } from './icon';
import { portHead } from './input-field';
import { ShapeField } from './shape-field';

// What open extents of states start with: room for a cache.
const OPEN = 64;

/** The states of a function: made with the first run, kept between runs until they are reset or their shapes change. */
export class StateFields {
	readonly node = element('div', { class: 'stack' });
	private readonly ports: FunctionDescriptor['states'];
	private readonly shapes: ShapeField[];
	private readonly note = element('p', { class: 'muted small', role: 'status' });
	private made: States | null = null;
	private runs = 0;

	constructor(private readonly fn: InferenceFunction) {
		this.ports = fn.descriptor.states;
		this.shapes = this.ports.map(({ name, shape }) => new ShapeField(name, shape, OPEN, () => this.reset('The shapes changed: zeroed by the next run')));
		if (!this.ports.length) return;
		this.node.append(
			element(
				'div',
				{ class: 'row spread' },
				element('h3', {}, 'States'),
				element('button', { type: 'button', class: 'button quiet small', onclick: () => this.reset('Zeroed by the next run') }, icon('reset'), 'Reset'),
			),
			...this.ports.map(({ name, dtype }, i) => element('div', { class: 'port' }, portHead(name, dtype, (this.shapes[i] as ShapeField).node))),
			this.note,
		);
		this.note.textContent = 'Zeroed by the next run';
	}

	/** The states to run with; undefined for a function without any. */
	async states(): Promise<States | undefined> {
		if (!this.ports.length) return undefined;
		this.made ??= await this.fn.createStates(Object.fromEntries(this.ports.map(({ name }, i) => [name, this.shapes[i]?.value() ?? []])));
		return this.made;
	}

	/** Counts a run with these states. */
	ran(): void {
		this.runs += 1;
		this.note.textContent = `Written by ${this.runs} ${this.runs === 1 ? 'run' : 'runs'} since they were zeroed`;
	}

	/** What the states hold now. */
	async read(): Promise<[string, Tensor][]> {
		const { made } = this;
		if (!made) return [];
		const found: [string, Tensor][] = [];
		for (const { name } of this.ports) found.push([name, await made.read(name)]);
		return found;
	}

	/** Forgets the states; the next run makes new ones. */
	reset(note = ''): void {
		this.made?.dispose();
		this.made = null;
		this.runs = 0;
		this.note.textContent = note;
	}
}
