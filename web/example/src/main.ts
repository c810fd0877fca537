import { AIModel, type FunctionDescriptor, type TensorInput } from 'coreai-web';

const result = document.getElementById('result') as HTMLPreElement;

// Ones of the declared type; extents that are open are 1.
function ones({ dtype, shape }: FunctionDescriptor['inputs'][number]): TensorInput {
	const extents = shape.map((extent) => extent ?? 1);
	const count = extents.reduce((product, extent) => product * extent, 1);
	const data =
		dtype === 'int64' ? new BigInt64Array(count).fill(1n)
		: dtype === 'uint64' ? new BigUint64Array(count).fill(1n)
		: new Array<number>(count).fill(1);
	return { data, shape: extents };
}

async function run(url: string): Promise<string> {
	using model = await AIModel.load(url, {
		onProgress: ({ phase, loaded, total }) => {
			result.textContent = `${phase}: ${loaded} of ${total} bytes`;
		},
	});
	const name = model.functions[0]?.name;
	if (name === undefined) throw new Error(`${url} has no functions`);
	const fn = model.function(name);
	using states = fn.descriptor.states.length ? await fn.createStates() : null;
	const inputs = Object.fromEntries(fn.descriptor.inputs.map((port) => [port.name, ones(port)]));
	const outputs = await fn.run(inputs, states ? { states } : {});
	const lines = Object.entries(outputs).map(([output, { dtype, shape, data }]) => {
		const first = Array.from(data.subarray(0, 4), String).join(', ');
		return `${output}: ${dtype} [${shape.join(', ')}] ${first}${data.length > 4 ? ', …' : ''}`;
	});
	return [`${name} ran on the ${model.computeUnit.toUpperCase()} unit`, ...lines].join('\n');
}

try {
	const wanted = new URLSearchParams(location.search).get('model');
	if (!wanted) throw new Error('name an asset: ?model=https://…/model.aimodel');
	result.textContent = await run(new URL(wanted, location.href).href);
	result.dataset['done'] = 'true';
} catch (error) {
	result.textContent = String(error);
	result.dataset['done'] = 'false';
}
