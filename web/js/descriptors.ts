import type { DType } from './dtype.js';

/** An input, output or state of a function. */
export interface Port {
	name: string;
	dtype: DType;
	/** Extents; `null` where any length fits. */
	shape: (number | null)[];
	/** There when the port takes or gives an image. */
	image?: { width: number; height: number; format: 'rgb24' | 'argb32' | 'bgra32' | 'y420' };
}

/** Signature of a function. */
export interface FunctionDescriptor {
	name: string;
	inputs: Port[];
	outputs: Port[];
	/** Values that live from call to call, such as caches. */
	states: Port[];
}

/** What the browser tells of the GPU, as a JSON document of the runtime. */
export interface AdapterInfo {
	name: string;
	backend: string;
	kind: string;
	driver: string;
	/** Computes on the processor: results are right, speeds say nothing. */
	software: boolean;
	/** Least and greatest subgroup size; `null` where there are none. */
	subgroup_sizes: [number, number] | null;
	limits: Record<string, number>;
	features: { subgroups: boolean; shader_f16: boolean; timestamps: boolean };
}

/** Memory in use. */
export interface MemoryUse {
	/** Bytes of the wasm module's memory. All models of a page, or of a worker, share it; it never shrinks. */
	wasmBytes: number;
	/** Bytes on the device, of all models that share it: those of a page or a worker that were not given their own. */
	device: { weights: number; states: number; activations: number; other: number };
}
