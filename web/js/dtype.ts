import { CoreAIError, InputError } from './errors.js';

/** Element types of ports, by their usual names. */
export type DType =
	| 'float16' | 'float32' | 'float64' | 'bfloat16'
	| 'int8' | 'uint8' | 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'uint64'
	| 'bool' | 'complex64' | (string & {});

/** Arrays that results come in. */
export type TensorData =
	| Float32Array | Float64Array | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array
	| BigInt64Array | BigUint64Array;

/** Arrays that inputs may be given in; converted to the port's element type. */
export type Values = TensorData | Uint8ClampedArray | readonly number[] | readonly bigint[] | readonly boolean[];

type ArrayOf = { new (length: number): TensorData; new (buffer: ArrayBufferLike, at: number, length: number): TensorData; BYTES_PER_ELEMENT: number };

/** Element types whose bytes are those of a typed array. */
const PLAIN: Record<string, ArrayOf> = {
	float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array,
	int32: Int32Array, uint32: Uint32Array, int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array, complex64: Float32Array,
};

/** Least and greatest value of integers up to 32 bits. */
const BOUNDS: Record<string, [number, number]> = {
	int8: [-128, 127], uint8: [0, 255], int16: [-32768, 32767], uint16: [0, 65535],
	int32: [-(2 ** 31), 2 ** 31 - 1], uint32: [0, 2 ** 32 - 1], bool: [0, 1],
};

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/**
 * Bits of a float32 from which a shorter format can be rounded to nearest even as if from the float64 itself: the last
 * bit is set where something was cut off.
 */
function stickyBits(value: number): number {
	float[0] = value;
	const near = float[0]!;
	if (near === value || Number.isNaN(value) || !Number.isFinite(near)) return bits[0]!;
	// Towards zero first, then sticky.
	if (Math.abs(near) > Math.abs(value)) bits[0]! -= 1;
	return bits[0]! | 1;
}

function bfloat16OfBits(from: number): number {
	if ((from & 0x7fffffff) > 0x7f800000) return (from >>> 16) | 0x40;
	return (from + 0x7fff + ((from >>> 16) & 1)) >>> 16;
}

function float16OfBits(from: number): number {
	const sign = (from >>> 16) & 0x8000;
	const rest = from & 0x7fffffff;
	if (rest >= 0x7f800000) return sign | (rest > 0x7f800000 ? 0x7e00 | ((rest >>> 13) & 0x3ff) : 0x7c00);
	// 65520 and above round to infinity.
	if (rest >= 0x477ff000) return sign | 0x7c00;
	// 2⁻¹⁴ and above are normal.
	if (rest >= 0x38800000) return sign | ((rest - 0x38000000 + 0xfff + ((rest >>> 13) & 1)) >>> 13);
	// Half of the least subnormal, 2⁻²⁵, and below are zero.
	if (rest <= 0x33000000) return sign;
	const shift = 126 - (rest >>> 23);
	const mantissa = (rest & 0x7fffff) | 0x800000;
	const whole = mantissa >>> shift;
	const left = mantissa & ((1 << shift) - 1);
	const half = 1 << (shift - 1);
	return sign | (whole + (left > half || (left === half && whole & 1) ? 1 : 0));
}

function short(values: ArrayLike<number>, ofBits: (bits: number) => number): Uint16Array {
	const out = new Uint16Array(values.length);
	if (values instanceof Float32Array) {
		const from = new Uint32Array(values.buffer, values.byteOffset, values.length);
		for (let i = 0; i < out.length; i++) out[i] = ofBits(from[i]!);
	} else {
		for (let i = 0; i < out.length; i++) out[i] = ofBits(stickyBits(Number(values[i])));
	}
	return out;
}

/** Values of float16 bits, exact. */
export function float16ToFloat32(from: Uint16Array): Float32Array {
	const out = new Float32Array(from.length);
	const to = new Uint32Array(out.buffer);
	for (let i = 0; i < from.length; i++) {
		const half = from[i]!;
		const sign = (half & 0x8000) << 16;
		const exponent = (half >>> 10) & 31;
		const mantissa = half & 0x3ff;
		if (exponent === 31) to[i] = sign | 0x7f800000 | (mantissa << 13);
		else if (exponent) to[i] = sign | ((exponent + 112) << 23) | (mantissa << 13);
		else out[i] = (sign ? -1 : 1) * mantissa * 2 ** -24;
	}
	return out;
}

/** Bits of values as float16, rounded to nearest, ties to even. */
export const float16Bits = (values: ArrayLike<number>): Uint16Array => short(values, float16OfBits);

/** Bits of values as bfloat16, rounded to nearest, ties to even. */
export const bfloat16Bits = (values: ArrayLike<number>): Uint16Array => short(values, bfloat16OfBits);

function bfloat16ToFloat32(from: Uint16Array): Float32Array {
	const out = new Float32Array(from.length);
	const to = new Uint32Array(out.buffer);
	for (let i = 0; i < from.length; i++) to[i] = from[i]! << 16;
	return out;
}

/** Elements of a shape. */
export function elements(shape: ArrayLike<number>): number {
	let product = 1;
	for (let i = 0; i < shape.length; i++) product *= shape[i]!;
	return product;
}

const bytesOf = (array: ArrayBufferView): Uint8Array => new Uint8Array(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);

function bigints(name: string, dtype: string, values: Values): TensorData {
	const signed = dtype === 'int64';
	const out = signed ? new BigInt64Array(values.length) : new BigUint64Array(values.length);
	const [low, high] = signed ? [-(2n ** 63n), 2n ** 63n - 1n] : [0n, 2n ** 64n - 1n];
	for (let i = 0; i < values.length; i++) {
		const value = values[i]!;
		const whole = typeof value === 'number' ? (Number.isSafeInteger(value) ? BigInt(value) : null) : BigInt(value);
		if (whole === null || whole < low || whole > high) {
			throw new InputError('input', `input "${name}": element ${i} is ${value}; expected an ${dtype}, as a bigint where it is above 2^53`);
		}
		out[i] = whole;
	}
	return out;
}

function integers(name: string, dtype: string, values: Values): TensorData {
	const [low, high] = BOUNDS[dtype]!;
	const out = new PLAIN[dtype]!(values.length) as Int32Array;
	for (let i = 0; i < values.length; i++) {
		const value = Number(values[i]!);
		if (!(Number.isInteger(value) && value >= low && value <= high)) {
			const expected = dtype === 'bool' ? 'true, false, 0 or 1' : `an integer from ${low} to ${high}`;
			throw new InputError('input', `input "${name}": element ${i} is ${value}; expected ${expected} for ${dtype}`);
		}
		out[i] = value;
	}
	return out;
}

/**
 * Little-endian elements of `dtype` for values of any array type. Values are numbers, never bits: a `Uint16Array` for a
 * float16 port holds whole numbers. Throws where an integer port would have to round or wrap.
 * @param name for messages
 */
export function encode(name: string, dtype: DType, values: Values, shape: ArrayLike<number>): Uint8Array {
	const expected = elements(shape) * (dtype === 'complex64' ? 2 : 1);
	if (!(values?.length >= 0) || values.length !== expected) {
		const each = dtype === 'complex64' ? ' (real and imaginary parts in turn)' : '';
		const given = Array.from(shape).join(', ');
		throw new InputError('input', `input "${name}": data has ${values?.length ?? 'no'} elements; shape [${given}] has ${expected}${each}`);
	}
	if (dtype === 'float16') return bytesOf(float16Bits(values as ArrayLike<number>));
	if (dtype === 'bfloat16') return bytesOf(bfloat16Bits(values as ArrayLike<number>));
	const plain = PLAIN[dtype];
	if (!plain) throw new InputError('input', `input "${name}": elements of type ${dtype} cannot be given from a page`);
	if (values instanceof plain && dtype !== 'bool') return bytesOf(values as TensorData);
	if (dtype === 'int64' || dtype === 'uint64') return bytesOf(bigints(name, dtype, values));
	if (dtype in BOUNDS) return bytesOf(integers(name, dtype, values));
	const out = new plain(values.length) as Float32Array;
	for (let i = 0; i < values.length; i++) out[i] = Number(values[i]);
	return bytesOf(out);
}

/** Values of little-endian elements: float16 and bfloat16 as float32 (exact), bool as 0 and 1; unknown types as their bytes. */
export function decode(dtype: DType, bytes: Uint8Array): TensorData {
	const aligned = bytes.byteOffset % 8 ? bytes.slice() : bytes;
	const view = <T>(of: { new (buffer: ArrayBufferLike, at: number, length: number): T; BYTES_PER_ELEMENT: number }): T =>
		new of(aligned.buffer, aligned.byteOffset, aligned.byteLength / of.BYTES_PER_ELEMENT);
	if (dtype === 'float16') return float16ToFloat32(view(Uint16Array));
	if (dtype === 'bfloat16') return bfloat16ToFloat32(view(Uint16Array));
	return view(PLAIN[dtype] ?? Uint8Array);
}

/** Whether elements have a form on the GPU: one 32-bit word. */
export const isWord = (dtype: DType): boolean => ['float16', 'bfloat16', 'float32', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'bool'].includes(dtype);

/** Values of a device buffer: one 32-bit word per element, floats as float32, integers and bools as int32 or uint32. */
export function decodeWords(dtype: DType, words: ArrayBuffer): TensorData {
	switch (dtype) {
		case 'float16':
		case 'bfloat16':
		case 'float32':
			return new Float32Array(words);
		case 'int8':
			return Int8Array.from(new Int32Array(words));
		case 'int16':
			return Int16Array.from(new Int32Array(words));
		case 'int32':
			return new Int32Array(words);
		case 'uint8':
		case 'bool':
			return Uint8Array.from(new Uint32Array(words));
		case 'uint16':
			return Uint16Array.from(new Uint32Array(words));
		case 'uint32':
			return new Uint32Array(words);
		default:
			throw new CoreAIError('internal', `${dtype} has no form on the GPU`);
	}
}
