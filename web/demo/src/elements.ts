import type { Tensor } from 'coreai-web';

/** The typed arrays that hold elements. */
export type Elements = Tensor['data'];

/** Elements as one loop can read them. */
export type Readable = ArrayLike<number | bigint>;

// The most elements that the page makes up or shows at once: 256 MiB of float32.
export const MOST_ELEMENTS = 2 ** 26;

/** How many elements a shape holds. */
export function elementCount(shape: readonly number[]): number {
	return shape.reduce((product, extent) => product * extent, 1);
}

/** Whether a dtype is a float; complex is none. */
export const isFloat = (dtype: string) => /^(b?float|f\d)/.test(dtype);
const is64 = (dtype: string) => /^u?int64$/.test(dtype);

/** Lowest and highest value of an integer dtype; null for others. 64 bits are bounded by what a number holds exactly. */
export function integerRange(dtype: string): [low: number, high: number] | null {
	if (dtype === 'bool') return [0, 1];
	const match = /^(u?)int(\d+)$/.exec(dtype);
	if (!match) return null;
	const bits = Math.min(53, Number(match[2]));
	return match[1] ? [0, 2 ** bits - 1] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
}

/** An array for elements of a dtype, as the package takes it: low-precision floats are float32. */
export function arrayFor(dtype: string, count: number): Elements {
	switch (dtype) {
		case 'float64': return new Float64Array(count);
		case 'int64': return new BigInt64Array(count);
		case 'uint64': return new BigUint64Array(count);
		case 'int32': return new Int32Array(count);
		case 'uint32': return new Uint32Array(count);
		case 'int16': return new Int16Array(count);
		case 'uint16': return new Uint16Array(count);
	}
	if (dtype === 'bool' || /^uint\d$/.test(dtype)) return new Uint8Array(count);
	if (/^int\d$/.test(dtype)) return new Int8Array(count);
	return new Float32Array(count);
}

/** Fills an array from a rule; integers are rounded and taken to the ends of their range. */
export function filled(dtype: string, count: number, value: (index: number) => number): Elements {
	const array = arrayFor(dtype, count);
	const range = integerRange(dtype);
	for (let i = 0; i < count; i += 1) {
		const x = value(i);
		const bounded = range ? Math.min(range[1], Math.max(range[0], Math.round(x))) : x;
		array[i] = is64(dtype) ? BigInt(bounded) : bounded;
	}
	return array;
}

/**
 * The same values as another dtype. Throws a RangeError naming the first value that an integer dtype cannot hold; floats are
 * left to the package, which rounds to nearest even.
 */
export function converted(values: Readable, dtype: string): Elements {
	const range = integerRange(dtype);
	const wide = dtype === 'int64' || dtype === 'uint64';
	const array = arrayFor(dtype, values.length);
	for (let i = 0; i < values.length; i += 1) {
		const value = values[i] ?? 0;
		const x = Number(value);
		if (range && (!Number.isInteger(x) || (!wide && (x < range[0] || x > range[1])) || (dtype === 'uint64' && x < 0))) {
			throw new RangeError(`element ${i} is ${value}, which ${dtype} cannot hold`);
		}
		array[i] = wide ? BigInt(value) : x;
	}
	return array;
}

/** float16 bits as a number. */
export function ofHalf(bits: number): number {
	const sign = bits & 0x8000 ? -1 : 1;
	const exponent = (bits >> 10) & 31;
	const fraction = bits & 1023;
	if (exponent === 31) return fraction ? NaN : sign * Infinity;
	return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

// Bytes of one element in a raw file.
function width(dtype: string): number {
	if (dtype === 'bool') return 1;
	const bits = Number(/(\d+)$/.exec(dtype)?.[1] ?? 0);
	return bits >= 8 && !dtype.startsWith('complex') ? bits / 8 : 0;
}

/** Elements from raw little-endian bytes. Throws a RangeError when they are not as many as `count`. */
export function ofBytes(dtype: string, bytes: Uint8Array, count: number): Elements {
	const size = width(dtype);
	if (!size) throw new RangeError(`${dtype} has no raw form here`);
	if (bytes.length !== count * size) {
		throw new RangeError(`found ${bytes.length} bytes, ${count} elements of ${dtype} are ${count * size} bytes`);
	}
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const array = arrayFor(dtype, count);
	const one = reader(dtype);
	for (let i = 0; i < count; i += 1) array[i] = one(view, i * size);
	return array;
}

function reader(dtype: string): (view: DataView, at: number) => number | bigint {
	switch (dtype) {
		case 'float64': return (view, at) => view.getFloat64(at, true);
		case 'float32': return (view, at) => view.getFloat32(at, true);
		case 'float16': return (view, at) => ofHalf(view.getUint16(at, true));
		case 'bfloat16': {
			const word = new DataView(new ArrayBuffer(4));
			return (view, at) => (word.setUint16(0, view.getUint16(at, true)), word.getFloat32(0));
		}
		case 'int64': return (view, at) => view.getBigInt64(at, true);
		case 'uint64': return (view, at) => view.getBigUint64(at, true);
		case 'int32': return (view, at) => view.getInt32(at, true);
		case 'uint32': return (view, at) => view.getUint32(at, true);
		case 'int16': return (view, at) => view.getInt16(at, true);
		case 'uint16': return (view, at) => view.getUint16(at, true);
		case 'int8': return (view, at) => view.getInt8(at);
		case 'uint8':
		case 'bool': return (view, at) => view.getUint8(at);
	}
	throw new RangeError(`${dtype} has no raw form here`);
}
