/** How far loading is. */
export interface LoadProgress {
	/**
	 * `download`: bytes come over the network. `verify`: stored bytes are read and their hashes checked. `prepare`: all
	 * bytes are here or local, the model is made ready. `ready`: done.
	 */
	phase: 'download' | 'verify' | 'prepare' | 'ready';
	/** The file in question, such as `smollm2.aimodel/main.mlirb`. */
	file: string;
	/** Bytes that are here. */
	loaded: number;
	/** Bytes of the file; 0 while unknown. */
	total: number;
	/** Bytes of `loaded` that came from storage. */
	fromStorage: number;
	/** Speed of the network over the last seconds; 0 where nothing came over it. */
	bytesPerSecond: number;
	/** Seconds until the file is here at this speed; `null` while unknown. */
	secondsLeft: number | null;
}

/** Milliseconds between two events of one phase. */
const INTERVAL_MS = 100;
/** Milliseconds over which the speed is averaged. */
const WINDOW_MS = 3000;

/** Counts bytes and tells them, not more often than ten times a second. */
export class ProgressMeter {
	#emit: ((progress: LoadProgress) => void) | undefined;
	#told = { at: -Infinity, phase: '' };
	#samples: { at: number; bytes: number }[] = [];
	#network = 0;
	#stored = 0;
	#phase: LoadProgress['phase'] = 'prepare';
	#file = '';
	#total = 0;

	constructor(emit?: (progress: LoadProgress) => void) {
		this.#emit = emit;
	}

	/** Begins with a file; counts start anew. */
	begin(file: string, total: number, phase: LoadProgress['phase']): void {
		[this.#file, this.#total, this.#phase, this.#network, this.#stored] = [file, total, phase, 0, 0];
		this.#samples = [];
		this.#tell();
	}

	/** The size, where it is learned late. */
	set total(bytes: number) {
		this.#total = bytes;
	}

	/** So many bytes came over the network. */
	network(bytes: number): void {
		this.#network += bytes;
		this.#phase = 'download';
		const at = performance.now();
		const last = this.#samples.at(-1);
		if (!last || at - last.at >= INTERVAL_MS) this.#samples.push({ at, bytes: this.#network });
		while (this.#samples.length > 2 && at - this.#samples[0]!.at > WINDOW_MS) this.#samples.shift();
		this.#tell();
	}

	/** So many bytes came from storage. */
	stored(bytes: number): void {
		this.#stored += bytes;
		this.#tell();
	}

	/** Changes the phase. `ready` counts everything as loaded. */
	phase(phase: LoadProgress['phase']): void {
		this.#phase = phase;
		// Repairs of stored chunks are counted twice.
		if (phase === 'ready' && !this.#network) this.#stored = this.#stored && this.#total;
		this.#tell();
	}

	#tell(): void {
		const at = performance.now();
		if (!this.#emit || (this.#phase === this.#told.phase && at - this.#told.at < INTERVAL_MS)) return;
		this.#told = { at, phase: this.#phase };
		const all = this.#phase === 'ready' || this.#phase === 'prepare';
		const loaded = all ? this.#total : Math.min(this.#network + this.#stored, this.#total || Infinity);
		const first = this.#samples[0];
		const seconds = first ? (at - first.at) / 1e3 : 0;
		const speed = seconds > 0 ? (this.#network - first!.bytes) / seconds : 0;
		const left = loaded >= this.#total && this.#total ? 0 : speed > 0 && this.#total ? (this.#total - loaded) / speed : null;
		this.#emit({
			phase: this.#phase, file: this.#file, loaded, total: this.#total,
			fromStorage: Math.min(this.#stored, loaded), bytesPerSecond: Math.round(speed), secondsLeft: left,
		});
	}
}
