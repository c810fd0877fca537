import type { FunctionDescriptor } from 'coreai-web';
import { filled, type Elements } from './elements';
import { PageError } from './problem';

type Port = FunctionDescriptor['inputs'][number];

/** Where the rows, columns and channels of an image lie in a tensor. */
export interface PictureLayout {
	/** Axis of the channels; null for a single plane without such an axis. */
	channelAxis: number | null;
	rowAxis: number;
	columnAxis: number;
	channels: number;
}

const COLOURS = [1, 3, 4];

/** How a port could take an image: channels first, else channels last, else a plane. Null where nothing fits. */
export function pictureLayout(shape: readonly (number | null)[]): PictureLayout | null {
	const rank = shape.length;
	if (rank < 2 || rank > 4 || shape.slice(0, Math.max(0, rank - 3)).some((extent) => (extent ?? 1) !== 1)) return null;
	const at = (axis: number) => shape[axis] ?? null;
	const large = (axis: number) => at(axis) === null || (at(axis) ?? 0) >= 8;
	if (rank >= 3) {
		const first = at(rank - 3);
		if (first !== null && COLOURS.includes(first) && large(rank - 2) && large(rank - 1)) {
			return { channelAxis: rank - 3, rowAxis: rank - 2, columnAxis: rank - 1, channels: first };
		}
		const last = at(rank - 1);
		if (last !== null && COLOURS.includes(last) && large(rank - 3) && large(rank - 2)) {
			return { channelAxis: rank - 1, rowAxis: rank - 3, columnAxis: rank - 2, channels: last };
		}
		return null;
	}
	return large(0) && large(1) ? { channelAxis: null, rowAxis: 0, columnAxis: 1, channels: 1 } : null;
}

/** Size in pixels that a port wants; an open extent takes that of the picture. */
function sizeFor(port: Port, layout: PictureLayout | null, picture: ImageBitmap): [width: number, height: number] {
	if (port.image) return [port.image.width, port.image.height];
	if (!layout) throw new PageError('file', `${port.name} of shape [${port.shape.join(', ')}] does not look like an image`);
	return [port.shape[layout.columnAxis] ?? picture.width, port.shape[layout.rowAxis] ?? picture.height];
}

// The middle of the picture that has the wanted proportions, scaled.
function pixels(picture: ImageBitmap, width: number, height: number): Uint8ClampedArray {
	const canvas = new OffscreenCanvas(width, height);
	const context = canvas.getContext('2d', { willReadFrequently: true });
	if (!context) throw new PageError('file', 'the browser gives no 2D canvas');
	const scale = Math.max(width / picture.width, height / picture.height);
	const [w, h] = [picture.width * scale, picture.height * scale];
	context.imageSmoothingQuality = 'high';
	context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
	return context.getImageData(0, 0, width, height).data;
}

// Bytes of an image port, in the order of its format.
function formatted(rgba: Uint8ClampedArray, format: string, width: number, height: number): Uint8Array {
	const orders: Record<string, number[]> = { rgb24: [0, 1, 2], argb32: [3, 0, 1, 2], bgra32: [2, 1, 0, 3] };
	const order = orders[format.toLowerCase()];
	if (order) return Uint8Array.from({ length: width * height * order.length }, (_, i) => rgba[Math.floor(i / order.length) * 4 + (order[i % order.length] ?? 0)] ?? 0);
	if (format.toLowerCase() !== 'y420') throw new PageError('file', `images of format ${format} cannot be made here`);
	// ITU-R BT.601 in full range; one chroma sample for 2 × 2 pixels.
	const bytes = new Uint8ClampedArray((width * height * 3) / 2);
	const [halfWidth, halfHeight] = [width >> 1, height >> 1];
	const mix = (i: number, r: number, g: number, b: number) => r * (rgba[i] ?? 0) + g * (rgba[i + 1] ?? 0) + b * (rgba[i + 2] ?? 0);
	for (let i = 0; i < width * height; i += 1) bytes[i] = mix(i * 4, 0.299, 0.587, 0.114);
	for (let y = 0; y < halfHeight; y += 1) {
		for (let x = 0; x < halfWidth; x += 1) {
			const corners = [0, 1, width, width + 1].map((offset) => (2 * y * width + 2 * x + offset) * 4);
			const mean = (r: number, g: number, b: number) => corners.reduce((sum, i) => sum + mix(i, r, g, b), 0) / 4 + 128;
			const at = width * height + y * halfWidth + x;
			bytes[at] = mean(-0.168736, -0.331264, 0.5);
			bytes[at + halfWidth * halfHeight] = mean(0.5, -0.418688, -0.081312);
		}
	}
	return new Uint8Array(bytes.buffer);
}

/**
 * A tensor of a picture: the middle is cut to the port's proportions and scaled to its size.
 * @param mean subtracted from the values of floats, which run from 0 to 1 before
 * @param deviation what they are divided by after that
 */
export async function pictureTensor(
	file: Blob, port: Port, mean: number, deviation: number,
): Promise<{ shape: number[]; data: Elements }> {
	const picture = await createImageBitmap(file).catch(() => {
		throw new PageError('file', 'the browser cannot decode this picture');
	});
	const layout = pictureLayout(port.shape);
	const [width, height] = sizeFor(port, layout, picture);
	const rgba = pixels(picture, width, height);
	picture.close();
	if (port.image) {
		const data = formatted(rgba, port.image.format, width, height);
		return { shape: port.shape.map((extent) => extent ?? 1), data };
	}
	const { channelAxis, rowAxis, columnAxis, channels } = layout as PictureLayout;
	const shape = port.shape.map((extent, axis) => (axis === rowAxis ? height : axis === columnAxis ? width : (extent ?? 1)));
	const last = channelAxis === shape.length - 1;
	const whole = /int/.test(port.dtype);
	const data = filled(port.dtype, width * height * channels, (i) => {
		const [pixel, channel] = last ? [Math.floor(i / channels), i % channels] : [i % (width * height), Math.floor(i / (width * height))];
		const at = pixel * 4;
		const grey = 0.299 * (rgba[at] ?? 0) + 0.587 * (rgba[at + 1] ?? 0) + 0.114 * (rgba[at + 2] ?? 0);
		const value = channels === 1 ? grey : (rgba[at + channel] ?? 0);
		return whole ? value : (value / 255 - mean) / deviation;
	});
	return { shape, data };
}
