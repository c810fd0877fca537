import { ofBytes, type Elements } from './elements';

/** A tensor of an .npy file. */
export interface NpyTensor {
	dtype: string;
	shape: number[];
	data: Elements;
}

const MAGIC = '\x93NUMPY';
const DTYPES: Record<string, string> = {
	f2: 'float16', f4: 'float32', f8: 'float64', i1: 'int8', i2: 'int16', i4: 'int32', i8: 'int64',
	u1: 'uint8', u2: 'uint16', u4: 'uint32', u8: 'uint64', b1: 'bool',
};
// The header of a version 1 file ends at a multiple of this.
const ALIGNMENT = 64;

/** Reads an .npy file, versions 1 to 3. Throws a RangeError that says what is wrong with it. */
export function readNpy(bytes: Uint8Array): NpyTensor {
	if (bytes.length < 10 || String.fromCharCode(...bytes.subarray(0, 6)) !== MAGIC) throw new RangeError('this is no .npy file');
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const long = (bytes[6] ?? 1) > 1;
	if (long && bytes.length < 12) throw new RangeError('the header is cut off');
	const start = long ? 12 : 10;
	const end = start + (long ? view.getUint32(8, true) : view.getUint16(8, true));
	if (end > bytes.length) throw new RangeError('the header is cut off');
	const header = new TextDecoder().decode(bytes.subarray(start, end));
	const code = /'descr':\s*'([<>|=])(\w+)'/.exec(header);
	const extents = /'shape':\s*\(([\d,\s]*)\)/.exec(header);
	if (!code || !extents) throw new RangeError(`the header names no type and shape: ${header.trim().slice(0, 80)}`);
	const dtype = DTYPES[code[2] ?? ''];
	if (!dtype || code[1] === '>') throw new RangeError(`elements of type ${code[1]}${code[2]} cannot be read, little-endian numbers and bools can`);
	const shape = (extents[1] ?? '').split(',').map((text) => text.trim()).filter(Boolean).map(Number);
	if (/'fortran_order':\s*True/.test(header) && shape.length > 1) throw new RangeError('the file is in Fortran order: save it with numpy.ascontiguousarray');
	const count = shape.reduce((product, extent) => product * extent, 1);
	return { dtype, shape, data: ofBytes(dtype, bytes.subarray(end), count) };
}

const CODES = new Map<Function, string>([
	[Float32Array, '<f4'], [Float64Array, '<f8'], [Int8Array, '|i1'], [Uint8Array, '|u1'], [Int16Array, '<i2'], [Uint16Array, '<u2'],
	[Int32Array, '<i4'], [Uint32Array, '<u4'], [BigInt64Array, '<i8'], [BigUint64Array, '<u8'],
]);

/** An .npy file of a tensor. Low-precision floats are written as the float32 that they arrive as: no bit is lost. */
export function writeNpy({ dtype, shape, data }: { dtype: string; shape: readonly number[]; data: Elements }): Blob {
	const code = dtype === 'bool' ? '|b1' : CODES.get(data.constructor);
	if (!code) throw new RangeError(`${data.constructor.name} has no form in an .npy file`);
	const extents = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
	const text = `{'descr': '${code}', 'fortran_order': False, 'shape': (${extents}), }`;
	const length = Math.ceil((10 + text.length + 1) / ALIGNMENT) * ALIGNMENT - 10;
	const head = new Uint8Array(10 + length);
	head.set([...MAGIC].map((letter) => letter.charCodeAt(0)));
	head.set([1, 0, length & 255, length >> 8], 6);
	head.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), 10);
	return new Blob([head, data as Uint8Array<ArrayBuffer>], { type: 'application/octet-stream' });
}
