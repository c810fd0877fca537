// Files of tensors, read and written in the page. Names of element types are NumPy's.

/** Element types: name in the file, bytes of an element, array of its values. */
const STORED = {
	float64: ['F64', 8, Float64Array],
	float32: ['F32', 4, Float32Array],
	float16: ['F16', 2, Uint16Array],
	bfloat16: ['BF16', 2, Uint16Array],
	float8_e4m3fn: ['F8_E4M3', 1, Uint8Array],
	float8_e4m3: ['F8_E4M3', 1, Uint8Array],
	float8_e5m2: ['F8_E5M2', 1, Uint8Array],
	float8_e8m0fnu: ['F8_E8M0', 1, Uint8Array],
	int64: ['I64', 8, BigInt64Array],
	uint64: ['U64', 8, BigUint64Array],
	int32: ['I32', 4, Int32Array],
	uint32: ['U32', 4, Uint32Array],
	int16: ['I16', 2, Int16Array],
	uint16: ['U16', 2, Uint16Array],
	int8: ['I8', 1, Int8Array],
	uint8: ['U8', 1, Uint8Array],
	bool: ['BOOL', 1, Uint8Array],
	complex64: ['C64', 8, Float32Array],
};
/** Sub-byte types lie one value to a byte. */
const stored = (dtype) => STORED[dtype] ?? (/^int\d$/.test(dtype) ? STORED.int8 : /^uint\d$/.test(dtype) ? STORED.uint8 : null);

function known(dtype) {
	const found = stored(dtype);
	if (!found) throw new Error(`files of tensors with ${dtype} are not read or written here`);
	return found;
}

const float32 = new Float32Array(1);
const bits = new Uint32Array(float32.buffer);

/** Value of float16 bits. */
function fromHalf(half) {
	const sign = half & 0x8000 ? -1 : 1;
	const exponent = (half >> 10) & 31;
	const fraction = half & 0x3ff;
	if (exponent === 31) return fraction ? NaN : sign * Infinity;
	return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

/** Bits of a value that float16 holds exactly; throws for any other. */
function toHalf(value) {
	if (Number.isNaN(value)) return 0x7e00;
	const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
	const magnitude = Math.abs(value);
	if (magnitude === Infinity) return sign | 0x7c00;
	const exponent = Math.max(Math.floor(Math.log2(magnitude || 2 ** -24)), -14);
	const fraction = magnitude * 2 ** (10 - exponent);
	if (!Number.isInteger(fraction) || fraction >= 2048) throw new Error(`result ${value} of a float16 output is no float16`);
	return sign | (fraction < 1024 ? fraction : ((exponent + 15) << 10) | (fraction - 1024));
}

function fromBfloat(half) {
	bits[0] = half << 16;
	return float32[0];
}

function toBfloat(value) {
	float32[0] = value;
	if (Number.isNaN(value)) return 0x7fc0;
	if (bits[0] & 0xffff) throw new Error(`result ${value} of a bfloat16 output is no bfloat16`);
	return bits[0] >>> 16;
}

/**
 * Tensors of a file.
 * @param {ArrayBuffer} file
 * @returns {(key: string, dtype: string) => {data: ArrayLike<number | bigint>, shape: number[]}}
 */
export function reader(file) {
	const length = Number(new DataView(file).getBigUint64(0, true));
	const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length)));
	return (key, dtype) => {
		const entry = header[key];
		if (!entry) throw new Error(`the file has no tensor ${key}`);
		const [name, , Values] = known(dtype);
		if (entry.dtype !== name) throw new Error(`tensor ${key} is ${entry.dtype} in the file and ${dtype} in case.json`);
		const [start, end] = entry.data_offsets;
		const data = new Values(file.slice(8 + length + start, 8 + length + end));
		if (dtype === 'float16') return { data: Float32Array.from(data, fromHalf), shape: entry.shape };
		if (dtype === 'bfloat16') return { data: Float32Array.from(data, fromBfloat), shape: entry.shape };
		return { data, shape: entry.shape };
	};
}

function bytesOf({ dtype, data }) {
	const [, , Values] = known(dtype);
	let values = data;
	if (dtype === 'float16') values = Uint16Array.from(data, toHalf);
	else if (dtype === 'bfloat16') values = Uint16Array.from(data, toBfloat);
	else if (!(data instanceof Values)) {
		// Types that a page has no array for come as their bytes.
		if (!(data instanceof Uint8Array)) throw new Error(`result of type ${dtype} came as ${data.constructor.name}`);
	}
	return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * A file of tensors.
 * @param {[string, {dtype: string, shape: number[], data: ArrayBufferView}][]} tensors
 */
export function written(tensors) {
	const header = {};
	const parts = [];
	let at = 0;
	// Readers want large elements first, so that all are aligned.
	const size = ([, { dtype }]) => known(dtype)[1];
	for (const [key, tensor] of [...tensors].sort((a, b) => size(b) - size(a))) {
		const bytes = bytesOf(tensor);
		header[key] = { dtype: known(tensor.dtype)[0], shape: tensor.shape, data_offsets: [at, at + bytes.length] };
		parts.push(bytes);
		at += bytes.length;
	}
	let text = JSON.stringify(header);
	text += ' '.repeat((8 - new TextEncoder().encode(text).length % 8) % 8);
	const head = new TextEncoder().encode(text);
	const file = new Uint8Array(8 + head.length + at);
	new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
	file.set(head, 8);
	parts.reduce((offset, bytes) => {
		file.set(bytes, offset);
		return offset + bytes.length;
	}, 8 + head.length);
	return file;
}
